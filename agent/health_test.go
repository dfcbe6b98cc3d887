package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
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
