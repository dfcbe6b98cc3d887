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

func whatToSet(reference, cluster string) string {
	if key, label := strings.CutPrefix(reference, policyv1alpha1.ClusterLabelReference); label {
		return fmt.Sprintf("MemberCluster %s has no label %s", cluster, key)
	}
	return fmt.Sprintf("MemberCluster %s has no spec.%s", cluster, strings.TrimPrefix(reference, "cluster."))
}

// referencesIn are all references in the values of overriders, sorted.
func referencesIn(o *policyv1alpha1.Overriders) ([]string, error) {
	var found []string
	err := eachText(o, func(text string) error {
		return policyv1alpha1.FindReferences(text, func(reference string) { found = append(found, reference) })
	})
	slices.Sort(found)
	return slices.Compact(found), err
}

// eachText visits all strings in which an overrider may refer to the cluster, and that are used.
func eachText(o *policyv1alpha1.Overriders, visit func(string) error) error {
	var texts []string
	for i := range o.ImageOverrider {
		if o.ImageOverrider[i].Operator != policyv1alpha1.OverriderOpRemove {
			texts = append(texts, o.ImageOverrider[i].Value)
		}
	}
	for _, some := range [][]policyv1alpha1.CommandArgsOverrider{o.CommandOverrider, o.ArgsOverrider} {
		for i := range some {
			texts = append(texts, some[i].Value...)
		}
	}
	for _, some := range [][]policyv1alpha1.LabelAnnotationOverrider{o.LabelsOverrider, o.AnnotationsOverrider} {
		for i := range some {
			if some[i].Operator == policyv1alpha1.OverriderOpRemove {
				continue
			}
			for _, key := range sortedKeys(some[i].Value) {
				texts = append(texts, some[i].Value[key])
			}
		}
	}
	for _, text := range texts {
		if err := visit(text); err != nil {
			return err
		}
	}
	var operations []operation
	for i := range o.FieldOverrider {
		operations = append(operations, documentOperations(&o.FieldOverrider[i])...)
	}
	for _, op := range append(operations, plaintextOperations(o.Plaintext)...) {
		if _, err := mapStrings(op.value, func(text string) (string, error) { return text, visit(text) }); err != nil {
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
