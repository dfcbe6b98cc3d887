package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

func runCheck(t *testing.T, arguments ...string) (out, told string, err error) {
	t.Helper()
	command := newCommand()
	var stdout, stderr bytes.Buffer
	command.SetOut(&stdout)
	command.SetErr(&stderr)
	command.SetArgs(append([]string{"check"}, arguments...))
	err = command.ExecuteContext(t.Context())
	return stdout.String(), stderr.String(), err
}

func TestCheckSaysWhereTheAgentStands(t *testing.T) {
	var asked atomic.Int32
	readyAfter := int32(0)
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) <= readyAfter {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, "the token has expired: make another one")
			return
		}
		fmt.Fprintln(w, "ok")
	}))
	defer agent.Close()

	if out, _, err := runCheck(t, "--url", agent.URL); err != nil || out != "the agent is ready: ok\n" {
		t.Errorf("a ready agent: %q, error %v", out, err)
	}
	asked.Store(0)
	readyAfter = 1
	if out, _, err := runCheck(t, "--url", agent.URL); err == nil || err.Error() != "the agent is not ready: the token has expired: make another one" {
		t.Errorf("one that is not ready: %q, error %v", out, err)
	}
	asked.Store(0)
	if out, told, err := runCheck(t, "--url", agent.URL, "--wait", "1m"); err != nil || out != "the agent is ready: ok\n" || !strings.Contains(told, "waiting: the token has expired") {
		t.Errorf("one that becomes ready: %q, told %q, error %v", out, told, err)
	}
	waiting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "another agent acts for this cluster")
	}))
	defer waiting.Close()
	if _, _, err := runCheck(t, "--url", waiting.URL); err == nil || !strings.Contains(err.Error(), "another agent acts") {
		t.Errorf("one that waits for another: error %v", err)
	}
	agent.Close()
	if _, _, err := runCheck(t, "--url", agent.URL); err == nil || !strings.Contains(err.Error(), "nobody answers there") {
		t.Errorf("one that does not run: error %v", err)
	}
}

func TestCheckAsksForReadinessWhereTheURLHasNoPath(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/behind/a/proxy", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "the token has expired") })
	agent := httptest.NewServer(mux)
	defer agent.Close()
	for _, path := range []string{"", "/", "/readyz"} {
		if out, _, err := runCheck(t, "--url", agent.URL+path); err != nil || out != "the agent is ready: ok\n" {
			t.Errorf("with the path %q: %q, error %v", path, out, err)
		}
	}
	if _, _, err := runCheck(t, "--url", agent.URL+"/behind/a/proxy"); err == nil || !strings.Contains(err.Error(), "the token has expired") {
		t.Errorf("another path is not asked: error %v", err)
	}
	if _, _, err := runCheck(t, "--url", "http://[::1"); err == nil || !strings.Contains(err.Error(), "--url") {
		t.Errorf("what is no URL: error %v", err)
	}
}
