package session

import "time"

// paces is how many moments there are in an interval at which heartbeats come.
const paces = 20

// A pace is what the hub knows of when the heartbeats of one agent come. It has the beats of all agents come at the same few
// moments: one that comes alone wakes threads and finds every cache cold, which costs several times what the beat itself does.
type pace struct {
	// due is when the next beat is expected.
	due time.Time
	// way is how much longer than it was told a beat has taken, there and back.
	way time.Duration
}

// next says, when a beat has come, in how long the agent shall send the one after it.
func (p *pace) next(now time.Time, interval time.Duration) time.Duration {
	step := interval / paces
	if late := now.Sub(p.due); late.Abs() <= 2*step { // more says nothing of the way
		p.way = min(max(p.way+late, 0), 2*step)
	}
	p.due = now.Add(interval).Round(step)
	return p.due.Sub(now) - p.way
}
