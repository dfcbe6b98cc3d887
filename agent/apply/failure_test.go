package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"windlass.dev/windlass/agent/member"
)

func TestEveryErrorHasAReasonAndSaysWhatTheMemberSaid(t *testing.T) {
	kind := schema.GroupKind{Group: "apps", Kind: "Deployment"}
	resource := schema.GroupResource{Group: "apps", Resource: "deployments"}
	terminating := apierrors.NewForbidden(resource, "web", errors.New("because it is being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	for _, c := range []struct {
		reason string
		err    error
		says   string
	}{
		{reasonNamespaceTerminating, terminating, "being terminated"},
		{reasonForbidden, apierrors.NewForbidden(resource, "web", errors.New("quota exceeded")), "quota exceeded"},
		{reasonRejected, apierrors.NewInvalid(kind, "web", field.ErrorList{field.Required(field.NewPath("spec"), "")}), "spec"},
		{reasonRejected, apierrors.NewInvalid(kind, "web", field.ErrorList{field.Invalid(field.NewPath("spec", "selector"), "", "field is immutable")}), "delete it in the member"},
		{reasonRejected, apierrors.NewBadRequest("admission webhook denied it"), "denied"},
		{reasonRejected, apierrors.NewInternalError(errors.New("failed to create typed patch object: .spec.replicas: expected numeric")), "replicas"},
		{reasonApplying, apierrors.NewConflict(resource, "web", errors.New("changed")), "applied again"},
		{reasonMemberUnavailable, apierrors.NewInternalError(errors.New("etcd is away")), "etcd is away"},
		{reasonMemberUnavailable, apierrors.NewTooManyRequests("later", 1), "later"},
		{reasonMemberUnavailable, apierrors.NewUnauthorized("who are you"), "credentials"},
		{reasonMemberUnavailable, errors.New("connection refused"), "connection refused"},
		{reasonMemberUnavailable, context.Canceled, "ended"},
		{reasonKindNotServed, &member.NotServedError{Kind: schema.GroupVersionKind{Group: "g", Version: "v1", Kind: "K"}}, "g/v1, Kind=K"},
		{reasonConflict, failf(reasonConflict, "not ours"), "not ours"},
	} {
		got := classify(fmt.Errorf("applying: %w", c.err))
		if got.reason != c.reason || !strings.Contains(got.message, c.says) {
			t.Errorf("%v: got %v, want reason %s and %q in the message", c.err, got, c.reason, c.says)
		}
	}
}

func TestDelaysGrowUpToTheirLimit(t *testing.T) {
	for _, c := range []struct {
		reason   string
		failures int
		want     time.Duration
	}{
		{reasonRejected, 1, 500 * time.Millisecond},
		{reasonRejected, 3, 2 * time.Second},
		{reasonRejected, 1000, 5 * time.Minute},
		{reasonNamespaceTerminating, 1000, 10 * time.Second},
		{reasonKindNotServed, 1000, 30 * time.Second},
		{reasonApplying, 1, 10 * time.Millisecond},
	} {
		if got := backoff(c.reason, c.failures, 5*time.Minute); got != c.want {
			t.Errorf("%s after %d failures: got %v, want %v", c.reason, c.failures, got, c.want)
		}
	}
}
