package main

import (
	"fmt"
	"go/ast"
	"reflect"
	"strconv"
	"strings"
)

// settings are those of one program.
type settings struct {
	sections []section // the program's own, then one for each group
	// paths are the names in the file by the path of the Go field: "Etcd.Servers" is "etcd.servers".
	paths    map[string]string
	defaults map[string]string // by the path of the Go field
}

type section struct {
	path    string // in the file; empty for the program's own
	comment string
	list    []setting
}

type setting struct {
	field   string // the path of the Go field
	path    string // in the file
	kind    string
	meaning string
}

// settingsOf reads the type Config of a package, and what its DefaultConfig returns.
func settingsOf(dir string) (*settings, error) {
	source, err := parse(dir)
	if err != nil {
		return nil, err
	}
	s := &settings{paths: map[string]string{}, defaults: map[string]string{}}
	if err := s.read(source, source.structs(), "Config", "", ""); err != nil {
		return nil, err
	}
	return s, s.readDefaults(source)
}

func (s *settings) read(source *source, structs map[string]structType, name, field, path string) error {
	t, ok := structs[name]
	if !ok {
		return fmt.Errorf("there is no struct %s", name)
	}
	if t.comment == "" {
		return fmt.Errorf("the struct %s has no comment", name)
	}
	at := len(s.sections)
	s.sections = append(s.sections, section{path: path, comment: groupComment(t.comment)})
	for _, f := range t.fields {
		if len(f.Names) != 1 || f.Tag == nil {
			return source.errorAt(f, "a setting has a line, a name and a json tag of its own")
		}
		tag, err := strconv.Unquote(f.Tag.Value)
		if err != nil {
			return err
		}
		goName := f.Names[0].Name
		inFile, _, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
		if f.Doc.Text() == "" {
			return source.errorAt(f, "the setting %s has no comment", goName)
		}
		fieldPath, filePath := join(field, goName), join(path, inFile)
		s.paths[fieldPath] = filePath
		if group, ok := f.Type.(*ast.Ident); ok && structs[group.Name].fields != nil {
			if err := s.read(source, structs, group.Name, fieldPath, filePath); err != nil {
				return err
			}
			continue
		}
		kind, err := kindOf(f.Type)
		if err != nil {
			return source.errorAt(f, "%v", err)
		}
		s.sections[at].list = append(s.sections[at].list, setting{fieldPath, filePath, kind, meaningOf(f.Doc.Text(), goName)})
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// groupComment is a struct's comment without the name that Go wants it to begin with.
func groupComment(comment string) string {
	_, rest, _ := strings.Cut(strings.Join(strings.Fields(comment), " "), " ")
	for _, verb := range []string{"are ", "is ", "says "} {
		if cut, ok := strings.CutPrefix(rest, verb); ok {
			rest = cut
			break
		}
	}
	return strings.ToUpper(rest[:1]) + rest[1:]
}

// meaningOf is a field's comment without the name that Go wants it to begin with.
func meaningOf(comment, goName string) string {
	text := strings.Join(strings.Fields(comment), " ")
	for _, begin := range []string{goName + " is ", goName + " are "} {
		if cut, ok := strings.CutPrefix(text, begin); ok {
			text = cut
			break
		}
	}
	text = strings.TrimPrefix(text, goName+" ")
	return strings.ToUpper(text[:1]) + text[1:]
}

func kindOf(t ast.Expr) (string, error) {
	switch t := t.(type) {
	case *ast.Ident:
		switch t.Name {
		case "string":
			return "text", nil
		case "int":
			return "whole number", nil
		case "float64":
			return "number", nil
		case "bool":
			return "true or false", nil
		}
	case *ast.ArrayType:
		return "list", nil
	case *ast.MapType:
		return "map", nil
	case *ast.SelectorExpr:
		if t.Sel.Name == "Duration" {
			return "duration", nil
		}
	}
	return "", fmt.Errorf("settings of this type are not known to docgen")
}

// readDefaults reads the literals of DefaultConfig: the Config it makes, and what it sets of it.
// What it does under a condition depends on the machine, and the field's comment tells of it.
func (s *settings) readDefaults(source *source) error {
	function, err := source.function("DefaultConfig")
	if err != nil {
		return err
	}
	known := source.constants()
	for _, statement := range function.Body.List {
		switch statement := statement.(type) {
		case *ast.ReturnStmt:
			if err := s.readLiteral(source, known, "", statement.Results[0]); err != nil {
				return err
			}
		case *ast.AssignStmt:
			field := ""
			if of, ok := statement.Lhs[0].(*ast.SelectorExpr); ok {
				field = of.Sel.Name
			}
			if err := s.readLiteral(source, known, field, statement.Rhs[0]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *settings) readLiteral(source *source, known map[string]ast.Expr, field string, expression ast.Expr) error {
	literal, ok := expression.(*ast.CompositeLit)
	if !ok {
		return nil // `return config`
	}
	for _, element := range literal.Elts {
		pair, ok := element.(*ast.KeyValueExpr)
		if !ok {
			return source.errorAt(element, "write the field's name")
		}
		path := join(field, pair.Key.(*ast.Ident).Name)
		group, ok := pair.Value.(*ast.CompositeLit)
		if ok && s.isGroup(s.paths[path]) {
			if err := s.readLiteral(source, known, path, group); err != nil {
				return err
			}
			continue
		}
		value, err := valueOf(pair.Value, known)
		if err != nil {
			return source.errorAt(pair, "the default of %s %v", path, err)
		}
		if s.paths[path] == "" {
			return source.errorAt(pair, "%s is no setting", path)
		}
		s.defaults[path] = value
	}
	return nil
}

func (s *settings) isGroup(path string) bool {
	for _, section := range s.sections[1:] {
		if section.path == path {
			return true
		}
	}
	return false
}

func settingsPage(p program, s *settings, flags []flagOf) string {
	var text strings.Builder
	fmt.Fprintf(&text, "# Settings of the %s\n\n", p.title)
	fmt.Fprintf(&text, "Every setting of `%s`, as it stands in the YAML file that `--config` names. A flag wins over the\nfile ([flags](%s-flags.md)); a name that is not in these tables is refused. Durations are written `90s`,\n`5m`, `1h30m`.\n", p.binary, p.name)
	byField := map[string]string{}
	for _, f := range flags {
		byField[f.field] = "`--" + f.name + "`"
	}
	for i, section := range s.sections {
		if i > 0 {
			fmt.Fprintf(&text, "\n## %s\n\n%s\n", section.path, wrap(section.comment))
		}
		rows := [][]string{{"setting", "type", "default", "flag", "meaning"}}
		for _, one := range section.list {
			rows = append(rows, []string{code(one.path), one.kind, code(s.defaults[one.field]), byField[one.field], one.meaning})
		}
		text.WriteString("\n" + table(rows))
	}
	return text.String()
}

// wrap breaks text into lines of at most a hundred characters.
func wrap(text string) string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > 100 {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return strings.Join(append(lines, line), "\n")
}
