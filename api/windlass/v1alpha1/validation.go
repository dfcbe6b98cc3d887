package v1alpha1

import (
	"fmt"
	"regexp"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
)

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ValidateJoinToken checks a new token and reports everything that is wrong with it. The store has
// filled in expirationTime before.
func ValidateJoinToken(token *JoinToken, now time.Time) field.ErrorList {
	// The name stands between dots in the token's text, so it has none itself.
	errs := apivalidation.ValidateObjectMeta(&token.ObjectMeta, false, apivalidation.NameIsDNSLabel, field.NewPath("metadata"))
	spec, path := &token.Spec, field.NewPath("spec")
	if !sha256Hex.MatchString(spec.SecretHash) {
		// The value is not repeated: whoever puts the secret itself there should not find it in logs.
		errs = append(errs, field.Invalid(path.Child("secretHash"), field.OmitValueType{},
			"must be the SHA-256 of the secret, as 64 lower case hex digits; windlass token create makes one"))
	}
	if spec.ClusterName != "" {
		errs = append(errs, clusterv1alpha1.ValidateClusterName(spec.ClusterName, path.Child("clusterName"))...)
	}
	if spec.Rejoin && spec.ClusterName == "" {
		errs = append(errs, field.Required(path.Child("clusterName"), "a token with rejoin: true is for one cluster: name it"))
	}
	return append(errs, validateExpiration(spec, now, path.Child("expirationTime"))...)
}

func validateExpiration(spec *JoinTokenSpec, now time.Time, path *field.Path) field.ErrorList {
	if spec.ExpirationTime == nil {
		return field.ErrorList{field.Required(path, "say when the token ends")}
	}
	if !spec.ExpirationTime.After(now) {
		return field.ErrorList{field.Invalid(path, spec.ExpirationTime.UTC().Format(time.RFC3339),
			fmt.Sprintf("must lie in the future: it is now %s on the hub", now.UTC().Format(time.RFC3339)))}
	}
	return nil
}

// ValidateJoinTokenUpdate checks a changed token: what it is worth never changes.
func ValidateJoinTokenUpdate(token, old *JoinToken) field.ErrorList {
	if equality.Semantic.DeepEqual(&token.Spec, &old.Spec) {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath("spec"), "can't be changed: delete the token and create another")}
}

// ValidateJoinTokenStatusUpdate checks a token whose status was changed. One use means one public
// key: once a token is bound to a key it stays bound to it.
func ValidateJoinTokenStatusUpdate(token, old *JoinToken) field.ErrorList {
	is, was, path := &token.Status, &old.Status, field.NewPath("status")
	var errs field.ErrorList
	if is.PublicKeyHash != "" && !sha256Hex.MatchString(is.PublicKeyHash) {
		errs = append(errs, field.Invalid(path.Child("publicKeyHash"), is.PublicKeyHash, "must be the SHA-256 of a public key, as 64 lower case hex digits"))
	}
	if was.PublicKeyHash != "" && is.PublicKeyHash != was.PublicKeyHash {
		errs = append(errs, field.Forbidden(path.Child("publicKeyHash"), "can't be changed: the token was used by another key"))
	}
	if was.ClusterName != "" && is.ClusterName != was.ClusterName {
		errs = append(errs, field.Forbidden(path.Child("clusterName"), fmt.Sprintf("can't be changed: the token enrolled cluster %q", was.ClusterName)))
	}
	return errs
}
