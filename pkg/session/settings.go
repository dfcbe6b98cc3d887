package session

import (
	"fmt"
	"time"
)

// The protocol versions that this code speaks.
const (
	ProtocolVersion       = 1
	OldestProtocolVersion = 1
)

// Settings are the numbers of the conversation. The zero value of a field means its default. The hub's heartbeat and
// report window hold for both sides: the agent learns them from the Welcome.
type Settings struct {
	// Window is how many Put, Removal and Complete messages may be unacknowledged. Larger hides a longer way to the
	// member and a slower member API; each costs the memory of one work. Default 128.
	Window int
	// ReportWindow is how many reports may be sent and not yet recorded. Default 128.
	ReportWindow int
	// RefsUpTo is how many works a probe lists one by one; above it digests of Buckets buckets are compared first.
	// Defaults 500 and 256.
	RefsUpTo, Buckets int
	// HeartbeatInterval is the mean time between two heartbeats of the agent. The hub says with each answer when it would like
	// to have the next; where it does not, that is drawn 20 % about the interval.
	// HeartbeatTimeout is how long either side bears silence. Defaults 20 s and 65 s.
	HeartbeatInterval, HeartbeatTimeout time.Duration
	// HelloTimeout is how long the hub waits for the agent's first message, and the agent for the hub's. Default 20 s.
	HelloTimeout time.Duration
	// AnswerTimeout is after how long something unanswered is said again: a probe, a work, and after ten times that a report. On a sound stream
	// nothing gets lost, so this only heals faults, and may be long. Default 60 s.
	AnswerTimeout time.Duration
	// RetryMin and RetryMax bound the agent's waiting between two tries to make a work durable. Defaults 500 ms, 30 s.
	RetryMin, RetryMax time.Duration
	// MaxWorks is how many works a member can have. It bounds what a peer can make this side remember. Default 200000.
	MaxWorks int
}

// WithDefaults fills in what is not set.
func (s Settings) WithDefaults() Settings {
	set(&s.Window, 128)
	set(&s.ReportWindow, 128)
	set(&s.RefsUpTo, 500)
	set(&s.Buckets, 256)
	set(&s.HeartbeatInterval, 20*time.Second)
	set(&s.HeartbeatTimeout, 65*time.Second)
	set(&s.HelloTimeout, 20*time.Second)
	set(&s.AnswerTimeout, time.Minute)
	set(&s.RetryMin, 500*time.Millisecond)
	set(&s.RetryMax, 30*time.Second)
	set(&s.MaxWorks, 200_000)
	return s
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate says what is wrong with settings whose defaults are filled in.
func (s Settings) Validate() error {
	switch {
	case s.Window < 1 || s.Window > maxWindow:
		return fmt.Errorf("window is %d: use 1 to %d", s.Window, maxWindow)
	case s.ReportWindow < 1 || s.ReportWindow > maxWindow:
		return fmt.Errorf("reportWindow is %d: use 1 to %d", s.ReportWindow, maxWindow)
	case s.RefsUpTo < 1 || s.RefsUpTo > maxRefsAtOnce:
		return fmt.Errorf("refsUpTo is %d: use 1 to %d", s.RefsUpTo, maxRefsAtOnce)
	case s.Buckets < 1 || s.Buckets > maxBuckets:
		return fmt.Errorf("buckets is %d: use 1 to %d", s.Buckets, maxBuckets)
	case s.HeartbeatInterval < 0 || s.HelloTimeout < 0 || s.AnswerTimeout < 0:
		return fmt.Errorf("heartbeatInterval %s, helloTimeout %s and answerTimeout %s must not be negative",
			s.HeartbeatInterval, s.HelloTimeout, s.AnswerTimeout)
	case s.HeartbeatTimeout < 2*s.HeartbeatInterval:
		return fmt.Errorf("heartbeatTimeout is %s: use at least twice the heartbeatInterval, which is %s, so that one lost heartbeat ends no session",
			s.HeartbeatTimeout, s.HeartbeatInterval)
	case s.RetryMin <= 0 || s.RetryMax < s.RetryMin:
		return fmt.Errorf("retryMin %s must be above 0 and at most retryMax %s", s.RetryMin, s.RetryMax)
	case s.MaxWorks < 1:
		return fmt.Errorf("maxWorks is %d: use at least 1", s.MaxWorks)
	}
	return nil
}

// Limits that a peer cannot raise.
const (
	maxWindow     = 100_000
	maxBuckets    = 1 << 16
	maxRefsAtOnce = 5_000
	// refsPerPart keeps a part of a probe's answer far below the 4 MiB that either side accepts: a key and a UID have
	// at most 253 bytes each.
	refsPerPart = 4_000
	// reportBatchBytes is the size of status at which a batch of reports is closed.
	reportBatchBytes = 256 << 10
	reportBatchCount = 64
	// heardKept is how many messages an agent remembers about keys that it does not hold.
	heardKept = 4096
	// busyTick is how often a session that waits for something wants its Tick.
	busyTick = time.Second
)

// chooseVersion picks the newest version that both sides speak.
func chooseVersion(newest, oldest uint32) (uint32, error) {
	chosen := min(newest, ProtocolVersion)
	if chosen < OldestProtocolVersion || chosen < oldest {
		return 0, fmt.Errorf("this side speaks protocol versions %d to %d and the peer %d to %d: upgrade the older of the two",
			OldestProtocolVersion, ProtocolVersion, oldest, newest)
	}
	return chosen, nil
}
