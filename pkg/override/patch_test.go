package override

import (
	"fmt"
	"math/bits"
	"strings"
	"testing"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
)

// operationsWithout are some that can be applied, but for the one at a position.
func operationsWithout(n, failing int) []operation {
	operations := make([]operation, n)
	for i := range operations {
		operations[i] = operation{policyv1alpha1.OverriderOpAdd, fmt.Sprintf("/a/k%d", i), []byte("1")}
	}
	operations[failing] = operation{policyv1alpha1.OverriderOpRemove, "/a/absent", nil}
	return operations
}

func TestTheOperationThatFailsIsFoundInFewApplicationsThatAreCounted(t *testing.T) {
	document := []byte(`{"a": {"text": "` + strings.Repeat("x", 100_000) + `"}}`)
	for _, n := range []int{1, 2, 3, 7, 991} {
		for _, failing := range []int{0, n / 3, n / 2, n - 1} {
			a := &application{}
			_, failed, err := a.patch(document, operationsWithout(n, failing))
			if err == nil || failed != failing || err.Error() != "can't remove /a/absent: there is nothing at this path" {
				t.Errorf("of %d operations number %d was to fail: %d: %v", n, failing, failed, err)
			}
			applications := a.copied / (2 * len(document))
			if applications < min(n, 2) || applications > 1+bits.Len(uint(n)) {
				t.Errorf("of %d operations number %d fails, for which the document is patched %d times", n, failing, applications)
			}
		}
	}
}

func TestTheSearchForTheOperationThatFailsEndsAtTheBound(t *testing.T) {
	document := []byte(`{"a": {"text": "` + strings.Repeat("x", 100_000) + `"}}`)
	a := &application{copied: maxCopied - 5*len(document)}
	if _, _, err := a.patch(document, operationsWithout(100, 99)); err == nil || err.Error() != errTooMuch.Error() {
		t.Error(err)
	}
	if a.copied > maxCopied+2*len(document) {
		t.Errorf("it went on to %d", a.copied)
	}
}
