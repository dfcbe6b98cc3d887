package override

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	"windlass.dev/windlass/pkg/policy"
)

// maxCost bounds what the rules of one manifest may cost for one cluster: about as much as to copy so many
// bytes, which takes one or two seconds. Many operations on one large document reach it.
const maxCost = 128 << 20

// maxCostInAll bounds them for all clusters of a template together, which are rendered one after the other: about half a
// minute, which 1,000 clusters with 100 kB of YAML each do not reach.
const maxCostInAll = 32 * maxCost

// What things cost in comparison to the copy of a byte, as it was measured.
const (
	costOfReadingYAML = 16 // each byte
	costOfWritingYAML = 32 // each byte of the JSON that it is written from
	costOfValue       = 4  // each byte, whose references are found and which is checked
	costOfImage       = 8  // each byte of its name, which is taken apart and put together
	costOfItem        = 16 // each item of a list or name of a map
)

var errTooMuch = errors.New("the overrides of this object are too much work: write fewer changes of large documents, above all of YAML, and put the changes of one document into one rule, next to each other")

// errTooMuchInAll is an errTooMuch.
var errTooMuchInAll = fmt.Errorf("for so many clusters, each of which gets a content of its own, %w", errTooMuch)

// application is the work on one manifest.
type application struct {
	object   map[string]any
	original *unstructured.Unstructured // is not changed
	values   map[string]string          // by reference
	cost     int                        // so far
	shared   *shared

	rule *rule    // whose changes are being made
	at   string   // the overrider of it
	idle []string // what found nothing to change, and why

	failed []*Error // what can't be done

	template *policy.Template // what policies see of the manifest; nil: nobody has asked
	meant    map[*Policy]bool // for this manifest in particular
}

// shared is what the applications for all clusters of a template have in common.
type shared struct {
	read map[string][]byte // YAML documents as JSON, by their text
	size int               // of both
	cost int               // of all applications so far
}

// maxShared bounds the documents that are kept. The first ones are those of the template, which all clusters have.
const maxShared = 8 * maxDocument

func newShared() *shared { return &shared{read: map[string][]byte{}} }

// document reads a document, or knows it already: to read one of YAML takes long, and clusters begin with the same.
func (a *application) document(format format, text string) ([]byte, error) {
	if known, ok := a.shared.read[text]; ok && format.shared {
		return known, a.costs(len(text)) // that it is found
	}
	if err := a.costs(format.costOfReading * len(text)); err != nil {
		return nil, err
	}
	document, err := format.read([]byte(text))
	if size := len(text) + len(document); err == nil && format.shared && a.shared.size+size <= maxShared {
		a.shared.read[text] = document
		a.shared.size += size
	}
	return document, err
}

// maxFailed bounds the overriders that are told at a time because they can't be followed.
const maxFailed = 5

// maxIdle bounds the overriders that are told because they find nothing to change.
const maxIdle = 100

// Apply returns the manifest as the clusters of this Choice get it, as a new object, and a sentence for each overrider that is
// meant for this manifest and finds nothing in it to change, such as a container whose name is misspelt. The manifest is
// what interpret.Overridable makes of a template: of its metadata only name, namespace, labels and annotations, the hub's marks
// among them. Every error is an *Error, or an Errors of the first few.
func (c Choice) Apply(manifest *unstructured.Unstructured) (overridden *unstructured.Unstructured, idle []string, err error) {
	return c.application(manifest).follow(c.rules)
}

func (c Choice) application(manifest *unstructured.Unstructured) *application {
	a := &application{object: runtime.DeepCopyJSON(manifest.Object), original: manifest, values: c.values, shared: c.shared}
	if a.shared == nil {
		a.shared = newShared()
	}
	return a
}

func (a *application) follow(rules []*rule) (overridden *unstructured.Unstructured, idle []string, err error) {
	for _, r := range rules {
		a.rule = r
		if !a.apply(r.overriders) {
			break
		}
		if err := a.stillTheSame(a.original.Object); err != nil {
			a.at = ""
			a.fail(err)
			break // all rules that follow would be told of it
		}
	}
	if err := joined(a.failed); err != nil {
		return nil, nil, err
	}
	return &unstructured.Unstructured{Object: a.object}, a.idle, nil
}

// fail notes that the present overrider can't be followed. It says whether to look for more that can't.
func (a *application) fail(err error) (goOn bool) {
	path := a.rule.path + ".overriders"
	if a.at != "" {
		path += "." + a.at
	}
	a.failed = append(a.failed, &Error{Policy: a.rule.policy.called, Path: path, Err: err})
	return !errors.Is(err, errTooMuch) && len(a.failed) < maxFailed
}

// maxKeys bounds the labels or annotations that a sentence names.
const maxKeys = 3

// noteIdle notes that the present overrider finds nothing to change, if its policy is for this manifest in particular.
func (a *application) noteIdle(why string) {
	if len(a.idle) < maxIdle && a.isMeant(a.rule.policy) {
		a.idle = append(a.idle, fmt.Sprintf("%s: %s.overriders.%s changes nothing: %s", a.rule.policy.called, a.rule.path, a.at, why))
	}
}

// isMeant asks each policy once: there may be many rules, and labels.
func (a *application) isMeant(p *Policy) bool {
	meant, known := a.meant[p]
	if known {
		return meant
	}
	if a.template == nil {
		template := policy.TemplateOf(a.original, a.original.GroupVersionKind())
		a.template, a.meant = &template, map[*Policy]bool{}
	}
	a.meant[p] = p.means(*a.template)
	return a.meant[p]
}

// apply makes the changes of one rule, kind by kind in the order in which Karmada makes them. What can't be made is left out, and
// noted; it says whether to go on after that.
func (a *application) apply(o *policyv1alpha1.Overriders) (goOn bool) {
	for i := range o.ImageOverrider {
		a.at = fmt.Sprintf("imageOverrider[%d]", i)
		if err := a.overrideImages(&o.ImageOverrider[i]); err != nil && !a.fail(err) {
			return false
		}
	}
	for i := range o.CommandOverrider {
		a.at = fmt.Sprintf("commandOverrider[%d]", i)
		if err := a.overrideWords("command", &o.CommandOverrider[i]); err != nil && !a.fail(err) {
			return false
		}
	}
	for i := range o.ArgsOverrider {
		a.at = fmt.Sprintf("argsOverrider[%d]", i)
		if err := a.overrideWords("args", &o.ArgsOverrider[i]); err != nil && !a.fail(err) {
			return false
		}
	}
	for i := range o.LabelsOverrider {
		a.at = fmt.Sprintf("labelsOverrider[%d]", i)
		if err := a.overrideMap("labels", &o.LabelsOverrider[i]); err != nil && !a.fail(err) {
			return false
		}
	}
	for i := range o.AnnotationsOverrider {
		a.at = fmt.Sprintf("annotationsOverrider[%d]", i)
		if err := a.overrideMap("annotations", &o.AnnotationsOverrider[i]); err != nil && !a.fail(err) {
			return false
		}
	}
	for from := 0; from < len(o.FieldOverrider); {
		upTo := endOfDocument(o.FieldOverrider, from)
		if failed, at, err := a.overrideDocument(o.FieldOverrider[from:upTo]); err != nil {
			a.at = fmt.Sprintf("fieldOverrider[%d]", from+failed) + at
			if !a.fail(err) {
				return false
			}
		}
		from = upTo
	}
	for left := o.Plaintext; len(left) > 0; {
		failed, err := a.overridePlaintext(left)
		if err == nil {
			break
		}
		a.at = fmt.Sprintf("plaintext[%d]", len(o.Plaintext)-len(left)+failed)
		if !a.fail(err) {
			return false
		}
		if _, err := a.overridePlaintext(left[:failed]); err != nil { // what follows may stand on it
			return false
		}
		left = left[failed+1:]
	}
	return true
}

// expand puts the cluster's values in the place of references.
func (a *application) expand(text string) (string, error) {
	expanded, err := policyv1alpha1.ExpandReferences(text, func(reference string) (string, error) { return a.values[reference], nil })
	if err != nil {
		return "", err
	}
	return expanded, a.costs(len(expanded))
}

// costs counts what something is about to cost, and refuses what would be too much.
func (a *application) costs(cost int) error {
	a.cost += cost
	a.shared.cost += cost
	switch {
	case a.cost > maxCost:
		return errTooMuch
	case a.shared.cost > maxCostInAll:
		return errTooMuchInAll
	}
	return nil
}

// overrideMap changes labels or annotations. What is replaced or removed has to be there already, and
// is left alone otherwise.
func (a *application) overrideMap(which string, o *policyv1alpha1.LabelAnnotationOverrider) error {
	metadata, ok := a.object["metadata"].(map[string]any)
	if !ok {
		return fmt.Errorf("the object has no metadata any more")
	}
	entries, _ := metadata[which].(map[string]any)
	if entries == nil {
		if o.Operator != policyv1alpha1.OverriderOpAdd {
			a.noteAbsent(which, o)
			return nil
		}
		entries = map[string]any{}
		metadata[which] = entries
	}
	found := false
	for _, key := range sortedKeys(o.Value) {
		if _, there := entries[key]; !there && o.Operator != policyv1alpha1.OverriderOpAdd {
			continue
		}
		found = true
		if o.Operator == policyv1alpha1.OverriderOpRemove {
			delete(entries, key)
			continue
		}
		value, err := a.expand(o.Value[key])
		if err != nil {
			return err
		}
		if which == "labels" {
			if wrong := validation.IsValidLabelValue(value); len(wrong) > 0 {
				return fmt.Errorf("label %s would be %q: %s", key, value, wrong[0])
			}
		}
		entries[key] = value
	}
	if !found {
		a.noteAbsent(which, o)
	}
	return nil
}

// noteAbsent notes that none of the labels or annotations is there that are to be replaced or removed. One without any was
// a warning when it was applied.
func (a *application) noteAbsent(which string, o *policyv1alpha1.LabelAnnotationOverrider) {
	keys := sortedKeys(o.Value)
	if len(keys) == 0 {
		return
	}
	named := strings.Join(keys[:min(len(keys), maxKeys)], ", ")
	if more := len(keys) - maxKeys; more > 0 {
		named += fmt.Sprintf(" and %d more", more)
	}
	a.noteIdle(fmt.Sprintf("the object has none of the %s to %s: %s", which, o.Operator, named))
}

// stillTheSame refuses changes by which the object would be another one, or would carry what is not for
// a user to say.
func (a *application) stillTheSame(before map[string]any) error {
	after := a.object
	was, is := &unstructured.Unstructured{Object: before}, &unstructured.Unstructured{Object: after}
	for _, identity := range []struct{ name, was, is string }{
		{"apiVersion", was.GetAPIVersion(), is.GetAPIVersion()},
		{"kind", was.GetKind(), is.GetKind()},
		{"metadata.name", was.GetName(), is.GetName()},
		{"metadata.namespace", was.GetNamespace(), is.GetNamespace()},
	} {
		if identity.was != identity.is {
			return fmt.Errorf("%s would be %q in the place of %q, and the object another one: an override can't change that", identity.name, identity.is, identity.was)
		}
	}
	if _, there := after["status"]; there {
		return fmt.Errorf("status can't be overridden: the member writes it")
	}
	metadata, _ := after["metadata"].(map[string]any)
	for _, field := range sortedKeys(metadata) {
		if field != "name" && field != "namespace" && !policyv1alpha1.OverridableMetadata(field) {
			return fmt.Errorf("metadata.%s can't be overridden: of metadata only labels and annotations travel", field)
		}
	}
	hadMetadata, _ := before["metadata"].(map[string]any)
	for _, which := range []string{"labels", "annotations"} {
		had, _ := hadMetadata[which].(map[string]any)
		if err := a.checkMarks(which, metadata[which], had); err != nil {
			return err
		}
	}
	return nil
}

// checkMarks refuses marks that the object did not have. Those that are there, or are gone, make no difference: they don't travel.
func (a *application) checkMarks(which string, value any, had map[string]any) error {
	if value == nil {
		return nil
	}
	entries, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("metadata.%s would be no set of strings", which)
	}
	if err := a.costs(costOfItem * len(entries)); err != nil {
		return err
	}
	for _, key := range sortedKeys(entries) {
		if _, text := entries[key].(string); !text {
			return fmt.Errorf("metadata.%s[%s] would be no string: write it in quotes", which, key)
		}
		if policyv1alpha1.ReservedMark(key) && entries[key] != had[key] {
			return fmt.Errorf("metadata.%s[%s] is a mark of the hub's own: an override can't set it", which, key)
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
