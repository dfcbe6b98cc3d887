package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"windlass.dev/windlass/hack/cluster"
)

func down() error {
	if _, err := os.Stat(stateDir); errors.Is(err, os.ErrNotExist) {
		fmt.Println("No quickstart is running, and there is no state of one.")
		return nil
	}
	if err := remove(); err != nil {
		return err
	}
	fmt.Println("The quickstart has ended; its state, " + stateDir + "/, is removed.")
	return nil
}

// remove ends what runs, and takes its state away.
func remove() error {
	if err := allOurs(); err != nil {
		return err
	}
	if err := stopAll(); err != nil {
		return err
	}
	if err := os.RemoveAll(stateDir); err != nil {
		return fmt.Errorf("removing the quickstart's state: %w", err)
	}
	return nil
}

// allOurs fails when the state directory holds what no quickstart makes there: the user's variable may name a directory of his own.
func allOurs() error {
	ours := []string{buildLog, filepath.Base(hubDir), filepath.Base(kubeconfig), filepath.Base(complete)}
	for _, member := range members {
		ours = append(ours, filepath.Base(memberDir(member.name)), filepath.Base(agentDir(member.name)))
	}
	entries, err := os.ReadDir(stateDir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !slices.Contains(ours, entry.Name()) {
			return fmt.Errorf("%s holds %s, which no quickstart has made, so nothing there is touched: move that away, or name another directory in %s", stateDir, entry.Name(), dirVariable)
		}
	}
	return nil
}

// recorded returns every process an earlier run started and recorded, running or not.
func recorded() ([]*cluster.Process, error) {
	var found []*cluster.Process
	add := func(dir, name string) error {
		p, err := cluster.OpenProcess(dir, name)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil {
			found = append(found, p)
		}
		return err
	}
	err := add(hubDir, cluster.HubProcess)
	for _, member := range members {
		err = errors.Join(err, add(agentDir(member.name), cluster.AgentProcess))
		for _, name := range cluster.MemberProcesses() {
			err = errors.Join(err, add(memberDir(member.name), name))
		}
	}
	return found, err
}

// stopAll ends what runs: first the agents, that they say goodbye, then hub and members together.
func stopAll() error {
	var first, then []func() error
	for _, member := range members {
		first = append(first, func() error { return stopProcess(agentDir(member.name), cluster.AgentProcess, 10*time.Second) })
		then = append(then, func() error { return cluster.StopMember(memberDir(member.name)) })
	}
	then = append(then, func() error { return stopProcess(hubDir, cluster.HubProcess, 20*time.Second) })
	return errors.Join(together(first), together(then))
}

func stopProcess(dir, name string, grace time.Duration) error {
	p, err := cluster.OpenProcess(dir, name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return p.Stop(grace)
}
