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
	"slices"
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
	attrs    string // what follows the language, such as exit=1 or in=hub
	line     int    // of its first line
	lines    []string
}

func (b block) text() string { return strings.Join(b.lines, "\n") }

// A Step is one command of a console block and what it must print.
type Step struct {
	Line    int
	Command string
	Want    []string // lines, in this order, others may stand between
	Exit    int
	// In is where it is run, such as in the hub's cluster; empty: beside the quickstart.
	In string
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
func (b block) steps() ([]Step, error) {
	var form Step
	for _, attr := range strings.Fields(b.attrs) {
		name, value, _ := strings.Cut(attr, "=")
		var err error
		switch {
		case name == "exit":
			form.Exit, err = strconv.Atoi(value)
		case name == "in" && value != "":
			form.In = value
		default:
			err = strconv.ErrSyntax
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %q is neither exit=N nor in=PLACE", b.line-1, attr)
		}
	}
	var all []Step
	printed := false
	for i, line := range b.lines {
		command, begins := strings.CutPrefix(line, "$ ")
		more, goesOn := strings.CutPrefix(line, "> ")
		switch {
		case begins:
			next := form
			next.Line, next.Command = b.line+i, command
			all = append(all, next)
			printed = false
		case len(all) == 0:
			return nil, fmt.Errorf("line %d: a console block begins with a command after \"$ \"", b.line+i)
		case goesOn && !printed:
			all[len(all)-1].Command += "\n" + more
		case strings.TrimSpace(line) != "":
			all[len(all)-1].Want = append(all[len(all)-1].Want, line)
			printed = true
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("line %d: a console block without a command", b.line)
	}
	return all, nil
}

// Steps are the commands of one document that are run in places of their own, in order.
func Steps(path string) ([]Step, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d, err := parse(path, string(content))
	if err != nil {
		return nil, err
	}
	all, err := d.console()
	return slices.DeleteFunc(all, func(s Step) bool { return s.In == "" }), err
}

// console are all steps of a document, in order.
func (d document) console() ([]Step, error) {
	var all []Step
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

// Missing is the first wanted line that is not found, in order, among what was printed; empty when
// all are. A wanted line may be a part of a printed one, "..." stands for anything, and any amount
// of space is as good as any other.
func (s Step) Missing(printed string) string {
	lines := strings.Split(printed, "\n")
	at := 0
	for _, want := range s.Want {
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
