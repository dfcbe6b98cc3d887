package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestGoIsCheckedByItsVersion(t *testing.T) {
	cases := []struct {
		reason, version, want, fails string
	}{
		{"the oldest that will do", "go1.26.0", "1.26.0", ""},
		{"a later one", "go1.31.2", "1.31.2", ""},
		{"a release candidate", "go1.26rc1", "1.26rc1", ""},
		{"one too old", "go1.25.9", "", "1.26 is the oldest"},
		{"one built from source says nothing, and is believed", "devel go1.27-abc", "devel go1.27-abc (its version tells nothing; 1.26 is needed)", ""},
	}
	for _, c := range cases {
		got, err := checkGo(c.version)
		if c.fails != "" {
			if err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%s: %s: error %v, want one that says %q", c.reason, c.version, err, c.fails)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%s: %s: %q, %v, want %q", c.reason, c.version, got, err, c.want)
		}
	}
}

func TestTooLittleMemoryIsSaidBeforeMinutesAreSpent(t *testing.T) {
	cases := []struct {
		reason string
		have   uint64
		built  bool
		want   string
	}{
		{"to build takes more than to run", 3 * gibibyte, false, "3.0 GiB available, but 4 GiB are needed to build and run: buy some"},
		{"once built, less is enough", 3 * gibibyte, true, "3.0 GiB available, 2 needed to run"},
		{"too little for anything", gibibyte, true, "1.0 GiB available, but 2 GiB are needed to run: buy some"},
	}
	for _, c := range cases {
		got, err := enough(c.have, c.built, 2*gibibyte, 4*gibibyte, "available", "buy some")
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.reason, got, c.want)
		}
	}
}

func TestMemoryIsReadAsTheKernelWritesIt(t *testing.T) {
	raw := []byte("MemTotal:       24683520 kB\nMemAvailable:       2048 kB\n")
	if got := memInfo(raw, "MemAvailable"); got != 2<<20 {
		t.Errorf("got %d, want 2 MiB", got)
	}
}

func TestFilesThatTheKernelOnlyKeepsDoNotCountAsMemoryInUse(t *testing.T) {
	cases := []struct {
		reason             string
		max, current, stat string
		want               uint64
		limited            bool
	}{
		{"a machine without a limit", "max", "5000", "", 0, false},
		{"no cgroup of the kind", "", "", "", 0, false},
		{"what is used is not left", "8000", "5000", "anon 4000\nfile 900\ninactive_file 0\n", 3000, true},
		{"files that nobody used lately are", "8000", "7900", "anon 1000\nfile 6900\ninactive_anon 5\ninactive_file 6500\nactive_file 400\n", 6600, true},
		{"more than the limit leaves nothing", "8000", "9000", "inactive_file 500\n", 0, true},
		{"a use that is not told leaves the limit", "8000", "", "", 8000, true},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			cgroup := t.TempDir()
			for file, content := range map[string]string{"memory.max": c.max, "memory.current": c.current, "memory.stat": c.stat} {
				if content == "" {
					continue
				}
				if err := os.WriteFile(filepath.Join(cgroup, file), []byte(content+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got, limited := memoryLeftIn(cgroup); got != c.want || limited != c.limited {
				t.Errorf("%d, limited %v; want %d, %v", got, limited, c.want, c.limited)
			}
		})
	}
}

func TestTheBuildsWholeOutputGoesToItsLog(t *testing.T) {
	lines := make(chan string, 3)
	for _, line := range []string{"go: downloading k8s.io/api v0.37.2", "k8s.io/api/core/v1", "./x.go:1:2: undefined: y"} {
		lines <- line
	}
	close(lines)
	var log bytes.Buffer
	showBuild(&log, lines, time.Now())
	want := "go: downloading k8s.io/api v0.37.2\nk8s.io/api/core/v1\n./x.go:1:2: undefined: y\n"
	if log.String() != want {
		t.Errorf("the log is %q, want %q", log.String(), want)
	}
}
