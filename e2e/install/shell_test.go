package install

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A shell is a bash in one place, such as at the prompt of somebody who administers one cluster: what a command
// exports or starts in the background is there for the next.
type shell struct {
	name    string
	process *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

// commandEnd begins the line by which a shell says that a command has ended, and how.
const commandEnd = "the-command-has-ended-with"

// openShell starts a bash in a network namespace; an empty name is the machine's own network.
func openShell(name, namespace, dir string, env []string) (*shell, error) {
	args := []string{"bash", "--noprofile", "--norc"}
	if namespace != "" {
		args = append([]string{"ip", "netns", "exec", namespace}, args...)
	}
	process := exec.Command(args[0], args[1:]...)
	process.Dir, process.Env = dir, env
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := process.StdinPipe()
	if err != nil {
		return nil, err
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer writer.Close()
	process.Stdout, process.Stderr = writer, writer
	if err := process.Start(); err != nil {
		return nil, fmt.Errorf("starting a shell for %s: %w", name, err)
	}
	return &shell{name: name, process: process, in: in, out: bufio.NewReader(reader)}, nil
}

// close ends the shell and what it has left in the background.
func (s *shell) close() {
	_ = syscall.Kill(-s.process.Process.Pid, syscall.SIGKILL)
	_ = s.process.Wait()
}

// try runs a command and returns what it printed, both streams as they came, and its exit code.
func (s *shell) try(ctx context.Context, command string) (printed string, code int, err error) {
	stop := context.AfterFunc(ctx, s.close)
	defer stop()
	if _, err := fmt.Fprintf(s.in, "%s\ncode=$?; echo; echo %s $code\n", command, commandEnd); err != nil {
		return "", 0, fmt.Errorf("the shell of %s has ended: %w", s.name, err)
	}
	var all strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if end, ok := strings.CutPrefix(line, commandEnd+" "); ok {
			code, err := strconv.Atoi(strings.TrimSpace(end))
			return strings.TrimRight(all.String(), "\n"), code, err
		}
		all.WriteString(line)
		if err != nil {
			return all.String(), 0, fmt.Errorf("the shell of %s has ended in the middle of a command: %w", s.name, err)
		}
	}
}

// run is try for a command that has to succeed.
func (s *shell) run(t *testing.T, command string) string {
	t.Helper()
	t.Logf("[%s] $ %s", s.name, command)
	printed, code, err := s.try(t.Context(), command)
	if err != nil {
		t.Fatalf("%v; it had printed:\n%s", err, printed)
	}
	if code != 0 {
		t.Fatalf("[%s] %s\nended with code %d:\n%s", s.name, command, code, printed)
	}
	t.Log(printed)
	return printed
}

// fails is try for a command that must not succeed.
func (s *shell) fails(t *testing.T, command string) string {
	t.Helper()
	t.Logf("[%s] $ %s", s.name, command)
	printed, code, err := s.try(t.Context(), command)
	if err != nil {
		t.Fatalf("%v; it had printed:\n%s", err, printed)
	}
	if code == 0 {
		t.Fatalf("[%s] %s\nsucceeded:\n%s", s.name, command, printed)
	}
	t.Log(printed)
	return printed
}
