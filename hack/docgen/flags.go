package main

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// flagOf is one flag of a program.
type flagOf struct {
	name, kind, usage string
	field             string // the path of the setting's Go field; empty for a flag that is no setting
}

// flagsOf reads the calls that declare a program's flags: XxxVar(&config.Field, name, default, usage).
func flagsOf(dir string) ([]flagOf, error) {
	source, err := parse(dir)
	if err != nil {
		return nil, err
	}
	var flags []flagOf
	var failure error
	for _, file := range source.files {
		ast.Inspect(file, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok || failure != nil {
				return failure == nil
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !strings.HasSuffix(method.Sel.Name, "Var") || len(call.Args) != 4 {
				return true
			}
			flag, err := readFlag(method.Sel.Name, call)
			if err != nil {
				failure = source.errorAt(call, "%v", err)
			}
			flags = append(flags, flag)
			return true
		})
	}
	slices.SortFunc(flags, func(a, b flagOf) int { return strings.Compare(a.name, b.name) })
	if failure == nil && len(flags) == 0 {
		failure = fmt.Errorf("no flags are declared in %s", dir)
	}
	return flags, failure
}

// flagKinds are the types of flags by the method that declares them.
var flagKinds = map[string]string{
	"StringVar": "text", "StringSliceVar": "list, separated by commas", "StringToStringVar": "key=value, separated by commas",
	"BoolVar": "true or false", "IntVar": "whole number", "DurationVar": "duration",
}

func readFlag(method string, call *ast.CallExpr) (flagOf, error) {
	kind, ok := flagKinds[method]
	if !ok {
		return flagOf{}, fmt.Errorf("flags by %s are not known to docgen", method)
	}
	name, err := valueOf(call.Args[1], nil)
	if err != nil {
		return flagOf{}, fmt.Errorf("the flag's name %w", err)
	}
	usage, err := valueOf(call.Args[3], nil)
	if err != nil {
		return flagOf{}, fmt.Errorf("the usage of --%s %w", name, err)
	}
	return flagOf{name: name, kind: kind, usage: usage, field: fieldOf(call.Args[0])}, nil
}

// fieldOf is the path of a field of the configuration, from &config.Path.Of.It.
func fieldOf(expression ast.Expr) string {
	address, ok := expression.(*ast.UnaryExpr)
	if !ok {
		return ""
	}
	var path []string
	inner := address.X
	for {
		selector, ok := inner.(*ast.SelectorExpr)
		if !ok {
			break
		}
		path = append(path, selector.Sel.Name)
		inner = selector.X
	}
	slices.Reverse(path)
	return strings.Join(path, ".")
}

func flagsPage(p program, s *settings, flags []flagOf) string {
	var text strings.Builder
	fmt.Fprintf(&text, "# Flags of %s\n\n", p.binary)
	fmt.Fprintf(&text, "Flags win over the file that `--config` names; what has no flag is set there ([settings](%s-configuration.md)).\n\n", p.name)
	rows := [][]string{{"flag", "type", "default", "setting", "meaning"}}
	for _, f := range flags {
		rows = append(rows, []string{"`--" + f.name + "`", f.kind, code(s.defaults[f.field]), code(s.paths[f.field]), capital(f.usage)})
	}
	text.WriteString(table(rows))
	return text.String()
}

func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
