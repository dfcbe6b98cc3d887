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
		{reasonForbidden, apierrors.NewForbidden(resource, "web", errors.New(`User "system:serviceaccount:windlass-system:windlass-agent" cannot patch resource "deployments" in API group "apps" in the namespace "default"`)), "cannot patch"},
		{reasonForbidden, apierrors.NewForbidden(resource, "all", errors.New(`User "agent" cannot get resource "nodes" in API group "" at the cluster scope: no rule`)), "no rule"},
		{reasonForbidden, apierrors.NewForbidden(schema.GroupResource{Group: "rbac.authorization.k8s.io", Resource: "roles"}, "reader",
			errors.New(`user "agent" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:`)), "not currently held"},
		{reasonRejected, apierrors.NewForbidden(resource, "web", errors.New("exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1")), "refuses the object: deployments.apps \"web\" is forbidden: exceeded quota"},
		{reasonRejected, apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "x", errors.New(`error looking up service account mass/missing: serviceaccount "missing" not found`)), "service account mass/missing"},
		{reasonRejected, apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "x", errors.New(`violates PodSecurity "restricted:latest": privileged`)), "PodSecurity"},
		{reasonKindNotServed, apierrors.NewGenericServerResponse(404, "patch", schema.GroupResource{}, "", "404 page not found", 0, true), "the server could not find the requested resource"},
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
