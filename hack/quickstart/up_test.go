package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"windlass.dev/windlass/hack/cluster"
)

func TestAQuickstartOfWhichSomethingRunsIsNotThrownAway(t *testing.T) {
	for _, c := range []struct {
		reason         string
		running, ended []string
		complete       bool
		fails          []string // empty: it is removed
	}{
		{"an agent was stopped by hand", []string{"hub/windlass-hub", "member2-agent/windlass-agent"}, []string{"member1-agent/windlass-agent"}, true, []string{
			"still running: hub/windlass-hub member2-agent/windlass-agent\n",
			"ended: windlass-agent, its log is @/member1-agent/windlass-agent.log\n",
			"To end it and remove its state: WINDLASS_QUICKSTART_DIR='@' make quickstart-down",
		}},
		{"the hub has ended, and the rest has not", []string{"member1-agent/windlass-agent"}, []string{"hub/windlass-hub"}, true, []string{
			"still running: member1-agent/windlass-agent\n", "ended: windlass-hub, its log is @/hub/windlass-hub.log\n",
		}},
		{"an attempt was killed, and what it had started was not", []string{"hub/windlass-hub"}, nil, false, []string{
			"still running: hub/windlass-hub\n", "it was ended itself before everything was up\n",
		}},
		{"all of it has ended, with the machine perhaps", nil, []string{"hub/windlass-hub", "member1-agent/windlass-agent"}, true, nil},
		{"an attempt that failed has stopped what it had started", nil, []string{"hub/windlass-hub"}, false, nil},
	} {
		t.Run(c.reason, func(t *testing.T) {
			quickstartIn(t, filepath.Join(t.TempDir(), "state"))
			for _, path := range c.running {
				record(t, path, sleeping(t))
			}
			for _, path := range c.ended {
				record(t, path, cluster.Process{})
			}
			if c.complete {
				if err := os.WriteFile(complete, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var up bool
			var refused error
			said := printed(t, func() { up, refused = alreadyUp() })
			_, gone := os.Stat(stateDir)
			if up {
				t.Error("it is called up")
			}
			if c.fails == nil {
				want := "Nothing of an earlier quickstart runs any more: its state, " + stateDir + "/, is removed, and this one starts afresh.\n"
				if refused != nil || gone == nil || said != want {
					t.Errorf("it is told %v, the directory is there: %v, and it says %q, want %q", refused, gone == nil, said, want)
				}
				return
			}
			if refused == nil || gone != nil {
				t.Fatalf("it is told %v, and the directory: %v", refused, gone)
			}
			for _, part := range c.fails {
				if part = strings.ReplaceAll(part, "@", stateDir); !strings.Contains(refused.Error(), part) {
					t.Errorf("it is told %v, want %q in it", refused, part)
				}
			}
			for _, path := range c.running {
				if p, err := cluster.OpenProcess(filepath.Join(stateDir, filepath.Dir(path)), filepath.Base(path)); err != nil || !p.Alive() {
					t.Errorf("%s does not run any more: %v", path, err)
				}
			}
		})
	}
}

func TestTheEndOfAQuickstartIsCalledThat(t *testing.T) {
	quickstartIn(t, t.TempDir())
	said := printed(t, func() {
		if err := down(); err != nil {
			t.Error(err)
		}
	})
	if want := "The quickstart has ended; its state, " + stateDir + "/, is removed.\n"; said != want {
		t.Errorf("it says %q, want %q", said, want)
	}
}

// quickstartIn has the paths of a quickstart lie in dir for the time of the test.
func quickstartIn(t *testing.T, dir string) {
	t.Helper()
	paths := []*string{&stateDir, &hubDir, &kubeconfig, &complete}
	var before []string
	for _, path := range paths {
		before = append(before, *path)
	}
	t.Cleanup(func() {
		for i, path := range paths {
			*path = before[i]
		}
	})
	stateDir, hubDir, kubeconfig, complete = dir, filepath.Join(dir, "hub"), filepath.Join(dir, "kubeconfig"), filepath.Join(dir, "complete")
}

// record leaves the record of a process, DIRECTORY/NAME, as the start of one does.
func record(t *testing.T, path string, p cluster.Process) {
	t.Helper()
	p.Name, p.LogPath = filepath.Base(path), filepath.Join(stateDir, path+".log")
	raw, err := json.Marshal(p)
	if err == nil {
		err = os.MkdirAll(filepath.Join(stateDir, filepath.Dir(path)), 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(stateDir, path+".pid"), raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// sleeping is a process that runs until the test ends.
func sleeping(t *testing.T) cluster.Process {
	t.Helper()
	sleep := exec.Command("sleep", "infinity")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = sleep.Process.Kill()
		_ = sleep.Wait()
	})
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", sleep.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	// The time of its start is the 22nd field; the second is its name, in brackets.
	ticks, err := strconv.ParseUint(strings.Fields(string(stat))[21], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return cluster.Process{PID: sleep.Process.Pid, StartTicks: ticks, BootID: strings.TrimSpace(string(boot))}
}

// printed is what do writes to standard output.
func printed(t *testing.T, do func()) string {
	t.Helper()
	before := os.Stdout
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout = file
	defer func() { os.Stdout = before }()
	do()
	raw, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
