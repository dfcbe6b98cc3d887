package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

// A value is one that users can set, with all its names from the outermost on.
type value struct {
	name    string
	preset  string // as JSON
	meaning string
}

// longestPreset is how long a default may be that is shown in the table.
const longestPreset = 60

var (
	keyLine     = regexp.MustCompile(`^( *)([A-Za-z][A-Za-z0-9]*):(?: (.*))?$`)
	commentLine = regexp.MustCompile(`^( *)# ?(.*)$`)
)

// read returns the values of a values.yaml in their order. A map is a group of values when its own keys have comments,
// and otherwise one value. A comment belongs to the key right below it.
func read(source string) ([]value, error) {
	lines := strings.Split(source, "\n")
	presets := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(source), &presets); err != nil {
		return nil, err
	}
	var values []value
	var path []string // the groups around a line
	var comment []string
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		if match := commentLine.FindStringSubmatch(line); match != nil {
			comment = append(comment, match[2])
			continue
		}
		match := keyLine.FindStringSubmatch(line)
		if match == nil {
			comment = nil
			continue
		}
		depth := len(match[1]) / 2
		if depth > len(path) {
			return nil, fmt.Errorf("line %d: %s stands deeper than its group: groups are indented by two spaces", i+1, match[2])
		}
		names := append(append([]string{}, path[:depth]...), match[2])
		path = path[:depth]
		said := strings.TrimSpace(strings.Join(comment, " "))
		comment = nil
		if match[3] == "" && explained(lines[i+1:], depth+1) {
			path = names
			continue
		}
		name := strings.Join(names, ".")
		if said == "" {
			return nil, fmt.Errorf("line %d: %s has no comment right above it that says what it means", i+1, name)
		}
		preset, err := presetOf(presets, names)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		values = append(values, value{name: name, preset: preset, meaning: said})
		i += below(lines[i+1:], depth+1)
	}
	return values, nil
}

// explained says whether there is a comment in the lines that belong to the key above them.
func explained(lines []string, depth int) bool {
	for _, line := range lines[:below(lines, depth)] {
		if commentLine.MatchString(line) {
			return true
		}
	}
	return false
}

// below counts the lines that belong to the key above them.
func below(lines []string, depth int) int {
	for i, line := range lines {
		if !strings.HasPrefix(line, strings.Repeat("  ", depth)) {
			return i
		}
	}
	return len(lines)
}

func presetOf(presets map[string]any, names []string) (string, error) {
	var present any = presets
	for _, name := range names {
		group, ok := present.(map[string]any)
		if !ok {
			return "", fmt.Errorf("%s is not in a map", strings.Join(names, "."))
		}
		present = group[name]
	}
	text, err := json.Marshal(present)
	if err != nil {
		return "", err
	}
	if len(text) > longestPreset {
		return "see values.yaml", nil
	}
	return string(text), nil
}
