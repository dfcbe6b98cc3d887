package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

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

// usage is how much processor time each of the consumers has had since it started.
func usage(f *fleet.Fleet) (map[string]time.Duration, error) {
	used := map[string]time.Duration{}
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

// tick is the unit of the times in /proc; 1/100 s on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// processorTime is user and system time of a process and all its threads: proc(5), stat, fields 14 and 15.
func processorTime(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the processor time of a process: %w", err)
	}
	// The second field is the program's name in parentheses, which may hold anything.
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	var sum time.Duration
	for _, field := range fields[11:13] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading the processor time of process %d: %w", pid, err)
		}
		sum += time.Duration(ticks) * tick
	}
	return sum, nil
}

// reportUsage says how much processor time a Deployment took, and who had it: two cores are what all of
// them share.
func reportUsage(before, after map[string]time.Duration, took time.Duration, count int) {
	fmt.Printf("\nprocessor time for one Deployment, idle time of %v a Deployment included\n", (took / time.Duration(count)).Round(time.Millisecond))
	for _, who := range []string{"hub", "agents", "members"} {
		fmt.Printf("  %-10s %9s\n", who, inMilliseconds((after[who]-before[who])/time.Duration(count)))
	}
}
