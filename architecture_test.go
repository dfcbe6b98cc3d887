// Package windlass_test keeps the arrows of ARCHITECTURE.md: who may import whom, and what a package
// must say of itself. It reads the tree with `go list` and links nothing of it.
package windlass_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "windlass.dev/windlass"

// A rule forbids imports. Packages of this module are written without the module's path, and
// "x/..." is x and everything below it.
type rule struct {
	says string // the rule in one sentence, which names the subtest
	why  string // and what to do instead: it is all that somebody who breaks the rule gets to read

	from   []string // the packages that the rule is for …
	except []string // … but for these
	never  []string // what they do not import …
	only   []string // … or, instead, all that they import; the standard library is not asked about
	inside bool     // only and never are about packages of this module alone

	transitive bool // nor by way of another package
	program    bool // tests may: only what is built is asked about
}

var rules = []rule{
	{
		says: "the hub never imports the agent", from: []string{"hub/...", "cmd/windlass-hub"}, never: []string{"agent/...", "cmd/..."},
		why: "hub and agent meet in api/link/v1 only, so that one can be changed and released without the other. What both need is a decision: put it into pkg.",
	},
	{
		says: "the agent never imports the hub", from: []string{"agent/...", "cmd/windlass-agent"}, never: []string{"hub/...", "cmd/..."},
		why: "hub and agent meet in api/link/v1 only, so that one can be changed and released without the other. What both need is a decision: put it into pkg.",
	},
	{
		says: "a controller imports neither another one, nor the link, nor the hub that wires it",
		from: []string{"hub/controller/..."}, never: []string{"hub", "hub/controller/...", "hub/link/...", "hub/works/...", "hub/enroll/...", "hub/apiserver/..."},
		why: "Controllers meet in the API: one writes an object, the other is woken by it. What they share is a pure function (pkg) or a view of objects (hub/store, hub/templates), which hub.go hands over.",
	},
	{
		says: "pkg imports no client, no controller-runtime, no gRPC and no logger",
		from: []string{"pkg/..."}, never: []string{
			"k8s.io/client-go/...", "sigs.k8s.io/controller-runtime/...", "google.golang.org/grpc/...", "net/http/...", "os/exec",
			"log/...", "k8s.io/klog/...", "github.com/go-logr/...",
		},
		program: true,
		why:     "pkg decides, hub and agent do: take values instead of clients, and give back a reason and a message instead of a log line.",
	},
	{
		says: "pkg does not drag in clients by way of others",
		from: []string{"pkg/..."}, never: []string{"k8s.io/client-go/...", "sigs.k8s.io/controller-runtime/...", "k8s.io/apiserver/..."}, transitive: true,
		why: "Everything imports pkg, and its tests take seconds because nothing large comes with it: find a smaller module, or take the value that it would give.",
	},
	{
		says: "pkg stands on pkg and api", from: []string{"pkg/..."}, only: []string{"pkg/...", "api/..."}, inside: true,
		why: "Imports go towards pkg and never away from it: declare a small interface in pkg, or take the value as an argument.",
	},
	{
		says: "inside pkg, render, override and aggregate ask others, and nothing else asks a neighbour",
		from: []string{"pkg/..."}, except: []string{"pkg/render", "pkg/override", "pkg/aggregate"}, never: []string{"pkg/..."},
		why: "Decisions that ask each other can't be read alone: let the caller in hub or agent hand one's answer to the other.",
	},
	{
		says: "aggregate asks interpret only", from: []string{"pkg/aggregate"}, only: []string{"pkg/interpret", "api/..."}, inside: true,
		why: "Decisions that ask each other can't be read alone: let the caller in hub or agent hand one's answer to the other.",
	},
	{
		says: "override asks policy and schedule what selectors select, and nothing else", from: []string{"pkg/override"}, only: []string{"pkg/policy", "pkg/schedule", "api/..."}, inside: true,
		why: "An override policy chooses templates and clusters by the same words as a propagation policy, and they must mean the same. Everything else is for the caller to hand over.",
	},
	{
		says: "render asks interpret and override only", from: []string{"pkg/render"}, only: []string{"pkg/interpret", "pkg/override", "api/..."}, inside: true, program: true,
		why: "Decisions that ask each other can't be read alone: let the caller in hub or agent hand one's answer to the other.",
	},
	{
		says: "api imports nothing but Kubernetes' types and machinery",
		from: []string{"api/..."}, except: []string{"api/link/..."}, program: true,
		only: []string{"api/...", "k8s.io/api/...", "k8s.io/apimachinery/...", "k8s.io/apiextensions-apiserver/pkg/apis/...", "k8s.io/utils/ptr"},
		why:  "Other programs import our types: they must get nothing but types. Behaviour belongs into pkg.",
	},
	{
		says: "the link's vocabulary imports nothing but protobuf and gRPC",
		from: []string{"api/link/..."}, only: []string{"google.golang.org/protobuf/...", "google.golang.org/grpc/..."},
		why: "Hub and agent of different versions agree on these words alone: write messages, not types of Kubernetes.",
	},
	{
		says: "only the hub, and the members of tests, link k8s.io/kubernetes",
		from: []string{"..."}, except: []string{"hub/apiserver/...", "hub", "cmd/windlass-hub", "hack/member", "hack/node"}, never: []string{"k8s.io/kubernetes/..."}, transitive: true,
		why: "It takes minutes to compile and 3 GiB to link: an agent and a command line must stay small, and a test quick. Declare the interface that you need and let hub.go give you what hub/apiserver has.",
	},
	{
		says: "the agent does without clients that know all kinds of Kubernetes",
		from: []string{"agent/...", "cmd/windlass-agent"}, transitive: true, program: true, never: []string{
			"k8s.io/client-go/kubernetes/...", "k8s.io/client-go/applyconfigurations/...", "k8s.io/client-go/gentype/...", "k8s.io/client-go/discovery/...", "k8s.io/client-go/openapi/...",
		},
		why: "They double the program, and most of it is in memory from the start: ask agent/member, which has the few kinds that the agent needs for itself, and add one there.",
	},
	{
		says: "agent and command line do without the libraries of an API server",
		from: []string{"agent/...", "cmd/windlass-agent", "cli/...", "cmd/windlass"}, never: []string{"k8s.io/apiserver/...", "go.etcd.io/etcd/..."}, transitive: true, program: true,
		why: "The agent has 40 MB in a member that is there for something else: client-go and apimachinery have what an agent and a command line need.",
	},
	{
		says: "the command line is a client like any other", from: []string{"cli/...", "cmd/windlass"}, only: []string{"cli/...", "api/...", "pkg/..."}, inside: true,
		why: "What windlass can do, kubectl and a user's own program can do too, through the API: whatever is missing there is to be added there.",
	},
	{
		says: "end-to-end tests use the built programs", from: []string{"e2e/..."}, except: []string{"e2e/agenttest", "e2e/linktest", "e2e/enrolltest", "e2e/simagent"},
		only: []string{"e2e/...", "hack/...", "api/...", "docs/doctest"}, inside: true,
		why: "They prove what a user gets, and nobody gets a package: start the program by e2e/fleet. Parts that are tried against each other without their programs stand in agenttest, linktest and enrolltest; simagent is an agent without a member.",
	},
	{
		says: "nothing imports the tests and tools", from: []string{"api/...", "pkg/...", "hub/...", "agent/...", "cli/...", "cmd/..."}, never: []string{"e2e/...", "hack/...", "docs/..."},
		why: "What only tests and builds need is not part of the product: move it to where the product can own it.",
	},
	{
		says: "the quickstart's own program is small", from: []string{"hack/quickstart", "hack/cluster"}, never: []string{"k8s.io/client-go/...", "k8s.io/api/...", "google.golang.org/grpc/..."}, transitive: true, program: true,
		why: "make quickstart has to say its first word before anything large is compiled: use hack/cluster's own client.",
	},
}

func TestImportsGoTheWayTheArchitectureSays(t *testing.T) {
	packages := list(t)
	for _, r := range rules {
		t.Run(r.says, func(t *testing.T) {
			asked := 0
			for _, p := range packages {
				if !matches(p.path, r.from) || matches(p.path, r.except) {
					continue
				}
				asked++
				for _, forbidden := range r.broken(p) {
					t.Errorf("%s imports %s.\n%s", p.path, forbidden, r.why)
				}
			}
			if asked == 0 {
				t.Errorf("no package is called %v any more: does the rule still say what is meant?", r.from)
			}
		})
	}
}

// broken are the imports of a package that the rule forbids.
func (r rule) broken(p source) []string {
	imports := p.imports
	switch {
	case r.transitive && r.program:
		imports = p.links
	case r.transitive:
		imports = join(p.links, p.testLinks)
	case !r.program:
		imports = join(p.imports, p.testImports)
	}
	return slices.DeleteFunc(slices.Clone(imports), func(imported string) bool {
		switch {
		case imported == p.path: // a test outside the package
			return true
		case r.inside && !ours(imported):
			return true
		case r.only != nil:
			return !strings.Contains(imported, ".") && !ours(imported) || matches(imported, r.only)
		}
		return !matches(imported, r.never)
	})
}

// clocks are the functions of package time that ask a clock, or wait.
var clocks = []string{"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep"}

func TestPkgAsksNoClock(t *testing.T) {
	for _, p := range list(t) {
		if !matches(p.path, []string{"pkg/..."}) {
			continue
		}
		for _, file := range p.files {
			for _, call := range clockCalls(t, file) {
				t.Errorf("%s: a decision must come out the same today and tomorrow: take the time as an argument", call)
			}
		}
	}
}

func clockCalls(t *testing.T, file string) []string {
	t.Helper()
	files := token.NewFileSet()
	tree, err := parser.ParseFile(files, file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	name := ""
	for _, imported := range tree.Imports {
		if imported.Path.Value == `"time"` {
			name = "time"
			if imported.Name != nil {
				name = imported.Name.Name
			}
		}
	}
	var calls []string
	ast.Inspect(tree, func(node ast.Node) bool {
		selector, ok := node.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if of, ok := selector.X.(*ast.Ident); ok && name != "" && of.Name == name && slices.Contains(clocks, selector.Sel.Name) {
			calls = append(calls, fmt.Sprintf("%s: %s.%s", files.Position(selector.Pos()), of.Name, selector.Sel.Name))
		}
		return true
	})
	return calls
}

func TestNoPackageIsNamedAfterNothing(t *testing.T) {
	nothing := []string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "lib", "base"}
	for _, p := range list(t) {
		if slices.Contains(nothing, path.Base(p.path)) {
			t.Errorf("%s: its name does not say what it is for, so everything will end there: a function with one caller stands beside it, one with three callers has a noun", p.path)
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range list(t) {
		if !hasComment(t, p) {
			t.Errorf("%s has no package comment: its first line says what the package alone is responsible for; without such a sentence it should not be a package", p.path)
		}
	}
}

func hasComment(t *testing.T, p source) bool {
	t.Helper()
	for _, file := range append(slices.Clone(p.files), p.testFiles...) {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		comment := tree.Doc.Text()
		if strings.HasPrefix(comment, "Package ") || strings.HasPrefix(comment, "Command ") {
			return true
		}
	}
	return false
}

func TestARuleFindsWhatItForbids(t *testing.T) {
	pure := rule{from: []string{"pkg/..."}, never: []string{"k8s.io/client-go/...", "log/..."}, program: true}
	for _, test := range []struct {
		reason string
		rule   rule
		p      source
		want   []string
	}{
		{"below a forbidden path", pure, source{path: "pkg/x", imports: []string{"time", "k8s.io/client-go/rest", "log/slog"}}, []string{"k8s.io/client-go/rest", "log/slog"}},
		{"a name that only begins alike", pure, source{path: "pkg/x", imports: []string{"k8s.io/client-gone", "logic"}}, nil},
		{"tests may, where the rule says so", pure, source{path: "pkg/x", testImports: []string{"log"}}, nil},
		{"and may not, where it does not", rule{never: []string{"log/..."}}, source{path: "pkg/x", testImports: []string{"log"}}, []string{"log"}},
		{"by way of another package", rule{never: []string{"k8s.io/kubernetes/..."}, transitive: true}, source{path: "cli", links: []string{"k8s.io/kubernetes/pkg/api"}}, []string{"k8s.io/kubernetes/pkg/api"}},
		{"all that is allowed", rule{only: []string{"api/..."}}, source{path: "api/x", imports: []string{"time", "api/y", "pkg/z", "k8s.io/api"}}, []string{"pkg/z", "k8s.io/api"}},
		{"and of this module only", rule{only: []string{"api/..."}, inside: true}, source{path: "api/x", imports: []string{"time", "pkg/z", "k8s.io/api"}}, []string{"pkg/z"}},
	} {
		if got := test.rule.broken(test.p); !slices.Equal(got, test.want) {
			t.Errorf("%s: found %v, want %v", test.reason, got, test.want)
		}
	}
}

// A source is a package of this module.
type source struct {
	path             string
	files, testFiles []string // with their folder
	// What it imports itself, what its tests import, and everything that comes with either.
	imports, testImports, links, testLinks []string
}

// list returns all packages of this module, in order.
func list(t *testing.T) []source {
	t.Helper()
	packages, err := listed()
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

var listed = sync.OnceValues(func() ([]source, error) {
	if err := touchTree(); err != nil {
		return nil, err
	}
	// With -test every package comes again as the program of its tests, "x.test", and as what that
	// program contains, "x [x.test]".
	command := exec.Command("go", "list", "-test", "-json=ImportPath,Dir,GoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports,Deps", "./...")
	var failure bytes.Buffer
	command.Stderr = &failure
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("listing the packages: %w: %s", err, failure.String())
	}
	found := map[string]source{}
	decoder := json.NewDecoder(bytes.NewReader(output))
	for {
		var p struct {
			ImportPath, Dir                    string
			GoFiles, TestGoFiles, XTestGoFiles []string
			Imports, TestImports, XTestImports []string
			Deps                               []string
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("reading what go list says: %w", err)
		}
		if strings.HasSuffix(p.ImportPath, "]") {
			continue
		}
		if program, ok := strings.CutSuffix(p.ImportPath, ".test"); ok {
			s := found[short(program)]
			s.testLinks = shortened(p.Deps)
			found[short(program)] = s
			continue
		}
		s := found[short(p.ImportPath)]
		s.path = short(p.ImportPath)
		s.files, s.testFiles = within(p.Dir, p.GoFiles), within(p.Dir, join(p.TestGoFiles, p.XTestGoFiles))
		s.imports, s.testImports, s.links = shortened(p.Imports), shortened(join(p.TestImports, p.XTestImports)), shortened(p.Deps)
		found[s.path] = s
	}
	return slices.SortedFunc(maps.Values(found), func(a, b source) int { return strings.Compare(a.path, b.path) }), nil
})

// touchTree reads every folder of the module and does nothing with it. The go command remembers a
// test's result until something changes that the test itself has read, and what `go list` reads is
// read by another process.
func touchTree() error {
	return filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() || path == "." {
			return err
		}
		if path == "bin" || strings.HasPrefix(entry.Name(), ".") {
			return fs.SkipDir
		}
		return nil
	})
}

// short is a path without this module's; the folder of the module itself is ".".
func short(importPath string) string {
	importPath, _, _ = strings.Cut(importPath, " ") // "x [y.test]"
	if importPath == module {
		return "."
	}
	return strings.TrimPrefix(importPath, module+"/")
}

func shortened(paths []string) []string {
	all := make([]string, 0, len(paths))
	for _, p := range paths {
		all = append(all, short(p))
	}
	return all
}

func within(dir string, names []string) []string {
	all := make([]string, 0, len(names))
	for _, name := range names {
		all = append(all, filepath.Join(dir, name))
	}
	return all
}

func join(a, b []string) []string { return append(slices.Clone(a), b...) }

// ours tells packages of this module from those of the standard library and of other modules.
func ours(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return slices.Contains([]string{"api", "pkg", "hub", "agent", "cli", "cmd", "hack", "e2e", "docs", "charts"}, first)
}

func matches(path string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		above, all := strings.CutSuffix(pattern, "...")
		if !all {
			return path == pattern
		}
		return above == "" || path+"/" == above || strings.HasPrefix(path, above)
	})
}
