package session

import "time"

// epochsAhead is how far above the clock an epoch may be. Further than a clock is ever wrong, even one that begins in
// 1970: it is there only so that nobody can use the numbers up, for above the highest there is no next session.
const epochsAhead = 100 * 365 * 24 * time.Hour

// NextEpoch numbers a member's session: the milliseconds of the clock, so that epochs rise over restarts of the hub
// without a write, and above the agent's last one and all that the hub knows. It is false when the agent's last one is
// none that a hub gives. What is known and none either is not followed: it comes from a hub that believed an agent.
func NextEpoch(now time.Time, last int64, known ...int64) (epoch int64, ok bool) {
	most := now.Add(epochsAhead).UnixMilli()
	if last > most {
		return 0, false
	}
	epoch = max(now.UnixMilli(), last+1)
	for _, k := range known {
		if k <= most {
			epoch = max(epoch, k+1)
		}
	}
	return epoch, true
}
