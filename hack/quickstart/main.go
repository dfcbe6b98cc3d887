// Command quickstart is what `make quickstart` runs: it builds Windlass, starts a hub and two member
// clusters on this machine, joins them, applies a sample and leaves everything running.
//
// It imports nothing heavy: it has to say its first word before anything large is compiled.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: quickstart up|down|check

  up     build, start a hub and two members, apply the sample, leave everything running
  down   end what up started and remove its state
  check  only check whether this machine can do it
`

func main() {
	if len(os.Args) != 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1]); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		fmt.Fprintf(os.Stderr, "\nquickstart: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, command string) error {
	root, err := repositoryRoot()
	if err != nil {
		return err
	}
	// Everything below names files relative to the repository, as the user will.
	if err := os.Chdir(root); err != nil {
		return err
	}
	unlock, err := lock(lockedDir())
	if err != nil {
		return err
	}
	defer unlock()
	switch command {
	case "up":
		return up(ctx)
	case "down":
		return down()
	case "check":
		return preflight(ctx)
	}
	fmt.Fprint(os.Stderr, usage)
	return fmt.Errorf("no command %q", command)
}

func repositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		raw, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(raw), "module windlass.dev/windlass\n") {
			return dir, nil
		}
		if filepath.Dir(dir) == dir {
			return "", errors.New("run it inside a clone of the Windlass repository: no go.mod of windlass.dev/windlass lies here or above")
		}
		dir = filepath.Dir(dir)
	}
}

// lockedDir belongs to the state directory, and is there before and after it.
func lockedDir() string {
	if stateDir == usualDir {
		return filepath.Join("hack", "quickstart")
	}
	return filepath.Dir(stateDir)
}

// lock keeps a second quickstart off while one works. The directory itself is locked, so there is
// no file to leave behind, and the lock ends with the process.
func lock(dir string) (unlock func(), err error) {
	handle, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(handle.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		handle.Close()
		return nil, errors.New("another `make quickstart` or `make quickstart-down` is at work in this clone: let it finish")
	}
	return func() { handle.Close() }, nil
}

// since prints a duration as people say it.
func since(began time.Time) string {
	elapsed := time.Since(began)
	if elapsed < time.Minute {
		return fmt.Sprintf("%.1f s", elapsed.Seconds())
	}
	return fmt.Sprintf("%d min %02d s", int(elapsed.Minutes()), int(elapsed.Seconds())%60)
}
