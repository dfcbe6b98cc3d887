package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	checkPause   = time.Second
	checkTimeout = 5 * time.Second // of one question
	longestLine  = 4 << 10
	// ready is what an agent says that is connected. One that waits for another agent of the cluster counts as ready for
	// Kubernetes, and says so.
	ready = "ok"
)

// newCheck asks a running agent where it stands. It is there for images without a shell: for probes, and
// for the test of the chart.
func newCheck() *cobra.Command {
	command := &cobra.Command{
		Use:   "check",
		Short: "Ask a running agent whether it is connected; exit code 1, and why, when it is not",
		Args:  noArguments,
	}
	address := command.Flags().String("url", "http://127.0.0.1:8081/readyz", "URL of the agent's /readyz, which is the path of one without")
	wait := command.Flags().Duration("wait", 0, "how long to wait for it to become ready")
	command.RunE = func(command *cobra.Command, _ []string) error {
		ctx, cancel := context.WithTimeout(command.Context(), *wait+checkTimeout)
		defer cancel()
		line, err := checkUntil(ctx, readyzOf(*address), *wait, func(line string) { fmt.Fprintln(command.ErrOrStderr(), "waiting: "+line) })
		if err != nil {
			return fmt.Errorf("the agent is not ready: %w", err)
		}
		fmt.Fprintln(command.OutOrStdout(), "the agent is ready: "+line)
		return nil
	}
	return command
}

// readyzOf is the URL to ask: where only a host and a port are given, there is one path that can be meant. What is no URL is refused when it is asked.
func readyzOf(given string) string {
	address, err := url.Parse(given)
	if err != nil || address.Path != "" && address.Path != "/" {
		return given
	}
	address.Path = "/readyz"
	return address.String()
}

// checkUntil asks until the agent is ready or the wait is over, and returns its line. Each new reason on
// the way is told.
func checkUntil(ctx context.Context, url string, wait time.Duration, tell func(line string)) (string, error) {
	client := &http.Client{Timeout: checkTimeout}
	until := time.Now().Add(wait)
	told := ""
	for {
		line, err := check(ctx, client, url)
		if err == nil || !time.Now().Add(checkPause).Before(until) {
			return line, err
		}
		if told != err.Error() {
			told = err.Error()
			tell(told)
		}
		select {
		case <-ctx.Done():
			return "", err
		case <-time.After(checkPause):
		}
	}
}

func check(ctx context.Context, client *http.Client, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", fmt.Errorf("--url: %w", err)
	}
	response, err := client.Do(request)
	if err != nil {
		return "", fmt.Errorf("nobody answers there, so it does not run, or --url is not its address: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, longestLine))
	if err != nil {
		return "", fmt.Errorf("reading its answer: %w", err)
	}
	line := strings.TrimSpace(string(body))
	switch {
	case response.StatusCode == http.StatusOK && line == ready:
		return line, nil
	case line == "":
		return "", fmt.Errorf("it answers %s", response.Status)
	}
	return "", errors.New(line)
}
