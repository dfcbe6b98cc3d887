package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// source is the syntax of a package, or of several that stand for one, without tests, in the order of
// their files.
type source struct {
	positions *token.FileSet
	files     []*ast.File
}

func parse(dirs ...string) (*source, error) {
	s := &source{positions: token.NewFileSet()}
	var paths []string
	for _, dir := range dirs {
		found, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			return nil, err
		}
		slices.Sort(found)
		paths = append(paths, found...)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(s.positions, path, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		s.files = append(s.files, file)
	}
	if len(s.files) == 0 {
		return nil, fmt.Errorf("no Go files in %s", strings.Join(dirs, ", "))
	}
	return s, nil
}

// folders are dir and everything below it that holds Go files.
func folders(dir string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") && !slices.Contains(found, filepath.Dir(path)) {
			found = append(found, filepath.Dir(path))
		}
		return err
	})
	return found, err
}

func (s *source) errorAt(node ast.Node, format string, args ...any) error {
	return fmt.Errorf("%s: %s", s.positions.Position(node.Pos()), fmt.Sprintf(format, args...))
}

// structs are the package's struct types by name, with their comments.
func (s *source) structs() map[string]structType {
	found := map[string]structType{}
	s.declarations(token.TYPE, func(comment *ast.CommentGroup, spec ast.Spec) {
		t := spec.(*ast.TypeSpec)
		if fields, ok := t.Type.(*ast.StructType); ok {
			if t.Doc != nil {
				comment = t.Doc
			}
			found[t.Name.Name] = structType{comment: comment.Text(), fields: fields.Fields.List}
		}
	})
	return found
}

type structType struct {
	comment string
	fields  []*ast.Field
}

// constants are the package's constants that are written as literals, by name.
func (s *source) constants() map[string]ast.Expr {
	found := map[string]ast.Expr{}
	s.declarations(token.CONST, func(_ *ast.CommentGroup, spec ast.Spec) {
		values := spec.(*ast.ValueSpec)
		for i, name := range values.Names {
			if i < len(values.Values) {
				found[name.Name] = values.Values[i]
			}
		}
	})
	return found
}

func (s *source) declarations(kind token.Token, visit func(*ast.CommentGroup, ast.Spec)) {
	for _, file := range s.files {
		for _, declaration := range file.Decls {
			if general, ok := declaration.(*ast.GenDecl); ok && general.Tok == kind {
				for _, spec := range general.Specs {
					visit(general.Doc, spec)
				}
			}
		}
	}
}

// function is a function of the package, not a method.
func (s *source) function(name string) (*ast.FuncDecl, error) {
	for _, file := range s.files {
		for _, declaration := range file.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == name {
				return f, nil
			}
		}
	}
	return nil, fmt.Errorf("there is no function %s", name)
}

// valueOf is what an expression comes to, as a user would write it: numbers, text, durations, and
// sums of text. Names are looked up in known.
func valueOf(expression ast.Expr, known map[string]ast.Expr) (string, error) {
	switch e := expression.(type) {
	case *ast.ParenExpr:
		return valueOf(e.X, known)
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			return strconv.Unquote(e.Value)
		}
		return e.Value, nil
	case *ast.Ident:
		if e.Name == "true" || e.Name == "false" {
			return e.Name, nil
		}
		if of := known[e.Name]; of != nil {
			return valueOf(of, known)
		}
	case *ast.CallExpr: // duration(x), float64(x)
		if len(e.Args) == 1 {
			return valueOf(e.Args[0], known)
		}
	case *ast.CompositeLit: // metav1.Duration{Duration: x}
		if len(e.Elts) == 1 {
			if pair, ok := e.Elts[0].(*ast.KeyValueExpr); ok {
				return valueOf(pair.Value, known)
			}
		}
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			left, err := valueOf(e.X, known)
			if err != nil {
				return "", err
			}
			right, err := valueOf(e.Y, known)
			return left + right, err
		}
		if e.Op == token.MUL {
			return durationOf(e, known)
		}
	case *ast.SelectorExpr:
		if unit, ok := units[e.Sel.Name]; ok {
			return short(unit), nil
		}
		if literal, ok := known[e.Sel.Name].(*ast.BasicLit); ok { // of another package that is read too
			return valueOf(literal, known)
		}
	}
	return "", fmt.Errorf("can't be read: write it as a literal")
}

var units = map[string]time.Duration{
	"Millisecond": time.Millisecond, "Second": time.Second, "Minute": time.Minute, "Hour": time.Hour,
}

func durationOf(product *ast.BinaryExpr, known map[string]ast.Expr) (string, error) {
	count, unit := product.X, product.Y
	selector, ok := unit.(*ast.SelectorExpr)
	if !ok {
		return "", fmt.Errorf("can't be read: write a duration as a number times a unit")
	}
	number, err := valueOf(count, known)
	if err != nil {
		return "", err
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return "", err
	}
	return short(time.Duration(n) * units[selector.Sel.Name]), nil
}

// short writes a duration as people do: 5m, not 5m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
