package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// A service is one process that init keeps.
type service struct {
	Name string   `json:"name"` // its log is NAME.log in the working directory
	Path string   `json:"path"`
	Args []string `json:"args"`
	// After names a file, such as a socket, that must be there before it starts.
	After string `json:"after,omitempty"`
}

// private are the folders that containers' programs fill and that no flag puts elsewhere: here each node has
// its own, in memory.
var private = []string{"/run", "/var/log", "/var/lib/cni"}

// initialize is the first process of PID and mount namespaces that were made for it. Whatever it starts, and what
// that leaves behind, a container's shim for instance, ends with it, and so do their mounts. It runs the services
// of a file and ends as soon as one of them does.
func initialize(args []string) int {
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "usage: node init FILE")
		return 2
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "node init: has to be the first process of a PID namespace: it mounts over folders of the machine")
		return 2
	}
	if err := keep(args[0]); err != nil {
		fmt.Fprintf(os.Stderr, "node init: %v\n", err)
		return 1
	}
	return 0
}

func keep(file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var services []service
	if err := json.Unmarshal(raw, &services); err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	if err := mountPrivate(); err != nil {
		return err
	}
	// The first process of a PID namespace gets no signal that it does not ask for.
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	ended := make(chan error, 1)
	names := map[int]string{}
	for _, s := range services {
		if err := awaitFile(s.After); err != nil {
			return fmt.Errorf("starting %s: %w", s.Name, err)
		}
		process, err := s.start()
		if err != nil {
			return fmt.Errorf("starting %s: %w", s.Name, err)
		}
		names[process.Pid] = s.Name
	}
	go func() { ended <- reap(names) }()
	select {
	case <-end:
		return nil
	case err := <-ended:
		return err
	}
}

func mountPrivate() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("parting from the machine's mounts: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	for _, dir := range private {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
			return fmt.Errorf("mounting over %s: %w", dir, err)
		}
	}
	return nil
}

// awaitFile waits for a file that a service before makes when it is ready.
func awaitFile(path string) error {
	if path == "" {
		return nil
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		_, err := os.Stat(path)
		if err == nil {
			return nil
		}
		if !errors.Is(err, os.ErrNotExist) || time.Now().After(deadline) {
			return err
		}
	}
}

func (s service) start() (*os.Process, error) {
	log, err := os.OpenFile(s.Name+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	return os.StartProcess(s.Path, append([]string{filepath.Base(s.Path)}, s.Args...), &os.ProcAttr{
		Env: os.Environ(), Files: []*os.File{null, log, log},
	})
}

// reap waits for every process that has lost its parent, and returns when a service has ended.
func reap(services map[int]string) error {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("waiting for processes: %w", err)
		}
		name, ok := services[pid]
		switch {
		case !ok:
		case status.Signaled():
			return fmt.Errorf("%s was ended by %v; see %s.log", name, status.Signal(), name)
		default:
			return fmt.Errorf("%s has ended with code %d; see %s.log", name, status.ExitStatus(), name)
		}
	}
}
