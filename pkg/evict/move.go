package evict

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// Move returns the tasks of a binding whose template the hub moves by itself, without a word of its users: because a cluster
// came back, or because the whole is placed anew. Where it gains replicas, those have to be healthy before they are taken away
// elsewhere, as in a drain. Next is where it goes from now on; gone says of a cluster that it leaves the hub, with all that is in it;
// ends is true of a template that comes to an end by itself, whose parts are never cut.
func Move(spec *workv1alpha1.BindingSpec, next []workv1alpha1.TargetCluster, gone func(cluster string) bool, ends bool, now time.Time) []workv1alpha1.GracefulEvictionTask {
	tasks := spec.GracefulEvictionTasks
	if !gains(spec.Clusters, next) {
		return tasks
	}
	for _, before := range spec.Clusters {
		if gone(before.Name) || slices.ContainsFunc(tasks, func(t workv1alpha1.GracefulEvictionTask) bool { return t.FromCluster == before.Name }) {
			continue
		}
		after := targetOf(next, before.Name)
		if after != nil && (ends || spec.Replicas == nil || !divided(spec.Placement) || after.Replicas >= before.Replicas) {
			continue
		}
		task := workv1alpha1.GracefulEvictionTask{
			FromCluster: before.Name, PurgeMode: policyv1alpha1.PurgeGracefully, Reason: ReasonRescheduled,
			Message:  "the scheduler has moved it: what is here stays until the other copies are healthy",
			Producer: producerOfMoves, CreationTimestamp: ptr.To(metav1.NewTime(now).Rfc3339Copy()),
		}
		if spec.Replicas != nil {
			task.Replicas = ptr.To(before.Replicas)
		}
		tasks = append(slices.Clip(tasks), task)
	}
	slices.SortFunc(tasks, func(a, b workv1alpha1.GracefulEvictionTask) int { return strings.Compare(a.FromCluster, b.FromCluster) })
	return tasks
}

// Follow has the tasks of a binding follow a decision by which it goes to next from now on. A cluster that is left keeps what it has by now,
// whatever it had when the task was made. And where the whole has fewer replicas, which only its users make it have, all that is
// kept becomes fewer in proportion: it stands for a part of the whole.
func Follow(spec *workv1alpha1.BindingSpec, tasks []workv1alpha1.GracefulEvictionTask, next []workv1alpha1.TargetCluster) []workv1alpha1.GracefulEvictionTask {
	if spec.Replicas == nil || len(tasks) == 0 {
		return tasks
	}
	from, to := replicasOf(spec.Clusters), replicasOf(next)
	fewer := divided(spec.Placement) && 0 < to && to < from && to == int64(*spec.Replicas)
	tasks = slices.Clone(tasks)
	for i := range tasks {
		task := &tasks[i]
		if had := targetOf(spec.Clusters, task.FromCluster); had != nil && targetOf(next, task.FromCluster) == nil {
			kept := had.Replicas
			if task.Reason == ReasonRescheduled {
				kept = max(kept, ptr.Deref(task.Replicas, 0))
			}
			task.Replicas = &kept
		}
		if fewer && task.Replicas != nil {
			task.Replicas = ptr.To(int32((int64(*task.Replicas)*to + from - 1) / from))
		}
	}
	return tasks
}

func replicasOf(targets []workv1alpha1.TargetCluster) int64 {
	var sum int64
	for _, target := range targets {
		sum += int64(target.Replicas)
	}
	return sum
}

// gains says whether a cluster gets a template, or more of it.
func gains(before, after []workv1alpha1.TargetCluster) bool {
	return slices.ContainsFunc(after, func(t workv1alpha1.TargetCluster) bool {
		had := targetOf(before, t.Name)
		return had == nil || t.Replicas > had.Replicas
	})
}

// Keeping is a cluster that a binding goes to with as many replicas as it has for now: more than it shall have, while those that
// were moved away from it are not healthy elsewhere, and never more than the template asks for.
func Keeping(spec *workv1alpha1.BindingSpec, target workv1alpha1.TargetCluster) workv1alpha1.TargetCluster {
	for _, task := range spec.GracefulEvictionTasks {
		if task.Reason == ReasonRescheduled && task.FromCluster == target.Name && task.Replicas != nil && spec.Replicas != nil {
			target.Replicas = max(target.Replicas, min(*task.Replicas, *spec.Replicas))
		}
	}
	return target
}

// Written are the replicas with which a template was last written for clusters that have it; nil for a cluster of which that is not known.
type Written func(cluster string) *int32

// Left are the clusters that a binding does not go to any more and that have a copy still, with as many replicas as each keeps for now:
// what it had, and never more than the template asks for. Where nobody knows what it had, it only becomes less.
func Left(spec *workv1alpha1.BindingSpec, written Written) []workv1alpha1.TargetCluster {
	var left []workv1alpha1.TargetCluster
	for _, task := range spec.GracefulEvictionTasks {
		has := written(task.FromCluster)
		if spec.Replicas == nil || has == nil || targetOf(spec.Clusters, task.FromCluster) != nil {
			continue
		}
		left = append(left, workv1alpha1.TargetCluster{Name: task.FromCluster, Replicas: min(ptr.Deref(task.Replicas, *has), *spec.Replicas)})
	}
	return left
}

// Surplus are the clusters of a binding that no policy claims any more which have more replicas than they are to keep for now, with those
// that they are to keep: a move has come to its end. There is none before all clusters have all that they are to have. What a cluster has
// more for another reason, such as an override that can't be made, nobody decided to take away, and it stays.
func Surplus(spec *workv1alpha1.BindingSpec, written Written) []workv1alpha1.TargetCluster {
	if spec.Replicas == nil || !complete(spec) {
		return nil
	}
	var surplus []workv1alpha1.TargetCluster
	for _, target := range spec.Clusters {
		has, keeps := written(target.Name), Keeping(spec, target)
		switch {
		case has == nil || *has < target.Replicas:
			return nil
		case *has > keeps.Replicas && moving(spec, target.Name):
			surplus = append(surplus, keeps)
		}
	}
	return surplus
}

// moving says whether replicas were moved away from a cluster, and that is not over.
func moving(spec *workv1alpha1.BindingSpec, cluster string) bool {
	return slices.ContainsFunc(spec.GracefulEvictionTasks, func(task workv1alpha1.GracefulEvictionTask) bool {
		return task.FromCluster == cluster && task.Reason == ReasonRescheduled
	})
}

// mostNamed bounds the clusters that a message names.
const mostNamed = 3

// Kept says for a person which clusters keep what was moved away from them; empty when none does.
func Kept(tasks []workv1alpha1.GracefulEvictionTask) string {
	var names []string
	for _, task := range tasks {
		if task.Reason == ReasonRescheduled {
			names = append(names, task.FromCluster)
		}
	}
	if len(names) == 0 {
		return ""
	}
	verb := "keeps"
	if len(names) > 1 {
		verb = "keep"
	}
	return few(names) + " " + verb + " what was there until it is healthy elsewhere"
}

// BeingLeft says for a person which clusters a template is leaving, for whatever reason, and does not go to any more; empty when there is none.
func BeingLeft(spec *workv1alpha1.BindingSpec) string {
	var names []string
	for _, task := range spec.GracefulEvictionTasks {
		if targetOf(spec.Clusters, task.FromCluster) == nil {
			names = append(names, task.FromCluster)
		}
	}
	return few(names)
}

func few(names []string) string {
	said := strings.Join(names[:min(len(names), mostNamed)], ", ")
	if more := len(names) - mostNamed; more > 0 {
		said += fmt.Sprintf(" and %d more", more)
	}
	return said
}
