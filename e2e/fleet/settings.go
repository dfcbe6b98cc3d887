package fleet

// The graces and intervals of hub and agents are short in tests, so that nobody waits for them. They
// are the same settings that users have.
const (
	hubConfig = `
controllers:
  clusterGrace: 2s
  policyStatusInterval: 200ms
link:
  heartbeatInterval: 1s
  heartbeatTimeout: 4s
# Longer than for users: a test that expects a division by what agents say must not get one by what is known without them.
capacity:
  timeout: 20s
`

	agentConfig = `
link:
  minBackoff: 100ms
  maxBackoff: 1s
facts:
  interval: 1s
`
)
