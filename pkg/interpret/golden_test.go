package interpret

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files anew")

// interpretation is everything that is read out of one object, as the golden files show it.
type interpretation struct {
	Travels      map[string]any                    `json:"travels"`
	Replicas     *int32                            `json:"replicas,omitempty"`
	Requirements *workv1alpha1.ReplicaRequirements `json:"requirements,omitempty"`
	Health       workv1alpha1.ResourceHealth       `json:"health"`
	Because      string                            `json:"because,omitempty"`
	Observed     bool                              `json:"observed"`
	KeptStatus   json.RawMessage                   `json:"keptStatus,omitempty"`
}

func interpretAll(obj *unstructured.Unstructured) interpretation {
	var all interpretation
	all.Travels = Prune(obj).Object
	all.Replicas, all.Requirements = Replicas(obj)
	all.Health, all.Because = Health(obj)
	all.Observed = Observed(obj)
	all.KeptStatus = ReflectStatus(obj)
	return all
}

func TestEveryKindIsInterpretedAsItsGoldenFileSays(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*/in.yaml")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no golden files found: %v", err)
	}
	for _, input := range inputs {
		folder := filepath.Dir(input)
		t.Run(filepath.Base(folder), func(t *testing.T) {
			obj := readObject(t, input)
			before := obj.DeepCopy()
			got, err := yaml.Marshal(interpretAll(obj))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, obj); diff != "" {
				t.Errorf("the input was changed:\n%s", diff)
			}
			golden := filepath.Join(folder, "out.yaml")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatalf("%v (write it with -update, and read it)", err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func readObject(t *testing.T, path string) *unstructured.Unstructured {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return parseObject(t, string(content))
}

// parseObject reads YAML as an API server's answer is read: whole numbers are int64.
func parseObject(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	encoded, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	obj := &unstructured.Unstructured{}
	if err := obj.UnmarshalJSON(encoded); err != nil {
		t.Fatal(err)
	}
	return obj
}
