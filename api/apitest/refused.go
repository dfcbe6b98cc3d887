// Package apitest tells tests what the documentation of the kinds says: the comments that everything that users read of
// them is generated from.
package apitest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A Documentation is that of the types in one folder.
type Documentation struct{ structs map[string]*ast.StructType }

// Read reads the types of the package that is tested.
func Read(t *testing.T) Documentation {
	t.Helper()
	files, err := filepath.Glob("*types.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no types here: %v", err)
	}
	read := Documentation{map[string]*ast.StructType{}}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if spec, ok := node.(*ast.TypeSpec); ok {
				if structure, ok := spec.Type.(*ast.StructType); ok {
					read.structs[spec.Name.Name] = structure
				}
			}
			return true
		})
	}
	return read
}

// refusal is the last sentence about a field that is refused, or of which a value is.
var refusal = regexp.MustCompile(`Not supported yet: (.+ (is|are) )?refused\.$`)

// Refused are the fields that are said to be refused, as Type.field, sorted.
func (d Documentation) Refused() []string {
	var refused []string
	for name, structure := range d.structs {
		for _, field := range structure.Fields.List {
			if refusal.MatchString(text(field)) {
				refused = append(refused, name+"."+jsonName(field))
			}
		}
	}
	slices.Sort(refused)
	return refused
}

// Field names the last field of a path, with dots, that begins in a type, as Type.field.
func (d Documentation) Field(t *testing.T, typeName, path string) string {
	t.Helper()
	first, rest, deeper := strings.Cut(path, ".")
	structure := d.structs[typeName]
	if structure == nil {
		t.Fatalf("there is no type %s", typeName)
	}
	i := slices.IndexFunc(structure.Fields.List, func(field *ast.Field) bool { return jsonName(field) == first })
	if i < 0 {
		t.Fatalf("type %s has no field %s", typeName, first)
	}
	if !deeper {
		return typeName + "." + first
	}
	return d.Field(t, structure.Fields.List[i].Type.(*ast.StarExpr).X.(*ast.Ident).Name, rest)
}

// text is a comment in one line, without the marks for generators.
func text(field *ast.Field) string {
	var lines []string
	for line := range strings.Lines(field.Doc.Text()) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "+") {
			lines = append(lines, line)
		}
	}
	return strings.TrimSpace(strings.Join(lines, " "))
}

func jsonName(field *ast.Field) string {
	if field.Tag == nil {
		return ""
	}
	name, _, _ := strings.Cut(reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("json"), ",")
	return name
}
