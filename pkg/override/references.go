package override

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
)

// valueOf is what a reference stands for in a cluster; empty if the cluster does not say.
func valueOf(reference string, cluster *clusterv1alpha1.MemberCluster) string {
	switch reference {
	case policyv1alpha1.ClusterNameReference:
		return cluster.Name
	case policyv1alpha1.ClusterRegionReference:
		return cluster.Spec.Region
	case policyv1alpha1.ClusterProviderReference:
		return cluster.Spec.Provider
	}
	return cluster.Labels[strings.TrimPrefix(reference, policyv1alpha1.ClusterLabelReference)]
}

func whatToSet(reference string, cluster *clusterv1alpha1.MemberCluster) string {
	if key, label := strings.CutPrefix(reference, policyv1alpha1.ClusterLabelReference); label {
		if _, there := cluster.Labels[key]; there {
			return fmt.Sprintf("label %s of MemberCluster %s has no value: give it one", key, cluster.Name)
		}
		return fmt.Sprintf("MemberCluster %s has no label %s", cluster.Name, key)
	}
	return fmt.Sprintf("MemberCluster %s has no spec.%s", cluster.Name, strings.TrimPrefix(reference, "cluster."))
}

// A referral is a reference to the cluster, and where in the overriders it stands first.
type referral struct{ name, at string }

// referencesIn are all references in the values of overriders, sorted.
func referencesIn(o *policyv1alpha1.Overriders) ([]referral, error) {
	var found []referral
	err := eachText(o, func(at, text string) error {
		return policyv1alpha1.FindReferences(text, func(name string) { found = append(found, referral{name, at}) })
	})
	slices.SortStableFunc(found, func(a, b referral) int { return strings.Compare(a.name, b.name) })
	return slices.CompactFunc(found, func(a, b referral) bool { return a.name == b.name }), err
}

// eachText visits all strings in which an overrider may refer to the cluster, and that are used, each with the place of its
// overrider.
func eachText(o *policyv1alpha1.Overriders, visit func(at, text string) error) error {
	type text struct{ at, text string }
	var texts []text
	for i := range o.ImageOverrider {
		if o.ImageOverrider[i].Operator != policyv1alpha1.OverriderOpRemove {
			texts = append(texts, text{fmt.Sprintf("imageOverrider[%d]", i), o.ImageOverrider[i].Value})
		}
	}
	for _, some := range []struct {
		called string
		words  []policyv1alpha1.CommandArgsOverrider
	}{{"commandOverrider", o.CommandOverrider}, {"argsOverrider", o.ArgsOverrider}} {
		for i := range some.words {
			for _, word := range some.words[i].Value {
				texts = append(texts, text{fmt.Sprintf("%s[%d]", some.called, i), word})
			}
		}
	}
	for _, some := range []struct {
		called string
		maps   []policyv1alpha1.LabelAnnotationOverrider
	}{{"labelsOverrider", o.LabelsOverrider}, {"annotationsOverrider", o.AnnotationsOverrider}} {
		for i := range some.maps {
			if some.maps[i].Operator == policyv1alpha1.OverriderOpRemove {
				continue
			}
			for _, key := range sortedKeys(some.maps[i].Value) {
				texts = append(texts, text{fmt.Sprintf("%s[%d]", some.called, i), some.maps[i].Value[key]})
			}
		}
	}
	for _, t := range texts {
		if err := visit(t.at, t.text); err != nil {
			return err
		}
	}
	visitIn := func(at string, op operation) error {
		_, err := mapStrings(op.value, func(text string) (string, error) { return text, visit(at, text) })
		return err
	}
	for i := range o.FieldOverrider {
		for _, op := range documentOperations(&o.FieldOverrider[i]) {
			if err := visitIn(fmt.Sprintf("fieldOverrider[%d]", i), op); err != nil {
				return err
			}
		}
	}
	for i, op := range plaintextOperations(o.Plaintext) {
		if err := visitIn(fmt.Sprintf("plaintext[%d]", i), op); err != nil {
			return err
		}
	}
	return nil
}

// mapStrings replaces all strings in a JSON value, but the keys of objects. Values without references
// are left as they are.
func mapStrings(raw []byte, replace func(string) (string, error)) ([]byte, error) {
	if !bytes.ContainsAny(raw, `$\`) { // \ may hide a $
		return raw, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("reading a value: %w", err)
	}
	value, err := mapStringsIn(value, replace)
	if err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

func mapStringsIn(value any, replace func(string) (string, error)) (any, error) {
	var err error
	switch value := value.(type) {
	case string:
		return replace(value)
	case []any:
		for i := range value {
			if value[i], err = mapStringsIn(value[i], replace); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for key := range value {
			if value[key], err = mapStringsIn(value[key], replace); err != nil {
				return nil, err
			}
		}
	}
	return value, nil
}

// An operation is one of a JSON patch (RFC 6902).
type operation struct {
	operator policyv1alpha1.OverriderOperator
	pointer  string
	value    []byte // nil for remove
}

// newOperation takes a missing value for null, which is what it looks like once it was stored.
func newOperation(operator policyv1alpha1.OverriderOperator, pointer string, value apiextensionsv1.JSON) operation {
	switch {
	case operator == policyv1alpha1.OverriderOpRemove:
		return operation{operator, pointer, nil}
	case len(value.Raw) == 0:
		return operation{operator, pointer, []byte("null")}
	}
	return operation{operator, pointer, value.Raw}
}

func plaintextOperations(overriders []policyv1alpha1.PlaintextOverrider) []operation {
	operations := make([]operation, len(overriders))
	for i, o := range overriders {
		operations[i] = newOperation(o.Operator, o.Path, o.Value)
	}
	return operations
}

func documentOperations(o *policyv1alpha1.FieldOverrider) []operation {
	var operations []operation
	for _, op := range o.YAML {
		operations = append(operations, newOperation(op.Operator, op.SubPath, op.Value))
	}
	for _, op := range o.JSON {
		operations = append(operations, newOperation(op.Operator, op.SubPath, op.Value))
	}
	return operations
}
