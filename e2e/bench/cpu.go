package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"windlass.dev/windlass/e2e/fleet"
)

// consumers are the processes of the fleet, by who a user would say they belong to.
func consumers(f *fleet.Fleet) map[string][]int {
	pids := map[string][]int{"hub": {f.Hub().Process().PID}}
	for _, member := range f.Members() {
		pids["agents"] = append(pids["agents"], member.Agent.Process().PID)
		for _, process := range member.Cluster.Processes() {
			pids["members"] = append(pids["members"], process.PID)
		}
	}
	return pids
}

// consumption is processor time by consumer.
type consumption map[string]time.Duration

// usage is how much processor time each of the consumers has had since it started.
func usage(f *fleet.Fleet) (consumption, error) {
	used := consumption{}
	for who, pids := range consumers(f) {
		for _, pid := range pids {
			one, err := processorTime(pid)
			if err != nil {
				return nil, err
			}
			used[who] += one
		}
	}
	return used, nil
}

// processorTime is user and system time of a process and all its threads, from the clock that Linux keeps for every process
// (clock_getcpuclockid(3)): those in /proc count hundredths of a second.
func processorTime(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED
	var spent unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &spent); err != nil {
		return 0, fmt.Errorf("reading the processor time of process %d: %w", pid, err)
	}
	return time.Duration(spent.Nano()), nil
}

// turns count who had the processors while Deployments came on each way: two cores are what all of
// them share.
type turns struct {
	interval time.Duration
	count    map[way]int
	by       map[way]consumption

	on   way
	last consumption
}

// turnTo counts what was used since the last call as that of the way before.
func (s *turns) turnTo(on way, f *fleet.Fleet) error {
	now, err := usage(f)
	if err != nil {
		return err
	}
	for who := range now {
		if s.on != "" {
			s.by[s.on][who] += now[who] - s.last[who]
		}
	}
	if s.on != "" {
		s.count[s.on]++
	}
	s.on, s.last = on, now
	return nil
}

// rows say what a Deployment took of the processors until the next one came.
func (s *turns) rows() []row {
	var rows []row
	for _, on := range []way{byHub, direct} {
		at := onHub
		if on == direct {
			at = pastHub
		}
		for _, who := range []string{"hub", "agents", "members"} {
			what := fmt.Sprintf("CPU of the %s in the %v of a Deployment", who, s.interval)
			rows = append(rows, row{at: at, what: what, unit: cpu, values: []float64{float64(s.by[on][who]) / float64(s.count[on])}})
		}
	}
	return rows
}
