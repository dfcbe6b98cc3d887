// Package memory says how much of a container's memory the Go runtime may fill.
package memory

import "strconv"

// LimitVariable is the variable of the environment in which a pod is told its limit of memory, in bytes.
const LimitVariable = "WINDLASS_MEMORY_LIMIT"

// goLimitVariable is read by the Go runtime itself.
const goLimitVariable = "GOMEMLIMIT"

// unchanged is what debug.SetMemoryLimit leaves the limit as it is for.
const unchanged = -1

// GoLimit is what debug.SetMemoryLimit is to be told: nine tenths of the container's limit. The runtime counts what it has
// allocated itself, the kernel also what it keeps for the process; at the whole limit the process would be killed before
// its collector gives way. Whoever sets GOMEMLIMIT has decided.
func GoLimit(getenv func(string) string) int64 {
	limit, err := strconv.ParseInt(getenv(LimitVariable), 10, 64)
	if err != nil || limit <= 0 || getenv(goLimitVariable) != "" {
		return unchanged
	}
	return limit / 10 * 9
}
