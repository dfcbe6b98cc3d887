package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"windlass.dev/windlass/hack/cluster"
)

const buildLog = "build.log"

// build runs `make build`, where the flags stand, and shows that it gets on: minutes of silence look like a hang.
func build(ctx context.Context) error {
	fmt.Println("Building into bin/: " + strings.Join(programs, ", "))
	if !everythingBuilt() {
		fmt.Println("  The first build downloads the modules and compiles the Kubernetes API server:")
		fmt.Println("  5 to 15 minutes on a small machine. Later builds take seconds.")
	}
	began := time.Now()
	log, err := os.Create(filepath.Join(stateDir, buildLog))
	if err != nil {
		return err
	}
	defer log.Close()

	cmd := exec.CommandContext(ctx, "make", "--no-print-directory", "build", "BUILD_FLAGS=-v")
	// In a process group of its own, so that an interruption ends the compilers too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	output, writer := io.Pipe()
	cmd.Stdout, cmd.Stderr = writer, writer
	lines := make(chan string)
	go readLines(output, lines)
	finished := make(chan error, 1)
	go func() {
		err := cmd.Run()
		writer.Close()
		finished <- err
	}()
	showBuild(log, lines, began)
	if err := <-finished; err != nil {
		return &cluster.Failure{What: "make build failed", LogPath: log.Name(), Err: err}
	}
	fmt.Printf("  built, %s\n", since(began))
	return nil
}

func readLines(from io.Reader, to chan<- string) {
	defer close(to)
	scanner := bufio.NewScanner(from)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		to <- scanner.Text()
	}
	_, _ = io.Copy(io.Discard, from) // a line beyond all measure must not block the build
}

// showBuild copies the build's output to its log and counts in it until it ends: on a terminal in one
// line that changes, elsewhere in a line now and then.
func showBuild(log io.Writer, lines <-chan string, began time.Time) {
	terminal := isTerminal(os.Stdout)
	interval := 20 * time.Second
	if terminal {
		interval = time.Second
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	downloads, packages := 0, 0
	for {
		select {
		case line, more := <-lines:
			if !more {
				if terminal {
					fmt.Print("\r\033[K")
				}
				return
			}
			fmt.Fprintln(log, line)
			switch {
			case strings.HasPrefix(line, "go: downloading "):
				downloads++
			case line != "" && !strings.ContainsAny(line, " :#"):
				packages++ // with -v the go command prints the path of every package it compiles
			}
		case <-ticker.C:
			progress := fmt.Sprintf("  %s: %d modules downloaded, %d packages compiled", since(began), downloads, packages)
			if terminal {
				fmt.Print("\r\033[K" + progress)
			} else {
				fmt.Println(progress)
			}
		}
	}
}

func isTerminal(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
