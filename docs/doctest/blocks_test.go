// Package doctest checks what the documents say: that links lead somewhere, that examples are the
// files they claim to be, that paths exist, and that the commands work.
package doctest

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// A document is a Markdown file, named by its path from the repository's root.
type document struct {
	path   string
	text   string // without what is in code blocks
	blocks []block
}

// A block is a fenced code block.
type block struct {
	language string
	attrs    string // what follows the language, such as exit=1
	line     int    // of its first line
	lines    []string
}

func (b block) text() string { return strings.Join(b.lines, "\n") }

// A step is one command of a console block and what it must print.
type step struct {
	line    int
	command string
	want    []string // lines, in this order, others may stand between
	exit    int
}

// parse splits a document into its text and its blocks.
func parse(path, content string) (document, error) {
	d := document{path: path}
	var prose strings.Builder
	var open *block
	scanner := bufio.NewScanner(strings.NewReader(content))
	for number := 1; scanner.Scan(); number++ {
		line := scanner.Text()
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case !fence && open != nil:
			open.lines = append(open.lines, line)
		case !fence:
			fmt.Fprintln(&prose, line)
		case open != nil && info == "":
			d.blocks = append(d.blocks, *open)
			open = nil
		case open != nil:
			return d, fmt.Errorf("%s:%d: a block begins inside the one of line %d", path, number, open.line)
		default:
			language, attrs, _ := strings.Cut(info, " ")
			open = &block{language: language, attrs: strings.TrimSpace(attrs), line: number + 1}
		}
	}
	if open != nil {
		return d, fmt.Errorf("%s:%d: the block is not closed", path, open.line)
	}
	d.text = prose.String()
	return d, scanner.Err()
}

// steps are the commands of a console block: lines after "$ ", gone on with by "> ".
func (b block) steps() ([]step, error) {
	exit := 0
	if b.attrs != "" {
		code, ok := strings.CutPrefix(b.attrs, "exit=")
		n, err := strconv.Atoi(code)
		if !ok || err != nil {
			return nil, fmt.Errorf("line %d: %q is not exit=N", b.line-1, b.attrs)
		}
		exit = n
	}
	var all []step
	printed := false
	for i, line := range b.lines {
		command, begins := strings.CutPrefix(line, "$ ")
		more, goesOn := strings.CutPrefix(line, "> ")
		switch {
		case begins:
			all = append(all, step{line: b.line + i, command: command, exit: exit})
			printed = false
		case len(all) == 0:
			return nil, fmt.Errorf("line %d: a console block begins with a command after \"$ \"", b.line+i)
		case goesOn && !printed:
			all[len(all)-1].command += "\n" + more
		case strings.TrimSpace(line) != "":
			all[len(all)-1].want = append(all[len(all)-1].want, line)
			printed = true
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("line %d: a console block without a command", b.line)
	}
	return all, nil
}

// console are all steps of a document, in order.
func (d document) console() ([]step, error) {
	var all []step
	for _, b := range d.blocks {
		if b.language != "console" {
			continue
		}
		steps, err := b.steps()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.path, err)
		}
		all = append(all, steps...)
	}
	return all, nil
}

// missing is the first wanted line that is not found, in order, among what was printed; empty when
// all are. A wanted line may be a part of a printed one, "..." stands for anything, and any amount
// of space is as good as any other.
func (s step) missing(printed string) string {
	lines := strings.Split(printed, "\n")
	at := 0
	for _, want := range s.want {
		pattern := patternOf(want)
		for at < len(lines) && !pattern.MatchString(strings.Join(strings.Fields(lines[at]), " ")) {
			at++
		}
		if at == len(lines) {
			return want
		}
		at++
	}
	return ""
}

func patternOf(want string) *regexp.Regexp {
	parts := strings.Split(strings.Join(strings.Fields(want), " "), "...")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(strings.TrimSpace(parts[i]))
	}
	return regexp.MustCompile(strings.Join(parts, ".*"))
}

// root is the repository's root: where the module is.
func root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no go.mod in any folder above")
		}
		dir = filepath.Dir(dir)
	}
}

// documents reads all Markdown files of the root and of docs.
func documents(dir string) ([]document, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(filepath.Join(dir, "docs"), func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, ".md") {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var all []document
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return nil, err
		}
		d, err := parse(name, string(bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))))
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}
