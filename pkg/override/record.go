package override

import (
	"cmp"
	"encoding/json"
	"slices"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
)

// maxRecord bounds a record in bytes: annotations have little room, and a record is kept for every
// cluster.
const maxRecord = 32 << 10

// maxNames bounds the policies in a record that names them only.
const maxNames = 100

// Applied is an entry of the record of what was applied.
type Applied struct {
	PolicyName string                    `json:"policyName"`
	Overriders policyv1alpha1.Overriders `json:"overriders"`
}

// Record says what is applied, as the policies have it, in the form in which Karmada keeps it on its
// works: an entry for each rule, sorted by policy. It is empty where nothing is. One that would be too
// large names the policies only, the first of them.
func (c Choice) Record() (clusterScoped, namespaced string) {
	var of [2][]Applied
	for _, r := range c.rules {
		i := 0
		if r.policy.namespaced {
			i = 1
		}
		of[i] = append(of[i], Applied{PolicyName: r.policy.name, Overriders: *r.overriders})
	}
	return record(of[0]), record(of[1])
}

func record(applied []Applied) string {
	if len(applied) == 0 {
		return ""
	}
	slices.SortStableFunc(applied, func(a, b Applied) int { return cmp.Compare(a.PolicyName, b.PolicyName) })
	if text, err := json.Marshal(applied); err == nil && len(text) <= maxRecord {
		return string(text)
	}
	names := make([]Applied, 0, len(applied))
	for _, one := range applied {
		if len(names) < maxNames && (len(names) == 0 || names[len(names)-1].PolicyName != one.PolicyName) {
			names = append(names, Applied{PolicyName: one.PolicyName})
		}
	}
	text, _ := json.Marshal(names) // names alone can always be written
	return string(text)
}
