// Command docgen writes the reference pages of flags, settings and metrics, docs/reference, from the
// source, so that they say what the programs do. It reads the source and links nothing of it: a
// program with an API server takes minutes to build.
//
// What has no comment, or is written in a way that docgen can't read, is an error: a reference that
// leaves something out is worse than none.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A program is one that has flags, settings and metrics.
type program struct {
	name     string // of the page's files
	binary   string
	title    string
	parts    string // the folder that everything of it lies below
	settings string // the folder of its Config
	command  string // the folder of its flags
}

var programs = []program{
	{name: "hub", binary: "windlass-hub", title: "hub", parts: "hub", settings: "hub/settings", command: "cmd/windlass-hub"},
	{name: "agent", binary: "windlass-agent", title: "agent", parts: "agent", settings: "agent", command: "cmd/windlass-agent"},
}

const folder = "docs/reference"

func main() {
	check := flag.Bool("check", false, "write nothing, and fail when a page is stale")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, "docgen:", err)
		os.Exit(1)
	}
}

func run(check bool) error {
	pages, err := render()
	if err != nil {
		return err
	}
	var stale []string
	for _, page := range pages {
		path := filepath.Join(folder, page.file)
		if check {
			if present, err := os.ReadFile(path); err != nil || !bytes.Equal(present, page.text) {
				stale = append(stale, path)
			}
			continue
		}
		if err := os.WriteFile(path, page.text, 0o644); err != nil {
			return err
		}
	}
	if len(stale) > 0 {
		return fmt.Errorf("stale, run `make generate` and commit: %s", strings.Join(stale, ", "))
	}
	return nil
}

type page struct {
	file string
	text []byte
}

const generated = "<!-- Written by `make generate` from the source: change the comments there. -->\n\n"

func render() ([]page, error) {
	var pages []page
	add := func(file string, text string) { pages = append(pages, page{file, []byte(generated + text)}) }
	var counted []metric
	for _, p := range programs {
		settings, err := settingsOf(p.settings)
		if err != nil {
			return nil, fmt.Errorf("reading the settings of %s: %w", p.binary, err)
		}
		flags, err := flagsOf(p.command)
		if err != nil {
			return nil, fmt.Errorf("reading the flags of %s: %w", p.binary, err)
		}
		add(p.name+"-configuration.md", settingsPage(p, settings, flags))
		add(p.name+"-flags.md", flagsPage(p, settings, flags))
		metrics, err := metricsBelow(p.parts)
		if err != nil {
			return nil, fmt.Errorf("reading the metrics of %s: %w", p.binary, err)
		}
		counted = append(counted, metrics...)
	}
	controllers, err := libraryMetrics("windlass_hub_", "sigs.k8s.io/controller-runtime/pkg/metrics",
		"sigs.k8s.io/controller-runtime/pkg/internal/controller/metrics", "sigs.k8s.io/controller-runtime/pkg/internal/metrics")
	if err != nil {
		return nil, fmt.Errorf("reading the metrics of the controllers: %w", err)
	}
	counted = append(counted, controllers...)
	slices.SortStableFunc(counted, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	add("metrics.md", metricsPage(counted))
	return pages, nil
}

// table renders rows of cells as a Markdown table; the first row is its head.
func table(rows [][]string) string {
	var text strings.Builder
	for i, row := range rows {
		for j := range row {
			row[j] = strings.ReplaceAll(row[j], "|", `\|`)
			if !strings.HasPrefix(row[j], "`") {
				row[j] = strings.ReplaceAll(row[j], "<", `\<`)
			}
		}
		fmt.Fprintf(&text, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(&text, "|%s\n", strings.Repeat(" --- |", len(row)))
		}
	}
	return text.String()
}

// code renders a value as code; nothing for an empty one.
func code(value string) string {
	if value == "" {
		return ""
	}
	return "`" + value + "`"
}
