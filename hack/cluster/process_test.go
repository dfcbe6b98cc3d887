package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func startSleeper(t *testing.T, dir string) *Process {
	t.Helper()
	p, err := start(command{
		name: "sleeper", path: "/bin/sh", args: []string{"-c", "echo sleeping; exec sleep 300"},
		dir: dir, log: filepath.Join(dir, "sleeper.log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	return p
}

func TestALaterProcessFindsAndStopsWhatAnEarlierOneStarted(t *testing.T) {
	dir := t.TempDir()
	started := startSleeper(t, dir)
	found, err := OpenProcess(dir, "sleeper")
	if err != nil {
		t.Fatal(err)
	}
	if !found.Alive() {
		t.Fatal("the process runs, but Alive says no")
	}
	if err := found.Stop(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if found.Alive() || started.Alive() {
		t.Error("the process still runs after Stop")
	}
	if err := found.Stop(time.Second); err != nil {
		t.Errorf("stopping what has ended: %v, want no error", err)
	}
}

func TestAProcessThatTookOverThePidIsNeverSignalled(t *testing.T) {
	dir := t.TempDir()
	bystander := startSleeper(t, dir)
	cases := []struct {
		reason string
		change func(*Process)
	}{
		{"another start time means another process", func(p *Process) { p.StartTicks++ }},
		{"another boot means another process", func(p *Process) { p.BootID = "before the reboot" }},
	}
	for _, c := range cases {
		recorded, err := OpenProcess(dir, "sleeper")
		if err != nil {
			t.Fatal(err)
		}
		c.change(recorded)
		if recorded.Alive() {
			t.Errorf("%s: Alive says yes", c.reason)
		}
		if err := recorded.Signal(syscall.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("%s: Signal returns %v, want %v", c.reason, err, os.ErrProcessDone)
		}
		if !bystander.Alive() {
			t.Fatalf("%s: the bystander was killed", c.reason)
		}
	}
}

func TestMergedKubeconfigsCarryEveryContextAndItsCertificates(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("ca.crt", "the authority")
	hub := write("hub", `{"current-context":"x","contexts":[{"name":"x","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":"https://hub","certificate-authority":"ca.crt"}}],
		"users":[{"name":"u","user":{"token":"secret"}}]}`)
	member := write("member", `{"contexts":[{"name":"only","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":"https://member","certificate-authority-data":"YQ=="}}],
		"users":[{"name":"u","user":{"client-certificate-data":"Yg==","client-key-data":"Yw=="}}]}`)
	merged := filepath.Join(dir, "merged")
	if err := MergeKubeconfigs(merged, []string{"hub", "member1"}, map[string]string{"hub": hub, "member1": member}); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(merged)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"current-context: hub", "server: https://hub", "certificate-authority-data: dGhlIGF1dGhvcml0eQ==", "token: secret",
		"name: member1", "server: https://member", "client-key-data: Yw==",
	} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("the merged kubeconfig lacks %q:\n%s", want, raw)
		}
	}
}

func TestNoFreePortIsHandedOutTwice(t *testing.T) {
	seen := map[int]bool{}
	for range 100 {
		port, err := FreePort("127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] {
			t.Fatalf("port %d was handed out twice", port)
		}
		seen[port] = true
	}
}
