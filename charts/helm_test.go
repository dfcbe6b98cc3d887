// Package charts_test says what the charts make of the values that users set, and what they refuse.
package charts_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

// The charts are folders of this one.
var chartNames = []string{"agent", "hub"}

// namespaceOf is where a chart is installed by convention.
var namespaceOf = map[string]string{"agent": "windlass-agent", "hub": "windlass-system"}

// helm finds the program: WINDLASS_HELM, or what `make tools` installs.
func helm(t *testing.T) string {
	t.Helper()
	for _, path := range []string{os.Getenv("WINDLASS_HELM"), "../bin/tools/helm"} {
		if path == "" {
			continue
		}
		if _, err := exec.LookPath(path); err == nil || errors.Is(err, exec.ErrDot) {
			absolute, err := filepath.Abs(path)
			if err != nil {
				t.Fatal(err)
			}
			return absolute
		}
		if path == os.Getenv("WINDLASS_HELM") {
			t.Fatalf("WINDLASS_HELM is %s, and there is no such program", path)
		}
	}
	t.Skip("NOT CHECKED: there is no helm; `make tools` installs it into bin/tools, or WINDLASS_HELM names one")
	return ""
}

// run runs helm with a home of its own: the user's settings and plugins decide nothing here.
func run(t *testing.T, args ...string) (out, failure string, err error) {
	t.Helper()
	command := exec.Command(helm(t), args...)
	home := t.TempDir()
	command.Env = []string{"HOME=" + home, "HELM_CACHE_HOME=" + home, "HELM_CONFIG_HOME=" + home, "HELM_DATA_HOME=" + home, "PATH=" + os.Getenv("PATH")}
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err = command.Run()
	return stdout.String(), stderr.String(), err
}

// template are the arguments that render a chart as the release windlass-<chart>.
func template(chart string, args ...string) []string {
	return append([]string{"template", "windlass-" + chart, chart, "--namespace", namespaceOf[chart]}, args...)
}

// render renders a chart and decodes what comes of it.
func render(t *testing.T, chart string, args ...string) objects {
	t.Helper()
	out, failure, err := run(t, template(chart, args...)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, failure)
	}
	all, err := decode(out)
	if err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	return all
}

// An object is what a template makes.
type object interface {
	runtime.Object
	metav1.Object
}

type objects []object

// strictly knows Kubernetes' own kinds, and refuses fields that they do not have or that are given twice.
var strictly = serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()

func decode(rendered string) (objects, error) {
	var all objects
	documents := utilyaml.NewDocumentDecoder(io.NopCloser(strings.NewReader(rendered)))
	defer documents.Close()
	buffer := make([]byte, 1<<20)
	for {
		n, err := documents.Read(buffer)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if onlyComments(string(buffer[:n])) {
			continue
		}
		decoded, kind, err := strictly.Decode(buffer[:n], nil, nil)
		if err != nil {
			return nil, fmt.Errorf("%w: %s", err, buffer[:n])
		}
		o, ok := decoded.(object)
		if !ok {
			return nil, fmt.Errorf("%s has no name", kind)
		}
		all = append(all, o)
	}
}

func onlyComments(document string) bool {
	for line := range strings.Lines(document) {
		if line = strings.TrimSpace(line); line != "" && line != "---" && !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}

// kindOf is the kind of an object as it was written.
func kindOf(o object) string { return o.GetObjectKind().GroupVersionKind().Kind }

// find returns the one object of a type that the condition holds for.
func find[T object](t *testing.T, all objects, is func(T) bool) T {
	t.Helper()
	found := every(all, is)
	if len(found) != 1 {
		t.Fatalf("there are %d of %T, and not one", len(found), *new(T))
	}
	return found[0]
}

func every[T object](all objects, is func(T) bool) []T {
	var found []T
	for _, o := range all {
		if typed, ok := o.(T); ok && is(typed) {
			found = append(found, typed)
		}
	}
	return found
}

func named[T object](name string) func(T) bool {
	return func(o T) bool { return o.GetName() == name }
}

func any1[T object](T) bool { return true }

// variables are a container's environment variables as values, or where they come from.
func variables(container corev1.Container) map[string]string {
	values := map[string]string{}
	for _, v := range container.Env {
		switch from := v.ValueFrom; {
		case from == nil:
			values[v.Name] = v.Value
		case from.SecretKeyRef != nil:
			optional := ""
			if o := from.SecretKeyRef.Optional; o != nil && *o {
				optional = " if there is one"
			}
			values[v.Name] = fmt.Sprintf("Secret %s/%s%s", from.SecretKeyRef.Name, from.SecretKeyRef.Key, optional)
		case from.ResourceFieldRef != nil:
			values[v.Name] = from.ResourceFieldRef.Resource
		case from.FieldRef != nil:
			values[v.Name] = from.FieldRef.FieldPath
		}
	}
	return values
}

// valueSets are the files ci/*-values.yaml of a chart.
func valueSets(t *testing.T, chart string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(chart, "ci", "*-values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return files
}
