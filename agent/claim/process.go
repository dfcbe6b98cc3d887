package claim

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// A Process is an agent as others name it.
type Process struct {
	// Name is new for every process: its machine's or pod's name, its number there, and something random.
	Name string
	// ID is its number at Place: one boot of one kernel, and a namespace of processes on it. Only there does the number
	// say which process it is. Place is empty when it can't be found out.
	ID    int
	Place string
}

// Self describes this process.
func Self() (Process, error) {
	host, err := os.Hostname()
	if err != nil {
		return Process{}, fmt.Errorf("finding out this machine's name: %w", err)
	}
	var raw [4]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return Process{}, fmt.Errorf("naming this process: %w", err)
	}
	return Process{Name: fmt.Sprintf("%s/%d/%s", host, os.Getpid(), hex.EncodeToString(raw[:])), ID: os.Getpid(), Place: place()}, nil
}

func place() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(boot)) + " " + namespace
}

// Gone says whether a process of this machine has ended. It errs towards no.
func Gone(pid int) bool {
	process, err := os.FindProcess(pid)
	return err == nil && errors.Is(process.Signal(syscall.Signal(0)), os.ErrProcessDone)
}
