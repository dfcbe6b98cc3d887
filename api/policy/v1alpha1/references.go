package v1alpha1

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// What the values of overriders can say of the cluster that they are for.
const (
	ClusterNameReference     = "cluster.name"
	ClusterRegionReference   = "cluster.region"
	ClusterProviderReference = "cluster.provider"
	// ClusterLabelReference goes before the key of a label.
	ClusterLabelReference = "cluster.labels."
)

const (
	referenceBegin  = "${cluster."
	knownReferences = "${cluster.name}, ${cluster.region}, ${cluster.provider} and ${cluster.labels.KEY} are known; for the characters themselves write $${cluster."
)

// ExpandReferences returns a value with what its references stand for: ${cluster.name},
// ${cluster.region}, ${cluster.provider} and ${cluster.labels.KEY}. $${cluster. stands for ${cluster. itself.
// What else begins with ${cluster., or has no end, is an error, and so is what the function gives as one.
// Everything else is left as it is, such as the ${HOME} and $${HOME} of shells.
func ExpandReferences(value string, of func(reference string) (string, error)) (string, error) {
	if !strings.Contains(value, referenceBegin) {
		return value, nil
	}
	var expanded strings.Builder
	for rest := value; ; {
		before, after, found := strings.Cut(rest, referenceBegin)
		if !found {
			expanded.WriteString(rest)
			return expanded.String(), nil
		}
		if strings.HasSuffix(before, "$") {
			expanded.WriteString(before[:len(before)-1] + referenceBegin)
			rest = after
			continue
		}
		name, behind, ended := strings.Cut(after, "}")
		if !ended {
			return "", fmt.Errorf("%q has no closing }: %s", referenceBegin+after, knownReferences)
		}
		name = referenceBegin[len("${"):] + name
		if !knownReference(name) {
			return "", fmt.Errorf("${%s} is unknown: %s", name, knownReferences)
		}
		text, err := of(name)
		if err != nil {
			return "", err
		}
		expanded.WriteString(before + text)
		rest = behind
	}
}

func knownReference(name string) bool {
	switch name {
	case ClusterNameReference, ClusterRegionReference, ClusterProviderReference:
		return true
	}
	key, label := strings.CutPrefix(name, ClusterLabelReference)
	return label && len(validation.IsQualifiedName(key)) == 0
}

// FindReferences calls found for each reference in a value, and fails as ExpandReferences does.
func FindReferences(value string, found func(reference string)) error {
	_, err := ExpandReferences(value, func(reference string) (string, error) {
		found(reference)
		return "", nil
	})
	return err
}
