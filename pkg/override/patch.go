package override

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	yamlv2 "go.yaml.in/yaml/v2"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// maxDocument bounds a manifest, and a document in one, before and after every change.
const maxDocument = workv1alpha1.MaxWorkBytes

// patch applies operations to a JSON document. failed is the position of the one that the error is about.
func (a *application) patch(document []byte, operations []operation) (patched []byte, failed int, err error) {
	patch := make(jsonpatch.Patch, 0, len(operations))
	for i, op := range operations {
		decoded, err := a.decode(op)
		if err != nil {
			return nil, i, err
		}
		patch = append(patch, decoded...)
	}
	if failed, err := a.misplaced(document, operations, patch); err != nil {
		return nil, failed, err
	}
	if patched, err = a.applyTo(document, patch); err != nil {
		failed, before, err := a.firstFailing(document, patch, err)
		return nil, failed, a.explain(before, operations[failed], err)
	}
	if len(patched) > maxDocument {
		return nil, len(operations) - 1, fmt.Errorf("the result has %d bytes, and at most %d are possible", len(patched), maxDocument)
	}
	return patched, 0, nil
}

// applyTo applies a patch, and counts it: all time that patches take is spent here. An operation can move all
// items of a list, and a document has about as many as it has commas. On each level down to what is changed, the rest
// of the document is read and written once more.
func (a *application) applyTo(document []byte, patch jsonpatch.Patch) ([]byte, error) {
	if err := a.costs(max(2, deepest(patch))*len(document) + len(patch)*bytes.Count(document, []byte(","))/2); err != nil {
		return nil, err
	}
	return patch.Apply(document)
}

// deepest is how many levels the operations of a patch go down at most.
func deepest(patch jsonpatch.Patch) int {
	most := 0
	for _, op := range patch {
		pointer, _ := op.Path() // what has none fails by itself
		most = max(most, strings.Count(pointer, "/"))
	}
	return most
}

// firstFailing finds the operation of a patch that fails, and why, and what those before it make of the document. Each try takes the whole document anew, so
// the operations are halved again and again and not tried one by one.
func (a *application) firstFailing(document []byte, patch jsonpatch.Patch, why error) (failed int, before []byte, err error) {
	before = document
	applies, fails := 0, len(patch) // so many of the first operations do
	for fails-applies > 1 && !errors.Is(why, errTooMuch) {
		half := (applies + fails) / 2
		if patched, err := a.applyTo(document, patch[:half]); err != nil {
			fails, why = half, err
		} else {
			applies, before = half, patched
		}
	}
	return fails - 1, before, why
}

// decode makes a patch of an operation with the cluster's values.
func (a *application) decode(op operation) (jsonpatch.Patch, error) {
	value, err := mapStrings(op.value, a.expand)
	if err != nil {
		return nil, err
	}
	if err := a.costs(costOfValue * len(value)); err != nil {
		return nil, err
	}
	if err := followable(op, value); err != nil {
		return nil, err
	}
	encoded, err := json.Marshal([]any{struct {
		Op    policyv1alpha1.OverriderOperator `json:"op"`
		Path  string                           `json:"path"`
		Value json.RawMessage                  `json:"value,omitempty"`
	}{op.operator, op.pointer, value}})
	if err != nil {
		return nil, err
	}
	return jsonpatch.DecodePatch(encoded)
}

// followable refuses what the library does not follow as it is meant: of null in the place of the whole document it makes a list that is
// none, on which the next operation ends the process, and what is below an empty name it writes into a copy that it throws away.
func followable(op operation, value []byte) error {
	whole := bytes.HasPrefix(value, []byte("{")) || bytes.HasPrefix(value, []byte("["))
	if op.pointer == "" && (op.operator == policyv1alpha1.OverriderOpRemove || !whole) {
		return notTheWhole(op)
	}
	if op.pointer != "" && slices.Contains(strings.Split(op.pointer, "/")[1:], "") {
		return fmt.Errorf("can't %s %s: it has a / without a name after it", op.operator, op.pointer)
	}
	return nil
}

func notTheWhole(op operation) error {
	return fmt.Errorf("can't %s the whole document: it can only become an object or a list", op.operator)
}

// misplaced finds an operation on an item of a list whose number is written as none is, such as 00. The library takes it
// for another one; in an object it is a name like any other, so only the document tells.
func (a *application) misplaced(document []byte, operations []operation, patch jsonpatch.Patch) (failed int, err error) {
	done := 0
	for i, op := range operations {
		if !slices.ContainsFunc(strings.Split(op.pointer, "/"), looseIndex) {
			continue
		}
		if document, err = a.applyTo(document, patch[done:i]); err != nil {
			return 0, nil // whoever applies all of them says so
		}
		done = i
		if said, err := a.obstacleIn(document, op); err != nil {
			return i, err
		} else if said != "" {
			return i, fmt.Errorf("can't %s %s: %s", op.operator, op.pointer, said)
		}
	}
	return 0, nil
}

// looseIndex says whether a name is a number that is written otherwise than that of an item.
func looseIndex(name string) bool {
	index, err := strconv.Atoi(name)
	return err == nil && strconv.Itoa(index) != name
}

// obstacleIn is obstacle for an operation on a JSON document.
func (a *application) obstacleIn(document []byte, op operation) (string, error) {
	if err := a.costs(2 * len(document)); err != nil {
		return "", err
	}
	var value any
	if err := utiljson.Unmarshal(document, &value); err != nil {
		return "", nil // it could be patched, so somebody else says what is wrong with it
	}
	return obstacle(value, op.pointer, op.operator == policyv1alpha1.OverriderOpAdd), nil
}

// obstacle says what stands on the way down a JSON pointer that is neither an object nor a list, or is a list without
// items of such names. What is just not there is none, and what adds may name the place after the last item.
func obstacle(value any, pointer string, adds bool) string {
	names := strings.Split(pointer, "/")[1:]
	for i, name := range names {
		here := strings.Join(names[:i], "/")
		switch parent := value.(type) {
		case map[string]any:
			there := false
			if value, there = parent[unescape(name)]; !there {
				return ""
			}
		case []any:
			index, err := strconv.Atoi(name)
			switch {
			case name == "-" && adds && i == len(names)-1:
				return ""
			case name == "-":
				return fmt.Sprintf("what is at /%s is a list, and - is the place after its last item, where nothing is", here)
			case errors.Is(err, strconv.ErrSyntax) || looseIndex(name):
				return fmt.Sprintf("what is at /%s is a list, and %q is not the number of an item: they are 0, 1, 2 and so on", here, name)
			case err != nil || index < 0 || index >= len(parent):
				return ""
			}
			value = parent[index]
		default:
			return fmt.Sprintf("what is at /%s is %s, and only an object or a list has something below it", here, called(value))
		}
	}
	return ""
}

func unescape(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~1", "/"), "~0", "~")
}

// called names the kind of a JSON value.
func called(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a string"
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	}
	return "a number"
}

// explain says why an operation on a document fails.
func (a *application) explain(document []byte, op operation, err error) error {
	if errors.Is(err, errTooMuch) {
		return err
	}
	if op.pointer == "" {
		return notTheWhole(op)
	}
	if said, err := a.obstacleIn(document, op); err == nil && said != "" {
		return fmt.Errorf("can't %s %s: %s", op.operator, op.pointer, said)
	}
	switch {
	case errors.Is(err, jsonpatch.ErrMissing) && op.operator == policyv1alpha1.OverriderOpAdd:
		return fmt.Errorf("can't add %s: there is nothing at %s to add to", op.pointer, op.pointer[:max(0, strings.LastIndex(op.pointer, "/"))])
	case errors.Is(err, jsonpatch.ErrMissing):
		return fmt.Errorf("can't %s %s: there is nothing at this path", op.operator, op.pointer)
	case errors.Is(err, jsonpatch.ErrInvalidIndex):
		return fmt.Errorf("can't %s %s: the list has no such place", op.operator, op.pointer)
	}
	return fmt.Errorf("can't %s %q: %s", op.operator, op.pointer, strings.TrimSuffix(err.Error(), ": %!w(<nil>)")) // some wrap nothing
}

// overridePlaintext changes the object itself.
func (a *application) overridePlaintext(overriders []policyv1alpha1.PlaintextOverrider) (failed int, err error) {
	document, err := json.Marshal(a.object)
	if err != nil {
		return 0, err
	}
	if err := a.costs(2 * len(document)); err != nil { // that it is written and read
		return 0, err
	}
	patched, failed, err := a.patch(document, plaintextOperations(overriders))
	if err != nil {
		return failed, err
	}
	var object map[string]any
	if err := utiljson.Unmarshal(patched, &object); err != nil || object == nil {
		return len(overriders) - 1, fmt.Errorf("the result is no object")
	}
	a.object = object
	return 0, nil
}

// endOfDocument is where the overriders end that change one document, which is then read and written once for
// all of them: to read and write a large one takes far longer than to change it.
func endOfDocument(overriders []policyv1alpha1.FieldOverrider, from int) int {
	first, upTo := &overriders[from], from+1
	for upTo < len(overriders) && overriders[upTo].FieldPath == first.FieldPath && isYAML(&overriders[upTo]) == isYAML(first) {
		upTo++
	}
	return upTo
}

func isYAML(o *policyv1alpha1.FieldOverrider) bool { return len(o.YAML) > 0 }

// overrideDocument changes a document inside a string by overriders that are all for it. failed is the position
// of the one that the error is about, and the path begins below it.
func (a *application) overrideDocument(overriders []policyv1alpha1.FieldOverrider) (failed int, at string, err error) {
	text, set, err := stringAt(a.object, overriders[0].FieldPath)
	if err != nil {
		return 0, ".fieldPath", err
	}
	format := jsonFormat
	if isYAML(&overriders[0]) {
		format = yamlFormat
	}
	var operations []operation
	var places []struct {
		overrider int
		path      string
	}
	for i := range overriders {
		for j, op := range documentOperations(&overriders[i]) {
			operations = append(operations, op)
			places = append(places, struct {
				overrider int
				path      string
			}{i, fmt.Sprintf(".%s[%d]", format.name, j)})
		}
	}
	if len(operations) == 0 {
		return 0, "", nil
	}
	document, err := a.document(format, text)
	if errors.Is(err, errTooMuch) {
		return 0, "", err
	} else if err != nil {
		return 0, ".fieldPath", fmt.Errorf("%s holds no %s document: %w", overriders[0].FieldPath, format.name, err)
	}
	if value := bytes.TrimSpace(document); value[0] != '{' && value[0] != '[' {
		var scalar any
		if err := json.Unmarshal(value, &scalar); err == nil && scalar != nil {
			return 0, ".fieldPath", fmt.Errorf("the document that %s holds is %s, and only an object or a list can be changed", overriders[0].FieldPath, called(scalar))
		}
	}
	patched, operation, err := a.patch(document, operations)
	if err != nil {
		return places[operation].overrider, places[operation].path, err
	}
	if err := a.costs(format.costOfWriting * len(patched)); err != nil {
		return 0, "", err
	}
	written, err := format.write(patched)
	if err != nil {
		return 0, "", err
	}
	if len(written) > maxDocument {
		return 0, "", fmt.Errorf("the result has %d bytes, and at most %d are possible", len(written), maxDocument)
	}
	set(string(written))
	return 0, "", nil
}

// A format is one of documents in strings, which are changed as JSON.
type format struct {
	name                         string
	read, write                  func([]byte) ([]byte, error)
	costOfReading, costOfWriting int // each byte
	shared                       bool
}

var (
	jsonFormat = format{"json", readJSON, writeJSON, 2, 0, false}
	yamlFormat = format{"yaml", readYAML, yaml.JSONToYAML, costOfReadingYAML, costOfWritingYAML, true}
)

// readJSON leaves out the space around a document: the library knows a list by its first byte.
func readJSON(text []byte) ([]byte, error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return []byte("{}"), nil
	}
	if !json.Valid(text) {
		var value any
		return nil, json.Unmarshal(text, &value)
	}
	return text, nil
}

func writeJSON(document []byte) ([]byte, error) { return document, nil }

// readYAML reads a YAML document as JSON. What its aliases unfold to is bounded, and more than one document
// is an error: all but the first would be lost. One without anything in it, as after a --- at the end, is none.
func readYAML(text []byte) ([]byte, error) {
	decoder := yamlv2.NewDecoder(bytes.NewReader(text))
	var value any
	err := decoder.Decode(&value)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for err == nil {
		var next any
		if err = decoder.Decode(&next); next != nil || err != nil && !errors.Is(err, io.EOF) {
			return nil, errors.New("there is more than one, and only one can be changed: put them into strings of their own")
		}
	}
	if value == nil {
		return []byte("{}"), nil
	}
	if left := maxDocument; !fits(value, &left) {
		return nil, fmt.Errorf("its aliases unfold to more than %d bytes", maxDocument)
	}
	return yaml.YAMLToJSON(text)
}

// fits counts down what a value takes at least when it is written.
func fits(value any, left *int) bool {
	*left -= 2
	switch value := value.(type) {
	case string:
		*left -= len(value)
	case []any:
		for _, item := range value {
			if *left < 0 || !fits(item, left) {
				return false
			}
		}
	case map[any]any:
		for key, item := range value {
			if *left < 0 || !fits(key, left) || !fits(item, left) {
				return false
			}
		}
	}
	return *left >= 0
}

// stringAt finds the string that a JSON pointer names. What set writes takes its place.
func stringAt(object map[string]any, pointer string) (text string, set func(string), err error) {
	var value any = object
	names := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, name := range names {
		name = unescape(name)
		there := false
		switch parent := value.(type) {
		case map[string]any:
			value, there = parent[name]
			set = func(text string) { parent[name] = text }
		case []any:
			if index, err := strconv.Atoi(name); err == nil && !looseIndex(name) && index >= 0 && index < len(parent) {
				value, there = parent[index], true
				set = func(text string) { parent[index] = text }
			}
		}
		if !there {
			if said := obstacle(object, pointer, false); said != "" {
				return "", nil, errors.New(said)
			}
			return "", nil, fmt.Errorf("there is nothing at /%s", strings.Join(names[:i+1], "/"))
		}
	}
	text, ok := value.(string)
	if !ok {
		return "", nil, fmt.Errorf("what is at %s is no string", pointer)
	}
	return text, set, nil
}
