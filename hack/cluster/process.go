package cluster

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Lifetime says what happens to a process when the one that started it ends.
type Lifetime int

const (
	// WithParent ends the process, by SIGKILL, when its starter ends in whatever way. Tests use it.
	WithParent Lifetime = iota
	// Detached lets it run on until Stop, or OpenProcess and Stop in a later process. The quickstart uses it.
	Detached
)

// Process is one operating-system process that this package started. Its record lies in a file,
// so that a later process can find it again. Methods may be called concurrently.
type Process struct {
	Name string `json:"name"`
	PID  int    `json:"pid"`
	// StartTicks and BootID tell this process from a later one that was given the same pid.
	StartTicks uint64 `json:"startTicks"`
	BootID     string `json:"bootID"`
	LogPath    string `json:"log"`

	record string
	exited chan struct{} // nil when this process is not our child
	err    error         // how it ended; read only after exited is closed
}

// command is what to run and how it is to be run.
type command struct {
	name     string
	path     string
	args     []string
	dir      string // working directory; also where NAME.pid goes
	log      string
	env      []string
	lifetime Lifetime
	network  *Namespace // nil: the network of this process
	isolated bool       // the first process of a PID and a mount namespace of its own
}

// spawns carries every start to one goroutine that never leaves its thread. Linux sends the
// parent-death signal when the starting *thread* ends, and Go ends threads as it likes; the
// network namespace, too, belongs to a thread and is inherited from it.
var spawns = sync.OnceValue(func() chan<- func() {
	requests := make(chan func())
	go func() {
		runtime.LockOSThread()
		for request := range requests {
			request()
		}
	}()
	return requests
})

// builtBinary returns the absolute path of a program of ours that must have been built.
func builtBinary(path string) (string, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(absolute); err != nil {
		return "", fmt.Errorf("%w: run make build", err)
	}
	return absolute, nil
}

func start(c command) (*Process, error) {
	logFile, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", c.name, err)
	}
	defer logFile.Close()

	cmd := exec.Command(c.path, c.args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if c.isolated {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS
	}
	if c.lifetime == WithParent {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	started := make(chan error, 1)
	spawns() <- func() { started <- c.network.do(cmd.Start) }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.name, err)
	}

	p := &Process{
		Name: c.name, PID: cmd.Process.Pid, LogPath: c.log,
		record: filepath.Join(c.dir, c.name+".pid"),
		exited: make(chan struct{}),
	}
	// Read before anybody waits for the child: until then its pid cannot be given to another.
	p.StartTicks, _, err = processStat(p.PID)
	if err == nil {
		p.BootID, err = bootID()
	}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	if err == nil {
		err = p.save()
	}
	if err != nil {
		_ = cmd.Process.Kill()
		<-p.exited
		return nil, fmt.Errorf("recording %s: %w", c.name, err)
	}
	return p, nil
}

// OpenProcess reads a process's record, as start left it in dir. It may have ended since: see Alive.
func OpenProcess(dir, name string) (*Process, error) {
	path := filepath.Join(dir, name+".pid")
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the record of %s: %w", name, err)
	}
	p := &Process{record: path}
	if err := json.Unmarshal(raw, p); err != nil {
		return nil, fmt.Errorf("reading the record of %s in %s: %w", name, path, err)
	}
	return p, nil
}

func (p *Process) save() error {
	raw, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return os.WriteFile(p.record, raw, 0o600)
}

// Alive tells whether the process runs. A process that took over its pid does not count, nor does one that has ended but was not reaped.
func (p *Process) Alive() bool {
	if p.exited != nil {
		select {
		case <-p.exited:
			return false
		default:
		}
	}
	ticks, state, err := processStat(p.PID)
	if err != nil || ticks != p.StartTicks || state == 'Z' || state == 'X' {
		return false
	}
	boot, err := bootID()
	return err == nil && boot == p.BootID
}

// Signal sends a signal, and only to the process that was started: the handle is taken first and
// compared afterwards, so a pid that was given to somebody else meanwhile is never hit.
func (p *Process) Signal(signal syscall.Signal) error {
	handle, err := os.FindProcess(p.PID)
	if err != nil {
		return fmt.Errorf("finding %s (pid %d): %w", p.Name, p.PID, err)
	}
	if !p.Alive() {
		return os.ErrProcessDone
	}
	if err := handle.Signal(signal); err != nil {
		return fmt.Errorf("signalling %s (pid %d): %w", p.Name, p.PID, err)
	}
	return nil
}

// Wait returns when the process has ended or ctx has.
func (p *Process) Wait(ctx context.Context) error {
	if p.exited != nil {
		select {
		case <-p.exited:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return waitFor(ctx, 10*time.Millisecond, func(context.Context) error {
		if p.Alive() {
			return fmt.Errorf("%s (pid %d) still runs", p.Name, p.PID)
		}
		return nil
	})
}

// Kill ends the process at once, by SIGKILL, and returns when it is gone.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return p.Wait(ctx)
}

// Stop asks the process to end, by SIGTERM, and kills it when it has not after grace.
func (p *Process) Stop(grace time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); errors.Is(err, os.ErrProcessDone) {
		return nil
	} else if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if p.Wait(ctx) == nil {
		return nil
	}
	return p.Kill()
}

// ExitCode returns the code a child ended with: -1 while it runs, after a signal, or when it is no child of ours.
func (p *Process) ExitCode() int {
	if p.exited == nil {
		return -1
	}
	select {
	case <-p.exited:
	default:
		return -1
	}
	var failure *exec.ExitError
	switch {
	case p.err == nil:
		return 0
	case errors.As(p.err, &failure):
		return failure.ExitCode()
	}
	return -1
}

// ended explains why the process no longer runs; nil while it does.
func (p *Process) ended() error {
	if p.Alive() {
		return nil
	}
	if p.exited != nil {
		<-p.exited // it has ended, and is about to be waited for: only then is it known how
	}
	how := "ended"
	if p.exited != nil && p.err != nil {
		how = "ended with " + p.err.Error()
	}
	return &Failure{What: p.Name + " " + how, LogPath: p.LogPath}
}

// Tail returns the last lines of the process's log.
func (p *Process) Tail(lines int) string { return tail(p.LogPath, lines) }

// ResidentBytes returns the memory the process holds; shared counts the pages of files (the binary) in it.
func (p *Process) ResidentBytes() (total, shared uint64, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
	if err != nil {
		return 0, 0, fmt.Errorf("reading the memory of %s: %w", p.Name, err)
	}
	kilobytes := func(field string) uint64 {
		for line := range strings.Lines(string(raw)) {
			if rest, ok := strings.CutPrefix(line, field+":"); ok {
				n, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
				return n
			}
		}
		return 0
	}
	return kilobytes("VmRSS") << 10, kilobytes("RssFile") << 10, nil
}

// Failure is a process or a start that failed; its message names the log to read and ends with the log's last lines.
type Failure struct {
	What    string
	LogPath string
	Err     error
}

func (f *Failure) Error() string {
	message := f.What
	if f.Err != nil {
		message += ": " + f.Err.Error()
	}
	message += "; its log is " + f.LogPath
	if lines := tail(f.LogPath, 5); lines != "" {
		message += ", which ends with:\n" + indent(lines)
	}
	return message
}

func (f *Failure) Unwrap() error { return f.Err }

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ")
}

// tail returns the last lines of a file; what cannot be read gives nothing. It reads at most 256 KiB.
func tail(path string, lines int) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > 256<<10 {
		_, _ = file.Seek(-256<<10, io.SeekEnd)
	}
	var kept []string
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		kept = append(kept, scanner.Text())
		if len(kept) > lines {
			kept = kept[1:]
		}
	}
	return strings.Join(kept, "\n")
}

// processStat returns the start time (field 22, in clock ticks after boot) and state (field 3) of a process.
func processStat(pid int) (ticks uint64, state byte, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	// The second field is the program's name in brackets and may hold anything, brackets too.
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(fields) < 20 {
		return 0, 0, fmt.Errorf("/proc/%d/stat has too few fields", pid)
	}
	ticks, err = strconv.ParseUint(fields[19], 10, 64)
	return ticks, fields[0][0], err
}

var bootID = sync.OnceValues(func() (string, error) {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(raw)), err
})

// waitFor asks until there is no error, at the given interval; when ctx ends it returns the last error.
func waitFor(ctx context.Context, interval time.Duration, ask func(context.Context) error) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		var fatal *Failure
		if errors.As(err, &fatal) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}
