package apiserver

import (
	"sync/atomic"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestWithoutASchedulerNoPlacementIsExplained(t *testing.T) {
	served := &placementREST{explainer: &atomic.Pointer[Explainer]{}}
	if _, err := served.Get(t.Context(), "settings", &metav1.GetOptions{}); !apierrors.IsServiceUnavailable(err) {
		t.Errorf("the answer is %v", err)
	}
}
