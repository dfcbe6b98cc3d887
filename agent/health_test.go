package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAnAgentThatCannotWriteIsNotReady(t *testing.T) {
	var s standing
	s.set("")
	s.trouble(errors.New("forbidden:\n  leases"))
	if line, ready := s.get(); ready || line != "nothing is written to the member: forbidden: leases" {
		t.Errorf("it says %q, ready: %t", line, ready)
	}
	s.set("") // connected, which does not help
	if _, ready := s.get(); ready {
		t.Error("it is ready although it cannot write")
	}
	s.trouble(nil)
	if line, ready := s.get(); !ready || line != "" {
		t.Errorf("it says %q, ready: %t, although it can write again", line, ready)
	}
}

func TestProfilesAreServedOnlyWhereTheyAreAskedFor(t *testing.T) {
	for _, asked := range []bool{false, true} {
		config := DefaultConfig()
		config.Hub, config.HealthListen, config.Kubeconfig, config.Profiling = "hub:8443", "127.0.0.1:0", kubeconfigOfNobody(t), asked
		a, err := New(config, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		_ = a.health.listener.Close()
		// Who has hung up gets what was gathered until then: nothing.
		ctx, hangUp := context.WithCancel(t.Context())
		hangUp()
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/profile", "/debug/pprof/trace"} {
			answer := httptest.NewRecorder()
			a.health.server.Handler.ServeHTTP(answer, httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil))
			if served := answer.Code == http.StatusOK; served != asked {
				t.Errorf("profiling is %t, and %s answers %d", asked, path, answer.Code)
			}
		}
	}
}

// kubeconfigOfNobody names a cluster that does not exist: to make an agent asks nothing of it.
func kubeconfigOfNobody(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := `{"current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"c"}}],"clusters":[{"name":"c","cluster":{"server":"https://127.0.0.1:1"}}],"users":[{"name":"c","user":{}}]}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAnAgentThatNeedsAPersonStaysAndSaysWhy(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := Config{HealthListen: free.Addr().String(), RetryRefused: metav1.Duration{Duration: time.Hour}}
	_ = free.Close()
	var log strings.Builder
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- stay(ctx, config, slog.New(slog.NewTextHandler(&log, nil)), errors.New("the token has expired"))
	}()
	answer := func(path string) string {
		for {
			response, err := http.Get("http://" + config.HealthListen + path)
			if err != nil {
				continue // it does not listen yet; the test's own limit ends this
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("%d %s", response.StatusCode, body)
		}
	}
	if got := answer("/readyz"); got != "503 the token has expired\n" {
		t.Errorf("/readyz: %q", got)
	}
	if got := answer("/healthz"); got != "200 ok\n" {
		t.Errorf("/healthz: %q", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("its end: %v", err)
	}
	if !strings.Contains(log.String(), `error="the token has expired"`) {
		t.Errorf("its log: %s", log.String())
	}
}
