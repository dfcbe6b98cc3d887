package doctest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// quickstartDir names the checkout whose quickstart the console blocks are run against: commands
// run in it, with the kubeconfig of its quickstart.
const quickstartDir = "WINDLASS_DOCTEST_DIR"

// stepLimit bounds one command. Those that wait have shorter limits of their own.
const stepLimit = 2 * time.Minute

func all(t *testing.T) (string, []document) {
	t.Helper()
	dir, err := root()
	if err != nil {
		t.Fatal(err)
	}
	docs, err := documents(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, docs
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	dir, docs := all(t)
	headings := map[string][]string{}
	for _, d := range docs {
		headings[d.path] = anchors(d.text)
	}
	for _, d := range docs {
		for _, match := range link.FindAllStringSubmatch(d.text, -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			path, anchor, _ := strings.Cut(match[1], "#")
			target := d.path
			if path != "" {
				target = filepath.Join(filepath.Dir(d.path), path)
			}
			if _, err := os.Stat(filepath.Join(dir, target)); err != nil {
				t.Errorf("%s: the link %s leads nowhere", d.path, match[1])
			}
			if anchor != "" && !slices.Contains(headings[target], anchor) {
				t.Errorf("%s: the link %s leads to a heading that %s does not have", d.path, match[1], target)
			}
		}
	}
}

// anchors are the names by which headings are linked to.
func anchors(text string) []string {
	var names []string
	for _, line := range strings.Split(text, "\n") {
		title := strings.TrimLeft(line, "#")
		if title == line {
			continue
		}
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
				return r
			}
			return -1
		}, strings.ToLower(strings.TrimSpace(title)))
		names = append(names, name)
	}
	return names
}

func TestEveryDocumentIsLinkedToFromSomewhere(t *testing.T) {
	_, docs := all(t)
	linked := map[string]bool{"README.md": true}
	for _, d := range docs {
		for _, match := range link.FindAllStringSubmatch(d.text, -1) {
			path, _, _ := strings.Cut(match[1], "#")
			linked[filepath.Join(filepath.Dir(d.path), path)] = true
		}
	}
	for _, d := range docs {
		if !linked[d.path] {
			t.Errorf("%s: no document has a link to it", d.path)
		}
	}
}

// quoted is a path of this repository in backticks: it begins with one of our folders.
var quoted = regexp.MustCompile("`((?:api|pkg|hub|agent|cli|cmd|hack|e2e|docs|charts)(?:/[A-Za-z0-9_.-]+)*/?|[A-Z]+\\.md)`")

func TestEveryPathNamedInTheArchitectureExists(t *testing.T) {
	dir, docs := all(t)
	for _, d := range docs {
		if d.path != "ARCHITECTURE.md" && d.path != "CONTRIBUTING.md" {
			continue
		}
		found := 0
		for _, match := range quoted.FindAllStringSubmatch(d.text, -1) {
			found++
			if err := hasContent(filepath.Join(dir, match[1])); err != nil {
				t.Errorf("%s names %s: %v", d.path, match[1], err)
			}
		}
		if found == 0 {
			t.Errorf("%s names no path: is the pattern still right?", d.path)
		}
	}
}

// hasContent also refuses a folder without files: version control would not have it.
func hasContent(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return errors.New("it does not exist")
	}
	if !info.IsDir() {
		return nil
	}
	entries, err := os.ReadDir(path)
	if err == nil && len(entries) == 0 {
		err = errors.New("it is empty")
	}
	return err
}

// exampleName is the first line of a block that shows a file.
var exampleName = regexp.MustCompile(`^# (docs/\S+\.yaml)$`)

func TestExamplesAreTheFilesTheyClaimToBe(t *testing.T) {
	dir, docs := all(t)
	shown := map[string]bool{}
	for _, d := range docs {
		for _, b := range d.blocks {
			if b.language != "yaml" || len(b.lines) == 0 {
				continue
			}
			match := exampleName.FindStringSubmatch(b.lines[0])
			if match == nil {
				continue
			}
			shown[match[1]] = true
			content, err := os.ReadFile(filepath.Join(dir, match[1]))
			if err != nil {
				t.Errorf("%s:%d: %v", d.path, b.line, err)
				continue
			}
			if strings.TrimSpace(string(content)) != strings.TrimSpace(b.text()) {
				t.Errorf("%s:%d: the block differs from %s", d.path, b.line, match[1])
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "docs/guide/examples/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name, _ := filepath.Rel(dir, file); !shown[name] {
			t.Errorf("%s is shown in no document", name)
		}
	}
}

// languages are the words that a block may be marked with.
var languages = []string{"console", "text", "yaml"}

func TestEveryBlockSaysWhatItIs(t *testing.T) {
	_, docs := all(t)
	for _, d := range docs {
		for _, b := range d.blocks {
			if !slices.Contains(languages, b.language) {
				t.Errorf("%s:%d: the block is marked %q; it is one of %s", d.path, b.line, b.language, strings.Join(languages, ", "))
			}
			if b.language == "text" && strings.HasPrefix(b.text(), "$ ") {
				t.Errorf("%s:%d: a block that begins with $ is run: mark it console, or leave the $ out", d.path, b.line)
			}
		}
	}
}

func TestEveryCommandIsAShellCommandAndNamesFilesThatExist(t *testing.T) {
	dir, docs := all(t)
	for _, d := range docs {
		steps, err := d.console()
		if err != nil {
			t.Error(err)
		}
		for _, s := range steps {
			check := exec.Command("bash", "-n")
			check.Stdin = strings.NewReader(s.Command)
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("%s:%d: %v: %s", d.path, s.Line, err, out)
			}
			for _, word := range strings.Fields(s.Command) {
				if !strings.HasPrefix(word, "docs/") {
					continue
				}
				if _, err := os.Stat(filepath.Join(dir, word)); err != nil {
					t.Errorf("%s:%d: %v", d.path, s.Line, err)
				}
			}
		}
	}
}

// direct is a module that go.mod requires for our own code.
var direct = regexp.MustCompile(`(?m)^\t(\S+) v\S+$`)

func TestEveryDependencyHasItsLineInTheDecisions(t *testing.T) {
	dir, _ := all(t)
	module, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	decisions, err := os.ReadFile(filepath.Join(dir, "DECISIONS.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range direct.FindAllStringSubmatch(string(module), -1) {
		if !listed(string(decisions), match[1]) {
			t.Errorf("DECISIONS.md does not say what %s does for us", match[1])
		}
	}
}

// listed finds a module, or a part of the path that it shares with others, in backticks.
func listed(text, module string) bool {
	for path := module; strings.Contains(path, "/"); path = path[:strings.LastIndex(path, "/")] {
		if strings.Contains(text, "`"+path+"`") {
			return true
		}
	}
	return false
}

// TestTheCommandsOfTheDocumentsWork runs them against a quickstart where there is one to run them
// against; their form is checked by the tests above anyhow. Those with a place of their own are run by e2e/install.
func TestTheCommandsOfTheDocumentsWork(t *testing.T) {
	dir := os.Getenv(quickstartDir)
	if dir == "" {
		t.Logf("%s is not set: the commands were not run", quickstartDir)
		return
	}
	_, docs := all(t)
	for _, d := range docs {
		steps, err := d.console()
		if err != nil {
			t.Fatal(err)
		}
		steps = slices.DeleteFunc(steps, func(s Step) bool { return s.In != "" })
		if len(steps) == 0 {
			continue
		}
		t.Run(d.path, func(t *testing.T) {
			// Every document has namespaces of its own, and most of its time is waiting.
			t.Parallel()
			for _, s := range steps {
				if err := s.run(t.Context(), dir); err != nil {
					t.Fatalf("%s:%d: $ %s\n%v", d.path, s.Line, s.Command, err) // what follows builds on it
				}
			}
		})
	}
}

// run runs a command as a reader would, in a shell in dir, and compares what it prints.
func (s Step) run(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	var out bytes.Buffer
	command := exec.CommandContext(ctx, "bash", "-c", s.Command)
	command.Dir = dir
	command.Stdout, command.Stderr = &out, &out
	command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfigOf(dir))
	code := 0
	if err := command.Run(); err != nil {
		var ended *exec.ExitError
		if !errors.As(err, &ended) || ctx.Err() != nil {
			return fmt.Errorf("%w\n%s", err, out.String())
		}
		code = ended.ExitCode()
	}
	if code != s.Exit {
		return fmt.Errorf("exit code %d, want %d\n%s", code, s.Exit, out.String())
	}
	if missing := s.Missing(out.String()); missing != "" {
		return fmt.Errorf("it did not print %q, but:\n%s", missing, out.String())
	}
	return nil
}

// kubeconfigOf is the one in the environment, or the quickstart's own.
func kubeconfigOf(dir string) string {
	if path := os.Getenv("KUBECONFIG"); path != "" {
		return path
	}
	return filepath.Join(dir, ".quickstart", "kubeconfig")
}

func TestAConsoleBlockIsReadAsItsReaderReadsIt(t *testing.T) {
	d, err := parse("x.md", "words\n\n```console exit=1\n$ cat <<E\n> a\n> E\na ... c\n> d\n\n$ true\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	steps, err := d.console()
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) != 2 || steps[0].Command != "cat <<E\na\nE" || steps[0].Exit != 1 || steps[1].Command != "true" || steps[1].Line != 10 {
		t.Errorf("got %+v", steps)
	}
	if got := strings.Join(steps[0].Want, "|"); got != "a ... c|> d" {
		t.Errorf("what has to be printed is read as %q", got)
	}
}

func TestWhatIsPrintedIsComparedInOrderAndWithGaps(t *testing.T) {
	s := Step{Want: []string{"NAME ... READY", "web 4"}}
	for _, test := range []struct {
		reason, printed, missing string
	}{
		{"spaces do not matter, nor lines between", "NAME   AGE   READY\nother 1\nweb    4   x\n", ""},
		{"the order does", "web 4\nNAME AGE READY\n", "web 4"},
		{"nothing printed", "", "NAME ... READY"},
	} {
		if got := s.Missing(test.printed); got != test.missing {
			t.Errorf("%s: missing is %q, want %q", test.reason, got, test.missing)
		}
	}
}

func TestACommandThatFailsOrPrintsSomethingElseIsFound(t *testing.T) {
	for _, test := range []struct {
		step Step
		says string
	}{
		{Step{Command: "echo hello", Want: []string{"hello"}}, ""},
		{Step{Command: "echo hello", Want: []string{"goodbye"}}, `did not print "goodbye"`},
		{Step{Command: "echo no >&2; exit 3", Exit: 3, Want: []string{"no"}}, ""},
		{Step{Command: "exit 3"}, "exit code 3, want 0"},
	} {
		err := test.step.run(t.Context(), t.TempDir())
		switch {
		case test.says == "" && err != nil:
			t.Errorf("%q: %v", test.step.Command, err)
		case test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)):
			t.Errorf("%q: got %v, want %q", test.step.Command, err, test.says)
		}
	}
}
