package v1alpha1

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// MaxOverrideOperations bounds the changes of one override policy, all rules and overriders together.
// Each costs time in every rendering of every template that the policy selects.
const MaxOverrideOperations = 1000

// DefaultOverrideSelectorNamespaces makes the selectors of an OverridePolicy name its own namespace, as
// DefaultSelectorNamespaces does for a PropagationPolicy.
func DefaultOverrideSelectorNamespaces(policy *OverridePolicy) {
	for i := range policy.Spec.ResourceSelectors {
		if selector := &policy.Spec.ResourceSelectors[i]; selector.Namespace == "" {
			selector.Namespace = policy.Namespace
		}
	}
}

// ValidateOverridePolicy checks a new policy and reports everything that is wrong with it.
func ValidateOverridePolicy(policy *OverridePolicy) field.ErrorList { return validateOverride(policy) }

// ValidateOverridePolicyUpdate checks a changed policy.
func ValidateOverridePolicyUpdate(policy, old *OverridePolicy) field.ErrorList {
	return validateOverrideUpdate(policy, old)
}

// ValidateClusterOverridePolicy checks a new policy and reports everything that is wrong with it.
func ValidateClusterOverridePolicy(policy *ClusterOverridePolicy) field.ErrorList {
	return validateOverride(policy)
}

// ValidateClusterOverridePolicyUpdate checks a changed policy.
func ValidateClusterOverridePolicyUpdate(policy, old *ClusterOverridePolicy) field.ErrorList {
	return validateOverrideUpdate(policy, old)
}

func validateOverride(policy Override) field.ErrorList {
	_, namespaced := policy.(*OverridePolicy)
	metadata := field.NewPath("metadata")
	errs := apivalidation.ValidateObjectMetaAccessor(policy, namespaced, apivalidation.NameIsDNSSubdomain, metadata)
	if namespaced && ReservedNamespace(policy.GetNamespace()) {
		errs = append(errs, field.Invalid(metadata.Child("namespace"), policy.GetNamespace(), reservedNamespaceMessage))
	}
	return append(errs, validateOverrideSpec(policy)...)
}

// validateOverrideUpdate leaves a spec alone that was not changed, as validatePolicyUpdate does.
func validateOverrideUpdate(policy, old Override) field.ErrorList {
	if equality.Semantic.DeepEqual(policy.GetSpec(), old.GetSpec()) {
		return nil
	}
	return validateOverrideSpec(policy)
}

func validateOverrideSpec(policy Override) field.ErrorList {
	spec, path := policy.GetSpec(), field.NewPath("spec")
	_, namespaced := policy.(*OverridePolicy)
	selecting := selecting{namespaced: namespaced, namespace: policy.GetNamespace(), twin: "ClusterOverridePolicy"}
	var errs field.ErrorList
	for i := range spec.ResourceSelectors {
		errs = append(errs, validateResourceSelector(selecting, &spec.ResourceSelectors[i], path.Child("resourceSelectors").Index(i))...)
	}
	if len(spec.OverrideRules) > 0 {
		const move = "can't stand beside overrideRules: move it into a rule of its own"
		if spec.TargetCluster != nil {
			errs = append(errs, field.Forbidden(path.Child("targetCluster"), move))
		}
		if spec.Overriders.operations() > 0 {
			errs = append(errs, field.Forbidden(path.Child("overriders"), move))
		}
	}
	operations := 0
	for at, rule := range spec.Rules() {
		operations += 1 + rule.Overriders.operations()
		errs = append(errs, validateClusterAffinity(rule.TargetCluster, at.Child("targetCluster"))...)
		errs = append(errs, validateOverriders(&rule.Overriders, at.Child("overriders"))...)
	}
	if operations > MaxOverrideOperations {
		errs = append(errs, field.Invalid(path.Child("overrideRules"), operations,
			fmt.Sprintf("rules and their changes are too many: at most %d in one policy; divide it into several", MaxOverrideOperations)))
	}
	return errs
}

// operations is the number of single changes.
func (o *Overriders) operations() int {
	n := len(o.Plaintext) + len(o.ImageOverrider) + len(o.CommandOverrider) + len(o.ArgsOverrider)
	for _, overriders := range [][]LabelAnnotationOverrider{o.LabelsOverrider, o.AnnotationsOverrider} {
		for i := range overriders {
			n += 1 + len(overriders[i].Value)
		}
	}
	for i := range o.FieldOverrider {
		n += 1 + len(o.FieldOverrider[i].JSON) + len(o.FieldOverrider[i].YAML)
	}
	return n
}

func validateOverriders(o *Overriders, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range o.ImageOverrider {
		errs = append(errs, validateImageOverrider(&o.ImageOverrider[i], path.Child("imageOverrider").Index(i))...)
	}
	for i := range o.CommandOverrider {
		errs = append(errs, validateCommandArgsOverrider(&o.CommandOverrider[i], path.Child("commandOverrider").Index(i))...)
	}
	for i := range o.ArgsOverrider {
		errs = append(errs, validateCommandArgsOverrider(&o.ArgsOverrider[i], path.Child("argsOverrider").Index(i))...)
	}
	for i := range o.LabelsOverrider {
		at := path.Child("labelsOverrider").Index(i)
		errs = append(errs, validateMapOverrider(&o.LabelsOverrider[i], at)...)
		errs = append(errs, metav1validation.ValidateLabels(withoutReferences(o.LabelsOverrider[i].Value), at.Child("value"))...)
	}
	for i := range o.AnnotationsOverrider {
		at := path.Child("annotationsOverrider").Index(i)
		errs = append(errs, validateMapOverrider(&o.AnnotationsOverrider[i], at)...)
		errs = append(errs, apivalidation.ValidateAnnotations(o.AnnotationsOverrider[i].Value, at.Child("value"))...)
	}
	for i := range o.FieldOverrider {
		errs = append(errs, validateFieldOverrider(&o.FieldOverrider[i], path.Child("fieldOverrider").Index(i))...)
	}
	for i := range o.Plaintext {
		errs = append(errs, validatePlaintext(&o.Plaintext[i], path.Child("plaintext").Index(i))...)
	}
	return errs
}

func validateOperator(operator OverriderOperator, path *field.Path) field.ErrorList {
	return required(operator, path.Child("operator"), OverriderOpAdd, OverriderOpRemove, OverriderOpReplace)
}

// imageValues are what may be written for a part of an image name, whole and appended to what is there.
var imageValues = map[ImageComponent]struct {
	whole, part *regexp.Regexp
	is          string
}{
	ImageRegistry: {
		regexp.MustCompile(`^[a-zA-Z0-9.:\[\]-]+(/[a-z0-9._-]+)*$`), regexp.MustCompile(`^[a-zA-Z0-9._:/\[\]-]+$`),
		"a host, with a port and the beginning of a path if need be, such as registry.example.com:5000",
	},
	ImageRepository: {
		regexp.MustCompile(`^[a-z0-9._-]+(/[a-z0-9._-]+)*$`), regexp.MustCompile(`^[a-z0-9._/-]+$`),
		"a path of lower case letters, digits, dots, dashes and underscores, without tag, such as library/nginx",
	},
	ImageTag: {
		regexp.MustCompile(`^(\w[\w.-]{0,127}|[A-Za-z][A-Za-z0-9]*([-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9A-Fa-f]{32,})$`), regexp.MustCompile(`^[\w.:+-]{1,128}$`),
		"a tag such as v1.2.3, or a digest such as sha256:…, without the : or @ before it",
	},
}

func validateImageOverrider(o *ImageOverrider, path *field.Path) field.ErrorList {
	errs := required(o.Component, path.Child("component"), ImageRegistry, ImageRepository, ImageTag)
	errs = append(errs, validateOperator(o.Operator, path)...)
	if o.Predicate != nil {
		errs = append(errs, validateImagePath(o.Predicate.Path, path.Child("predicate", "path"))...)
	}
	values, known := imageValues[o.Component]
	at := path.Child("value")
	switch value, ok := checkReferences(o.Value, at, &errs); {
	case o.Operator == OverriderOpRemove || !known || !ok:
	case o.Value == "":
		errs = append(errs, field.Required(at, "say what to "+string(o.Operator)+", or use remove"))
	case o.Operator == OverriderOpReplace && !values.whole.MatchString(value), o.Operator == OverriderOpAdd && !values.part.MatchString(value):
		errs = append(errs, field.Invalid(at, o.Value, "must be "+values.is))
	}
	return errs
}

// validateImagePath refuses what no override can change, and the whole object.
func validateImagePath(pointer string, path *field.Path) field.ErrorList {
	if pointer == "" {
		return field.ErrorList{field.Required(path, "give the path of the image, such as /spec/template/spec/containers/0/image, or leave predicate out")}
	}
	return validateTarget(pointer, path)
}

func validateCommandArgsOverrider(o *CommandArgsOverrider, path *field.Path) field.ErrorList {
	errs := required(o.Operator, path.Child("operator"), OverriderOpAdd, OverriderOpRemove)
	switch at := path.Child("containerName"); {
	case o.ContainerName == "":
		errs = append(errs, field.Required(at, "name the container"))
	case strings.Contains(o.ContainerName, referenceBegin):
		errs = append(errs, field.Invalid(at, o.ContainerName, onlyValuesRefer))
	}
	for i, word := range o.Value {
		checkReferences(word, path.Child("value").Index(i), &errs)
	}
	return errs
}

// validateMapOverrider checks what labels and annotations have in common.
func validateMapOverrider(o *LabelAnnotationOverrider, path *field.Path) field.ErrorList {
	errs := validateOperator(o.Operator, path)
	for _, key := range sortedKeys(o.Value) {
		if ReservedMark(key) {
			errs = append(errs, field.Forbidden(path.Child("value").Key(key), reservedMarkMessage))
		}
		checkReferences(o.Value[key], path.Child("value").Key(key), &errs)
	}
	return errs
}

const reservedMarkMessage = "is a mark of the hub's own, by which it knows whose the object is: no override can change it"

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// withoutReferences are the values with every reference shortened to one letter, which is a valid part
// of a label wherever it stands.
func withoutReferences(values map[string]string) map[string]string {
	plain := make(map[string]string, len(values))
	for key, value := range values {
		plain[key] = plainValue(value)
	}
	return plain
}

func plainValue(value string) string {
	if plain, err := ExpandReferences(value, func(string) (string, error) { return "x", nil }); err == nil {
		return plain
	}
	return "x" // what is wrong with it is said elsewhere
}

// checkReferences adds an error for what is no reference, and returns the value with a letter for each
// that is.
func checkReferences(value string, path *field.Path, errs *field.ErrorList) (plain string, ok bool) {
	if err := FindReferences(value, func(string) {}); err != nil {
		*errs = append(*errs, field.Invalid(path, value, err.Error()))
		return "", false
	}
	return plainValue(value), true
}

func validateFieldOverrider(o *FieldOverrider, path *field.Path) field.ErrorList {
	errs := validateTarget(o.FieldPath, path.Child("fieldPath"))
	if o.FieldPath == "" {
		errs = append(errs, field.Required(path.Child("fieldPath"), "name the string that holds the document, such as /data/config.yaml"))
	}
	switch {
	case len(o.JSON) > 0 && len(o.YAML) > 0:
		errs = append(errs, field.Forbidden(path.Child("yaml"), "can't stand beside json: the string holds one document"))
	case len(o.JSON) == 0 && len(o.YAML) == 0:
		errs = append(errs, field.Required(path, "say what to change in the document: give json or yaml"))
	}
	for i, op := range o.JSON {
		errs = append(errs, validateDocumentOperation(op.SubPath, op.Operator, op.Value, path.Child("json").Index(i))...)
	}
	for i, op := range o.YAML {
		errs = append(errs, validateDocumentOperation(op.SubPath, op.Operator, op.Value, path.Child("yaml").Index(i))...)
	}
	return errs
}

func validateDocumentOperation(subPath string, operator OverriderOperator, value apiextensionsv1.JSON, path *field.Path) field.ErrorList {
	errs := validatePointer(subPath, path.Child("subPath"))
	if subPath != "" && slices.Contains(strings.Split(subPath, "/")[1:], "") {
		errs = append(errs, field.Invalid(path.Child("subPath"), subPath, "has a / without a name after it: leave out the / that is too much"))
	}
	errs = append(errs, validateOperator(operator, path)...)
	at := path.Child("value")
	switch {
	case operator == OverriderOpRemove && len(value.Raw) > 0:
		errs = append(errs, field.Forbidden(at, "must be absent with remove"))
	case operator == OverriderOpRemove && subPath == "":
		errs = append(errs, field.Invalid(path.Child("subPath"), subPath, "names the whole document, which can't be removed"))
	case operator != OverriderOpRemove && len(value.Raw) == 0:
		errs = append(errs, field.Required(at, "say what to write there"))
	}
	return append(errs, validateJSONValue(value, at)...)
}

// validatePlaintext takes a missing value for null and lets one beside remove be, as Karmada does.
func validatePlaintext(o *PlaintextOverrider, path *field.Path) field.ErrorList {
	errs := validateOperator(o.Operator, path)
	errs = append(errs, validateTarget(o.Path, path.Child("path"))...)
	if o.Operator == OverriderOpRemove {
		if o.Path == "" {
			errs = append(errs, field.Invalid(path.Child("path"), o.Path, "names the whole object, which can't be removed"))
		}
		return errs
	}
	if value := bytes.TrimSpace(o.Value.Raw); o.Path == "" && !bytes.HasPrefix(value, []byte("{")) {
		errs = append(errs, field.Invalid(path.Child("value"), string(value), "must be an object, for it takes the place of the whole one"))
	}
	return append(errs, validateJSONValue(o.Value, path.Child("value"))...)
}

func validateJSONValue(value apiextensionsv1.JSON, path *field.Path) field.ErrorList {
	if len(value.Raw) == 0 {
		return nil
	}
	var decoded any
	if err := json.Unmarshal(value.Raw, &decoded); err != nil {
		return field.ErrorList{field.Invalid(path, string(value.Raw), "is no JSON: "+err.Error())}
	}
	return checkReferencesIn(decoded, path)
}

// checkReferencesIn checks all strings in a JSON value. The keys of objects are written as they are, so none may refer.
func checkReferencesIn(value any, path *field.Path) (errs field.ErrorList) {
	switch value := value.(type) {
	case string:
		checkReferences(value, path, &errs)
	case []any:
		for _, item := range value {
			errs = append(errs, checkReferencesIn(item, path)...)
		}
	case map[string]any:
		for _, key := range sortedKeys(value) {
			if strings.Contains(key, referenceBegin) {
				errs = append(errs, field.Invalid(path, key, "the key of an object "+onlyValuesRefer))
			}
			errs = append(errs, checkReferencesIn(value[key], path)...)
		}
	}
	return errs
}

const onlyValuesRefer = "refers to the cluster, which only values can"

// validatePointer checks the syntax of a JSON pointer (RFC 6901).
func validatePointer(pointer string, path *field.Path) field.ErrorList {
	if pointer != "" && pointer[0] != '/' {
		return field.ErrorList{field.Invalid(path, pointer, "must begin with /, such as /spec/replicas")}
	}
	for i, r := range pointer {
		if r == '~' && (i+1 == len(pointer) || pointer[i+1] != '0' && pointer[i+1] != '1') {
			return field.ErrorList{field.Invalid(path, pointer, "has a ~ that is none: write ~0 for ~ and ~1 for / in a name")}
		}
	}
	if strings.Contains(pointer, referenceBegin) {
		return field.ErrorList{field.Invalid(path, pointer, onlyValuesRefer)}
	}
	return nil
}

// validateTarget checks a pointer into a manifest: its syntax, and that what it names may be changed.
func validateTarget(pointer string, path *field.Path) field.ErrorList {
	if errs := validatePointer(pointer, path); len(errs) > 0 || pointer == "" {
		return errs
	}
	names := strings.Split(pointer[1:], "/")
	for i := range names {
		names[i] = strings.ReplaceAll(strings.ReplaceAll(names[i], "~1", "/"), "~0", "~")
	}
	if slices.Contains(names, "") {
		return field.ErrorList{field.Invalid(path, pointer, "has a / without a name after it, and no field has an empty one: leave out the / that is too much")}
	}
	forbidden := func(why string) field.ErrorList {
		return field.ErrorList{field.Forbidden(path, fmt.Sprintf("%s can't be overridden: %s", pointer, why))}
	}
	switch {
	case names[0] == "apiVersion" || names[0] == "kind":
		return forbidden("the object would be another one")
	case names[0] == "status":
		return forbidden("the member writes it")
	case names[0] != "metadata" || len(names) == 1:
		return nil
	case names[1] == "name" || names[1] == "namespace":
		return forbidden("the object would be another one")
	case !OverridableMetadata(names[1]):
		return forbidden("of metadata only labels and annotations travel")
	case len(names) > 2 && ReservedMark(names[2]):
		return field.ErrorList{field.Forbidden(path, names[2]+" "+reservedMarkMessage)}
	}
	return nil
}
