package stray

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// plain logs without the time.
func plain(out *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func TestEveryLineBecomesARecord(t *testing.T) {
	for _, c := range []struct{ reason, text, want string }{
		{"a line of an HTTP server", "http2: server: error reading preface from client 127.0.0.1:9: reset\n", `level=INFO msg="http2: server: error reading preface from client 127.0.0.1:9: reset"` + "\n"},
		{"several, and empty ones between them", "one\n\n  two\n", "level=INFO msg=one\nlevel=INFO msg=two\n"},
		{"the last one without an end", "cut", "level=INFO msg=cut\n"},
		{
			"what the client of etcd says", `{"level":"warn","ts":"2026-11-26T22:27:53Z","logger":"etcd-client","caller":"v3/retry.go:68","msg":"retrying failed","attempt":0,"error":"code = Unavailable"}` + "\n",
			`level=WARN msg="etcd-client: retrying failed" error="code = Unavailable"` + "\n",
		},
		{"other JSON is a line as any", `{"a":1}` + "\n", `level=INFO msg="{\"a\":1}"` + "\n"},
		{"of a line without end the beginning", strings.Repeat("x", 3*maxLine) + "\nnext\n", "level=INFO msg=" + strings.Repeat("x", maxLine) + "\nlevel=INFO msg=next\n"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			var out bytes.Buffer
			Lines(strings.NewReader(c.text), plain(&out))
			if diff := cmp.Diff(c.want, out.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Diverting can't be undone, so that it happens in a process of its own.
func TestWhoTookStandardErrorLongAgoWritesIntoTheLogToo(t *testing.T) {
	const asChild = "WINDLASS_TEST_DIVERT"
	if os.Getenv(asChild) != "" {
		before, own := os.Stderr, Stderr()
		lines := make(chan struct{})
		log := slog.New(slog.NewTextHandler(signalling{own, lines}, nil))
		if err := Divert(log); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(before, "by an old copy")
		<-lines
		fmt.Fprintln(own, "the last word")
		os.Exit(0)
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), asChild+"=1")
	var stderr bytes.Buffer
	child.Stderr = &stderr
	if err := child.Run(); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	if len(lines) != 2 || !strings.HasSuffix(lines[0], `level=INFO msg="by an old copy"`) || lines[1] != "the last word" {
		t.Errorf("standard error is:\n%s", stderr.String())
	}
}

// signalling tells of every write when it is done.
type signalling struct {
	to   *os.File
	done chan struct{}
}

func (s signalling) Write(p []byte) (int, error) {
	n, err := s.to.Write(p)
	s.done <- struct{}{}
	return n, err
}
