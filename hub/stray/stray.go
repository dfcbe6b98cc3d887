// Package stray alone is responsible for what libraries write to standard error past every logger: it
// makes records of the log out of it.
package stray

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// Stderr gives a standard error of the program's own, which stays what it is when Divert is called: that
// of its log and of its last word.
func Stderr() *os.File {
	own := *os.Stderr
	return &own
}

// Divert sends to the log, from now on, what is written to os.Stderr, also by those who took a copy of
// the variable long ago. The log must not write to os.Stderr itself, but to what Stderr has given. What
// Go's runtime says of a crash goes where it always goes.
func Divert(log *slog.Logger) error {
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("diverting standard error into the log: %w", err)
	}
	*os.Stderr = *write
	go Lines(read, log)
	return nil
}

// maxLine is what is kept of a line.
const maxLine = 64 << 10

// Lines makes a record of every line until the reader ends.
func Lines(from io.Reader, log *slog.Logger) {
	lines := bufio.NewReaderSize(from, maxLine)
	for {
		line, long, err := lines.ReadLine()
		if text := strings.TrimSpace(string(line)); text != "" {
			record(text, log)
		}
		for long && err == nil { // the rest of a line that is too long
			_, long, err = lines.ReadLine()
		}
		if err != nil {
			return
		}
	}
}

// zapLine is how the API server's client of etcd logs, which nobody can give another logger.
type zapLine struct {
	Level   slog.Level `json:"level"`
	Logger  string     `json:"logger"`
	Message string     `json:"msg"`
	Error   string     `json:"error"`
}

// record logs one line. That a line is no record says nothing of its weight.
func record(text string, log *slog.Logger) {
	var line zapLine
	if err := json.Unmarshal([]byte(text), &line); err != nil || line.Message == "" {
		log.Info(text)
		return
	}
	message := line.Message
	if line.Logger != "" {
		message = line.Logger + ": " + message
	}
	var attributes []any
	if line.Error != "" {
		attributes = append(attributes, "error", line.Error)
	}
	log.Log(context.Background(), line.Level, message, attributes...)
}
