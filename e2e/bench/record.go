package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// section is what is printed and recorded of a scenario; where says when and on what it was measured, and with which flags.
func section(s scenario, where string, rows []row) string {
	text := fmt.Sprintf("### %s\n\n%s. Measured %s.\n\n%s", s.name, capital(s.what), where, table(rows))
	if s.limits != "" {
		text += "\nNot shown: " + s.limits + ".\n"
	}
	return text
}

func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// machine says when, of which commit and on what something is measured.
func machine(commit string) string {
	load, _, _ := strings.Cut(readOr("/proc/loadavg", "unknown"), " ")
	return fmt.Sprintf("%s at commit %s, on %d processors (%s), %s of memory, Linux %s, %s; load before it began: %s",
		time.Now().UTC().Format("2006-01-02 15:04 UTC"), commit, runtime.NumCPU(), field("/proc/cpuinfo", "model name"),
		memorySize(), strings.TrimSpace(readOr("/proc/sys/kernel/osrelease", "unknown")), runtime.Version(), load)
}

// builtCommit is that of the programs in a folder, where make has written it beside them, and else the one that is checked out. Of a tree
// without a history there is none.
func builtCommit(ctx context.Context, bin string) string {
	if written := strings.TrimSpace(readOr(filepath.Join(bin, "commit"), "")); written != "" {
		return written
	}
	commit, err := output(ctx, "git", "rev-parse", "--short=10", "HEAD")
	if err != nil {
		return "(unknown)"
	}
	if changes, err := output(ctx, "git", "status", "--porcelain", "--untracked-files=no", "--", ":!*.md"); err != nil || changes != "" { // the results are in one
		commit += " with changes"
	}
	return commit
}

func output(ctx context.Context, program string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return "", fmt.Errorf("running %s: %w", program, err)
	}
	return strings.TrimSpace(string(out)), nil
}

func readOr(path, otherwise string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return otherwise
	}
	return string(raw)
}

// memorySize is that of the machine.
func memorySize() string {
	var kilobytes float64
	if _, err := fmt.Sscanf(field("/proc/meminfo", "MemTotal"), "%f kB", &kilobytes); err != nil {
		return "an unknown amount"
	}
	return fmt.Sprintf("%.0f GB", kilobytes*1024/1e9)
}

// field finds "name : value" in a file of /proc.
func field(path, name string) string {
	for line := range strings.Lines(readOr(path, "")) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// openResults opens the file that tables are to be put into, if any, for nothing but to refuse what cannot be written before hours of
// measuring.
func openResults(path string) error {
	if path == "" {
		return nil
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("-into: %w", err)
	}
	return file.Close()
}

// record puts a section into a file, in the place of the scenario's older one or after the last scenario, and gathers the goals of all
// sections there anew. What people have written around them stays.
func record(path, name, section string) error {
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("recording the result: %w", err)
	}
	text, err := replaceBlock(string(raw), "bench "+name, section)
	if err == nil {
		text, err = replaceBlock(text, "goals", goalsIn(text))
	}
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o644)
	}
	if err != nil {
		return fmt.Errorf("recording the result in %s: %w", path, err)
	}
	return nil
}

// replaceBlock replaces what stands between two marks. What is new comes with them after the last scenario, before what people have written
// of all of them, or else at the end.
func replaceBlock(text, name, content string) (string, error) {
	begin, end := fmt.Sprintf("<!-- %s -->\n", name), fmt.Sprintf("<!-- end of %s -->\n", name)
	before, rest, found := strings.Cut(text, begin)
	_, after, whole := strings.Cut(rest, end)
	block := begin + content + end
	switch {
	case found && !whole:
		return "", fmt.Errorf("%q has no end", strings.TrimSpace(begin))
	case found:
		return before + block + after, nil
	case text == "":
		return block, nil
	}
	until := len(text)
	if last := strings.LastIndex(text, "<!-- end of bench "); last >= 0 {
		line, _, _ := strings.Cut(text[last:], "\n")
		until = last + len(line)
	}
	before, after = strings.TrimRight(text[:until], "\n")+"\n\n", strings.TrimPrefix(text[until:], "\n")
	return before + block + after, nil
}

// goalsIn gathers the rows with a goal from all sections of a text, as a table of its own.
func goalsIn(text string) string {
	lines := [][]string{{"scenario", "size", "what", "median", "p99", "goal"}}
	var scenario string
	var header []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, found := strings.CutPrefix(line, "<!-- "); found {
			scenario, _ = strings.CutPrefix(strings.TrimSuffix(name, " -->"), "bench ")
			header = nil
			continue
		}
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if header == nil {
			header = cells
			continue
		}
		cell := func(column string) string {
			if i := slices.Index(header, column); i >= 0 && i < len(cells) {
				return cells[i]
			}
			return ""
		}
		if scenario != "goals" && strings.Contains(cell("goal"), "reached") {
			lines = append(lines, []string{scenario, cell("size"), cell("what"), cmp.Or(cell("median"), cell("value")), cell("p99"), cell("goal")})
		}
	}
	return markdown(lines)
}
