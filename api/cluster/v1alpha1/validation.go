package v1alpha1

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// dialFields are the fields with which other hubs dial into a cluster.
var dialFields = []struct {
	field string
	set   func(*ClusterSpec) bool
}{
	{"apiEndpoint", func(s *ClusterSpec) bool { return s.APIEndpoint != "" }},
	{"secretRef", func(s *ClusterSpec) bool { return s.SecretRef != nil }},
	{"impersonatorSecretRef", func(s *ClusterSpec) bool { return s.ImpersonatorSecretRef != nil }},
	{"insecureSkipTLSVerification", func(s *ClusterSpec) bool { return s.InsecureSkipTLSVerification }},
	{"proxyURL", func(s *ClusterSpec) bool { return s.ProxyURL != "" }},
	{"proxyHeader", func(s *ClusterSpec) bool { return len(s.ProxyHeader) > 0 }},
}

// notYetInCluster are the fields that do nothing yet. Whoever gives one its meaning deletes its row.
var notYetInCluster = []struct {
	field string
	set   func(*ClusterSpec) bool
}{
	{"resourceModels", func(s *ClusterSpec) bool { return len(s.ResourceModels) > 0 }},
}

const neverDials = "the hub never dials a member, an agent in the member dials the hub: "

// ValidateClusterName checks the name of a cluster: a DNS label of at most MaxClusterNameLength
// characters.
func ValidateClusterName(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "name the cluster")}
	}
	var errs field.ErrorList
	if len(name) > MaxClusterNameLength {
		errs = append(errs, field.Invalid(path, name, fmt.Sprintf("must be at most %d characters: its namespace on the hub is named after it", MaxClusterNameLength)))
	}
	for _, message := range validation.IsDNS1123Label(name) {
		errs = append(errs, field.Invalid(path, name, message))
	}
	return errs
}

// ValidateMemberCluster checks a new cluster and reports everything that is wrong with it.
func ValidateMemberCluster(cluster *MemberCluster) field.ErrorList {
	metadata := field.NewPath("metadata")
	anyName := func(string, bool) []string { return nil } // ValidateClusterName is stricter
	errs := apivalidation.ValidateObjectMeta(&cluster.ObjectMeta, false, anyName, metadata)
	if cluster.Name != "" {
		errs = append(errs, ValidateClusterName(cluster.Name, metadata.Child("name"))...)
	}
	return append(errs, validateClusterSpec(&cluster.Spec)...)
}

// ValidateMemberClusterUpdate checks a changed cluster. A spec that was not changed is left alone,
// so that an object stored under older rules can still lose its finalizer. The registry checks
// metadata itself.
func ValidateMemberClusterUpdate(cluster, old *MemberCluster) field.ErrorList {
	if equality.Semantic.DeepEqual(&cluster.Spec, &old.Spec) {
		return nil
	}
	errs := validateClusterSpec(&cluster.Spec)
	if was, is := old.Spec.ID, cluster.Spec.ID; was != "" && was != is {
		errs = append(errs, field.Invalid(field.NewPath("spec", "id"), is,
			fmt.Sprintf("can't be changed or removed: it stands in the certificate of the cluster's agent; set it back to %q", was)))
	}
	return errs
}

func validateClusterSpec(spec *ClusterSpec) field.ErrorList {
	path := field.NewPath("spec")
	var errs field.ErrorList
	if spec.ID != "" {
		for _, message := range validation.IsDNS1123Label(spec.ID) {
			errs = append(errs, field.Invalid(path.Child("id"), spec.ID, message))
		}
	}
	errs = append(errs, validateSyncMode(spec, path)...)
	errs = append(errs, validateLocation(spec, path)...)
	errs = append(errs, validateTaints(spec.Taints, path.Child("taints"))...)
	for _, row := range notYetInCluster {
		if row.set(spec) {
			errs = append(errs, field.Forbidden(path.Child(row.field), "is not supported yet: remove it"))
		}
	}
	return errs
}

func validateSyncMode(spec *ClusterSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch spec.SyncMode {
	case Pull:
	case Push:
		errs = append(errs, field.NotSupported(path.Child("syncMode"), spec.SyncMode, []string{string(Pull)}))
		errs[0].Detail += "; " + neverDials + "use Pull, and start windlass-agent there with a join token"
	default:
		errs = append(errs, field.NotSupported(path.Child("syncMode"), spec.SyncMode, []string{string(Pull)}))
	}
	for _, row := range dialFields {
		if row.set(spec) {
			errs = append(errs, field.Forbidden(path.Child(row.field), neverDials+"remove this field"))
		}
	}
	return errs
}

func validateLocation(spec *ClusterSpec, path *field.Path) field.ErrorList {
	errs := validatePlaceName(spec.Provider, path.Child("provider"))
	errs = append(errs, validatePlaceName(spec.Region, path.Child("region"))...)
	if spec.Zone != "" {
		errs = append(errs, field.Forbidden(path.Child("zone"), "can't stand beside zones, whose former form it is: move it there"))
	}
	zones := sets.New[string]()
	for i, zone := range spec.Zones {
		at := path.Child("zones").Index(i)
		if zone == "" {
			errs = append(errs, field.Required(at, "name the zone, or remove the entry"))
		}
		if zones.Has(zone) {
			errs = append(errs, field.Duplicate(at, zone))
		}
		zones.Insert(zone)
		errs = append(errs, validatePlaceName(zone, at)...)
	}
	return errs
}

// validatePlaceName refuses what can't be meant: policies compare these names as they are written.
func validatePlaceName(name string, path *field.Path) field.ErrorList {
	if strings.TrimSpace(name) != name {
		return field.ErrorList{field.Invalid(path, name, "must not begin or end with a space: policies compare it as it is written")}
	}
	if len(name) > validation.DNS1123SubdomainMaxLength {
		return field.ErrorList{field.TooLong(path, name, validation.DNS1123SubdomainMaxLength)}
	}
	return nil
}

func validateTaints(taints []corev1.Taint, path *field.Path) field.ErrorList {
	type identity struct {
		key    string
		effect corev1.TaintEffect
	}
	var errs field.ErrorList
	seen := sets.New[identity]()
	for i := range taints {
		taint, at := &taints[i], path.Index(i)
		errs = append(errs, metav1validation.ValidateLabelName(taint.Key, at.Child("key"))...)
		for _, message := range validation.IsValidLabelValue(taint.Value) {
			errs = append(errs, field.Invalid(at.Child("value"), taint.Value, message))
		}
		errs = append(errs, validateTaintEffect(taint.Effect, at.Child("effect"))...)
		this := identity{taint.Key, taint.Effect}
		if seen.Has(this) {
			errs = append(errs, field.Duplicate(at, taint.Key+":"+string(taint.Effect)))
		}
		seen.Insert(this)
	}
	return errs
}

// StampTaints gives every taint NoExecute the time at which it was added, for from then on it is tolerated or not. One that
// stood there before keeps its time. The store calls it before it validates; before is nil for a new cluster.
func StampTaints(cluster, before *MemberCluster, now time.Time) {
	for i := range cluster.Spec.Taints {
		taint := &cluster.Spec.Taints[i]
		if taint.Effect != corev1.TaintEffectNoExecute || taint.TimeAdded != nil {
			continue
		}
		taint.TimeAdded = ptr.To(metav1.NewTime(now).Rfc3339Copy())
		if before == nil {
			continue
		}
		for _, former := range before.Spec.Taints {
			if former.MatchTaint(taint) && former.Value == taint.Value && former.TimeAdded != nil {
				taint.TimeAdded = former.TimeAdded.DeepCopy()
			}
		}
	}
}

func validateTaintEffect(effect corev1.TaintEffect, path *field.Path) field.ErrorList {
	switch effect {
	case corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute:
		return nil
	case corev1.TaintEffectPreferNoSchedule:
		return field.ErrorList{field.Forbidden(path, string(effect)+" is not supported yet: use NoSchedule, which keeps new templates out and leaves those that are there")}
	}
	return field.ErrorList{field.NotSupported(path, effect, []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute})}
}

// ValidateMemberClusterStatusUpdate checks a cluster whose status was changed.
func ValidateMemberClusterStatusUpdate(cluster, old *MemberCluster) field.ErrorList {
	path := field.NewPath("status")
	var errs field.ErrorList
	types := sets.New[string]()
	for i, condition := range cluster.Status.Conditions {
		if types.Has(condition.Type) {
			errs = append(errs, field.Duplicate(path.Child("conditions").Index(i).Child("type"), condition.Type))
		}
		types.Insert(condition.Type)
	}
	if is, was := cluster.Status.Session, old.Status.Session; was != nil && (is == nil || is.Epoch < was.Epoch) {
		errs = append(errs, field.Forbidden(path.Child("session", "epoch"), fmt.Sprintf("must not fall below %d: reports of older sessions would count again", was.Epoch)))
	}
	return errs
}
