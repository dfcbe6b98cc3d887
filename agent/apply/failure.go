package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"windlass.dev/windlass/agent/claim"
	"windlass.dev/windlass/agent/member"
)

// Reasons of a work's Applied condition.
const (
	reasonApplied              = "AppliedSuccessful"
	reasonApplying             = "Applying"
	reasonConflict             = "Conflict"
	reasonOtherHub             = "ManagedByOtherHub"
	reasonGuarded              = "Guarded"
	reasonInvalidManifest      = "InvalidManifest"
	reasonKindNotServed        = "KindNotServed"
	reasonNamespaceTerminating = "NamespaceTerminating"
	reasonForbidden            = "Forbidden"
	reasonRejected             = "Rejected"
	reasonMemberUnavailable    = "MemberUnavailable"
	reasonAwaitingHub          = "AwaitingHub"
	reasonSuspended            = "Suspended"
	reasonPruning              = "Pruning"
	reasonRemoving             = "Removing"
)

// Types of further conditions of a work.
const (
	conditionFieldsDropped    = "FieldsDropped"
	conditionDuplicatesMerged = "DuplicatesMerged"
	conditionAdopted          = "Adopted"
	conditionDriftFight       = "DriftFight"
)

// failure is why an object is not as it should be, in words for the user.
type failure struct {
	reason  string
	message string
}

func (f *failure) Error() string { return f.reason + ": " + f.message }

func failf(reason, format string, args ...any) *failure {
	return &failure{reason: reason, message: fmt.Sprintf(format, args...)}
}

// limits bound the delay between attempts where waiting longer would only make people wait: nothing
// tells us when such an obstacle is gone.
var limits = map[string]time.Duration{
	reasonNamespaceTerminating: 10 * time.Second,
	reasonKindNotServed:        30 * time.Second,
	reasonMemberUnavailable:    30 * time.Second,
	reasonApplying:             time.Second,
	reasonConflict:             time.Minute,
	reasonOtherHub:             time.Minute,
	reasonGuarded:              time.Minute,
	reasonPruning:              15 * time.Second,
	reasonRemoving:             15 * time.Second,
}

const (
	firstBackoff = 500 * time.Millisecond
	// conflictBackoff is the first delay when somebody changed the object while it was applied.
	conflictBackoff = 10 * time.Millisecond
)

// backoff returns how long to wait after so many failures in a row.
func backoff(reason string, failures int, most time.Duration) time.Duration {
	if limit, exists := limits[reason]; exists {
		most = min(most, limit)
	}
	delay := firstBackoff
	if reason == reasonApplying {
		delay = conflictBackoff
	}
	for range failures - 1 {
		if delay *= 2; delay >= most {
			return most
		}
	}
	return delay
}

// classify turns an error of the member's API server into a failure.
func classify(err error) *failure {
	var known *failure
	var notServed *member.NotServedError
	var withheld *claim.WithheldError
	var status apierrors.APIStatus
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &notServed):
		return failf(reasonKindNotServed, "%v", notServed)
	case errors.Is(err, context.Canceled):
		return failf(reasonMemberUnavailable, "the agent was ended while it applied the object")
	case errors.As(err, &withheld):
		return failf(reasonMemberUnavailable, "%v", withheld)
	case !errors.As(err, &status):
		return failf(reasonMemberUnavailable, "the member's API server does not answer: %v", err)
	}
	message := status.Status().Message
	switch code := status.Status().Code; {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return failf(reasonNamespaceTerminating, "%s; the object is applied as soon as the namespace is gone", message)
	case apierrors.IsInvalid(err) && strings.Contains(message, "immutable"):
		return failf(reasonRejected, "%s (Windlass never deletes and recreates an object by itself: delete it in the member, or undo the change)", message)
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), code == 405, code == 413, code == 415:
		return failf(reasonRejected, "the member refuses the object: %s", message)
	case apierrors.IsForbidden(err) && isMissingRight(message):
		return failf(reasonForbidden, "the member forbids it: %s", message)
	case apierrors.IsForbidden(err): // by admission: a quota, a pod's security, a service account that is not there
		return failf(reasonRejected, "the member refuses the object: %s", message)
	case isKindMissing(err):
		return failf(reasonKindNotServed, "the member does not serve the kind any more: %s", message)
	case code >= 500 && (isSchemaError(message) || strings.Contains(message, "failed to create typed patch object")):
		return failf(reasonRejected, "the member refuses the object: %s", message)
	case apierrors.IsConflict(err):
		return failf(reasonApplying, "the object changed in the member while it was applied; it is applied again")
	case code == 401:
		return failf(reasonMemberUnavailable, "the member does not accept the agent's credentials: %s", message)
	}
	return failf(reasonMemberUnavailable, "the member's API server answers: %s", message)
}

// isMissingRight says whether a request was forbidden because the agent lacks a right, and not because of
// what the object says: the API server's words are all that tells the two apart.
func isMissingRight(message string) bool {
	return strings.Contains(message, `User "`) && strings.Contains(message, `" cannot `) ||
		strings.Contains(message, "is attempting to grant RBAC permissions not currently held")
}

// isSchemaError says whether an apply failed because the member does not know a field, or because a
// list holds an element twice.
func isSchemaError(message string) bool {
	return strings.Contains(message, "not declared in schema") || strings.Contains(message, "duplicate entries for key")
}

// isNamespaceMissing says whether an error means that the object's namespace does not exist.
func isNamespaceMissing(err error, namespace string) bool {
	return namespace != "" && statusKind(err) == "namespaces" && apierrors.IsNotFound(err)
}

// isKindMissing says whether an error means that the kind is not served, and not that the object
// does not exist.
func isKindMissing(err error) bool {
	return apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

func statusKind(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Details != nil {
		return status.Status().Details.Kind
	}
	return ""
}
