package main

import (
	"fmt"
	"go/ast"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

type metric struct {
	name, kind, help string
	labels           []string
}

// metricKinds are what prometheus' constructors make.
var metricKinds = map[string]string{
	"NewCounter": "counter", "NewCounterVec": "counter", "NewCounterFunc": "counter",
	"NewGauge": "gauge", "NewGaugeVec": "gauge", "NewGaugeFunc": "gauge",
	"NewHistogram": "histogram", "NewHistogramVec": "histogram",
}

// metricsBelow finds the metrics that the packages below a folder make, in the order of their names.
func metricsBelow(dir string) ([]metric, error) {
	all, err := folders(dir)
	if err != nil {
		return nil, err
	}
	var found []metric
	for _, folder := range all {
		source, err := parse(folder)
		if err != nil {
			return nil, err
		}
		for _, file := range source.files {
			metrics, err := metricsOf(source, file)
			if err != nil {
				return nil, err
			}
			found = append(found, metrics...)
		}
	}
	slices.SortFunc(found, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	return found, nil
}

// libraryMetrics finds the metrics of a library's packages, which the hub shows under a prefix of its
// own. Of the package constants nothing is read but the names that the others have from it.
func libraryMetrics(prefix, constants string, packages ...string) ([]metric, error) {
	packages = append(packages, constants)
	dirs := make([]string, len(packages))
	for i, path := range packages {
		dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", path).Output()
		if err != nil {
			return nil, fmt.Errorf("looking for %s: %w", path, err)
		}
		dirs[i] = strings.TrimSpace(string(dir))
	}
	source, err := parse(dirs...)
	if err != nil {
		return nil, err
	}
	var found []metric
	for _, file := range source.files {
		if filepath.Dir(source.positions.Position(file.Pos()).Filename) == dirs[len(dirs)-1] {
			continue
		}
		metrics, err := metricsOf(source, file)
		if err != nil {
			return nil, err
		}
		for _, m := range metrics {
			m.name, m.help = prefix+m.name, strings.TrimSuffix(m.help, ".")+"."
			found = append(found, m)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s have no metrics", strings.Join(packages, ", "))
	}
	return found, nil
}

// metricsOf finds the constructors in a file. One that stands in a function of the file which takes
// names and help texts is read once for each call of that function.
func metricsOf(source *source, file *ast.File) ([]metric, error) {
	known := source.constants()
	var found []metric
	var failure error
	add := func(call *ast.CallExpr, known map[string]ast.Expr) {
		m, err := readMetric(call, known)
		if err != nil && failure == nil {
			failure = source.errorAt(call, "the metric %v", err)
		}
		found = append(found, m)
	}
	makers := makersOf(file)
	within := map[*ast.CallExpr]bool{} // constructors inside of makers
	for _, m := range makers {
		within[m.constructor] = true
	}
	ast.Inspect(file, func(node ast.Node) bool {
		call, ok := node.(*ast.CallExpr)
		if !ok {
			return true
		}
		if isConstructor(call) && !within[call] {
			add(call, known)
		}
		name, _ := call.Fun.(*ast.Ident)
		if name == nil {
			return true
		}
		for _, m := range makers {
			if m.name != name.Name || len(call.Args) != len(m.parameters) {
				continue
			}
			arguments := maps.Clone(known)
			for i, parameter := range m.parameters {
				arguments[parameter] = call.Args[i]
			}
			add(m.constructor, arguments)
		}
		return true
	})
	return found, failure
}

// A maker is a local function that makes metrics whose names it is given.
type maker struct {
	name        string
	parameters  []string
	constructor *ast.CallExpr
}

func makersOf(file *ast.File) []maker {
	var makers []maker
	ast.Inspect(file, func(node ast.Node) bool {
		assignment, ok := node.(*ast.AssignStmt)
		if !ok || len(assignment.Lhs) != 1 || len(assignment.Rhs) != 1 {
			return true
		}
		name, isName := assignment.Lhs[0].(*ast.Ident)
		function, isFunction := assignment.Rhs[0].(*ast.FuncLit)
		if !isName || !isFunction {
			return true
		}
		m := maker{name: name.Name}
		for _, field := range function.Type.Params.List {
			for _, parameter := range field.Names {
				m.parameters = append(m.parameters, parameter.Name)
			}
		}
		ast.Inspect(function.Body, func(node ast.Node) bool {
			if call, ok := node.(*ast.CallExpr); ok && isConstructor(call) {
				m.constructor = call
			}
			return true
		})
		if m.constructor != nil {
			makers = append(makers, m)
		}
		return true
	})
	return makers
}

func isConstructor(call *ast.CallExpr) bool {
	function, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	of, ok := function.X.(*ast.Ident)
	return ok && of.Name == "prometheus" && metricKinds[function.Sel.Name] != "" && len(call.Args) > 0
}

func readMetric(call *ast.CallExpr, known map[string]ast.Expr) (metric, error) {
	m := metric{kind: metricKinds[call.Fun.(*ast.SelectorExpr).Sel.Name]}
	options, ok := call.Args[0].(*ast.CompositeLit)
	if !ok {
		return m, fmt.Errorf("has no literal options")
	}
	parts := map[string]string{}
	for _, element := range options.Elts {
		pair := element.(*ast.KeyValueExpr)
		key := pair.Key.(*ast.Ident).Name
		if key != "Name" && key != "Help" && key != "Namespace" && key != "Subsystem" {
			continue
		}
		value, err := valueOf(pair.Value, known)
		if err != nil {
			return m, fmt.Errorf("has a %s that %w", key, err)
		}
		parts[key] = value
	}
	words := slices.DeleteFunc([]string{parts["Namespace"], parts["Subsystem"], parts["Name"]}, func(s string) bool { return s == "" })
	m.name, m.help = strings.Join(words, "_"), parts["Help"]
	if m.name == "" || m.help == "" {
		return m, fmt.Errorf("%s has no name or no help", m.name)
	}
	if len(call.Args) > 1 {
		if labels, ok := call.Args[1].(*ast.CompositeLit); ok {
			for _, element := range labels.Elts {
				label, err := valueOf(element, known)
				if err != nil {
					return m, fmt.Errorf("%s has a label that %w", m.name, err)
				}
				m.labels = append(m.labels, label)
			}
		}
	}
	return m, nil
}

func metricsPage(metrics []metric) string {
	var text strings.Builder
	text.WriteString("# Metrics\n\nFor Prometheus. Besides these, the hub serves those of the Kubernetes API server that it contains, and some\nof controller-runtime that count nothing here (`windlass_hub_certwatcher_…`, `windlass_hub_rest_client_…`, `…_webhook_…`).\n")
	for _, part := range []struct{ prefix, title, where string }{
		{"windlass_hub_", "Hub", "Served by the hub's API at `/metrics`, to users who may `get` that path:\n`windlass kubectl get --raw /metrics`."},
		{"windlass_agent_", "Agent", "Served by the agent at `/metrics` of `--health-listen`, without authentication."},
	} {
		fmt.Fprintf(&text, "\n## %s\n\n%s\n\n", part.title, part.where)
		rows := [][]string{{"name", "type", "labels", "meaning"}}
		for _, m := range metrics {
			if !strings.HasPrefix(m.name, part.prefix) {
				continue
			}
			labels := make([]string, len(m.labels))
			for i, label := range m.labels {
				labels[i] = code(label)
			}
			rows = append(rows, []string{code(m.name), m.kind, strings.Join(labels, ", "), m.help})
		}
		text.WriteString(table(rows))
	}
	return text.String()
}
