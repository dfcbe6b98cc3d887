// Command chartdoc writes the table of values in the README of each chart from the comments of its values.yaml, so
// that the two say the same.
//
// A value without a comment is an error: a table that leaves something out is worse than none.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The table stands between these lines of a README.
const (
	begin = "<!-- values: written by `make generate` from values.yaml, change the comments there -->"
	end   = "<!-- end of values -->"
)

func main() {
	if err := run("charts"); err != nil {
		fmt.Fprintln(os.Stderr, "chartdoc:", err)
		os.Exit(1)
	}
}

// run writes the table of every chart below a folder.
func run(folder string) error {
	charts, err := filepath.Glob(filepath.Join(folder, "*", "values.yaml"))
	if err != nil {
		return err
	}
	if len(charts) == 0 {
		return fmt.Errorf("there is no %s: run it in the repository's folder", filepath.Join(folder, "*", "values.yaml"))
	}
	for _, path := range charts {
		if err := document(path, filepath.Join(filepath.Dir(path), "README.md")); err != nil {
			return err
		}
	}
	return nil
}

// document writes the table of a values.yaml into a README.
func document(valuesPath, readmePath string) error {
	source, err := os.ReadFile(valuesPath)
	if err != nil {
		return err
	}
	values, err := read(string(source))
	if err != nil {
		return fmt.Errorf("%s: %w", valuesPath, err)
	}
	readme, err := os.ReadFile(readmePath)
	if err != nil {
		return err
	}
	written, err := insert(string(readme), table(values))
	if err != nil {
		return fmt.Errorf("%s: %w", readmePath, err)
	}
	if bytes.Equal(readme, []byte(written)) {
		return nil
	}
	return os.WriteFile(readmePath, []byte(written), 0o644)
}

// insert puts the table in the place of the one that a README has.
func insert(readme, table string) (string, error) {
	before, rest, found := strings.Cut(readme, begin+"\n")
	_, after, ended := strings.Cut(rest, end+"\n")
	if !found || !ended {
		return "", fmt.Errorf("there have to be two lines, between which the table of values stands: %s and %s", begin, end)
	}
	return before + begin + "\n\n" + table + "\n" + end + "\n" + after, nil
}

// table renders values as a Markdown table.
func table(values []value) string {
	var text strings.Builder
	text.WriteString("| value | default | meaning |\n| --- | --- | --- |\n")
	for _, v := range values {
		fmt.Fprintf(&text, "| `%s` | `%s` | %s |\n", v.name, v.preset, escape(v.meaning))
	}
	return text.String()
}

// escape leaves alone what stands in backticks, but for the bar, which ends a cell even there.
func escape(meaning string) string {
	parts := strings.Split(strings.ReplaceAll(meaning, "|", `\|`), "`")
	for i := range parts {
		if i%2 == 0 {
			parts[i] = strings.NewReplacer("<", `\<`, "*", `\*`).Replace(parts[i])
		}
	}
	return strings.Join(parts, "`")
}
