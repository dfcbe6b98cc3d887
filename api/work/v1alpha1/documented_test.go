package v1alpha1

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"windlass.dev/windlass/api/apitest"
)

func TestTheDocumentationSaysOfEveryFieldThatIsRefusedThatItIs(t *testing.T) {
	documentation := apitest.Read(t)
	want := []string{"TargetCluster.components"}
	for _, row := range notYetInBinding {
		want = append(want, documentation.Field(t, "BindingSpec", row.field))
	}
	for _, row := range notYetInEviction {
		want = append(want, documentation.Field(t, "GracefulEvictionTask", row.field))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, documentation.Refused()); diff != "" {
		t.Errorf("fields whose comment has to end with what is refused (-want +got):\n%s", diff)
	}
}
