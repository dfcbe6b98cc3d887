package v1alpha1

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
)

func addDefaultingFuncs(scheme *runtime.Scheme) error {
	scheme.AddTypeDefaultingFunc(&PropagationPolicy{}, func(obj any) { defaultPolicy(obj.(*PropagationPolicy)) })
	scheme.AddTypeDefaultingFunc(&PropagationPolicyList{}, func(obj any) {
		for i := range obj.(*PropagationPolicyList).Items {
			defaultPolicy(&obj.(*PropagationPolicyList).Items[i])
		}
	})
	scheme.AddTypeDefaultingFunc(&ClusterPropagationPolicy{}, func(obj any) { defaultPolicy(obj.(*ClusterPropagationPolicy)) })
	scheme.AddTypeDefaultingFunc(&ClusterPropagationPolicyList{}, func(obj any) {
		for i := range obj.(*ClusterPropagationPolicyList).Items {
			defaultPolicy(&obj.(*ClusterPropagationPolicyList).Items[i])
		}
	})
	return nil
}

// defaultPolicy fills in what Karmada's schema and webhook fill in.
func defaultPolicy(policy Policy) {
	spec := policy.GetSpec()
	for i := range spec.ResourceSelectors {
		if spec.ResourceSelectors[i].Namespace == "" {
			spec.ResourceSelectors[i].Namespace = policy.GetNamespace()
		}
	}
	if spec.Priority == nil {
		spec.Priority = ptr.To[int32](0)
	}
	setDefault(&spec.Preemption, PreemptNever)
	setDefault(&spec.SchedulerName, DefaultSchedulerName)
	setDefault(&spec.ConflictResolution, ConflictAbort)
	defaultPlacement(&spec.Placement)
	if spec.Failover != nil {
		defaultFailover(spec.Failover)
	}
}

func defaultPlacement(placement *Placement) {
	for i := range placement.SpreadConstraints {
		constraint := &placement.SpreadConstraints[i]
		if constraint.SpreadByField == "" && constraint.SpreadByLabel == "" {
			constraint.SpreadByField = SpreadByFieldCluster
		}
		setDefault(&constraint.MinGroups, 1)
	}
	if strategy := placement.ReplicaScheduling; strategy != nil {
		setDefault(&strategy.ReplicaSchedulingType, ReplicaSchedulingDivided)
		if strategy.ReplicaSchedulingType == ReplicaSchedulingDivided {
			setDefault(&strategy.ReplicaDivisionPreference, ReplicaDivisionWeighted)
		}
	}
}

func defaultFailover(failover *FailoverBehavior) {
	if application := failover.Application; application != nil {
		if application.DecisionConditions.TolerationSeconds == nil {
			application.DecisionConditions.TolerationSeconds = ptr.To[int32](300)
		}
		application.PurgeMode = currentPurgeMode(application.PurgeMode)
		if application.PurgeMode == PurgeGracefully && application.GracePeriodSeconds == nil {
			application.GracePeriodSeconds = ptr.To[int32](600)
		}
	}
	if failover.Cluster != nil {
		failover.Cluster.PurgeMode = currentPurgeMode(failover.Cluster.PurgeMode)
	}
}

// currentPurgeMode maps the names that purge modes bore up to Karmada v1.18.
func currentPurgeMode(mode PurgeMode) PurgeMode {
	switch mode {
	case "", PurgeGraciously:
		return PurgeGracefully
	case PurgeImmediately:
		return PurgeDirectly
	}
	return mode
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
