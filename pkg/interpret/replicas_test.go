package interpret

import (
	"math"
	"slices"
	"testing"
	"testing/quick"

	"github.com/google/go-cmp/cmp"
)

func TestReviseReplicasSetsTheNumberThatReplicasReads(t *testing.T) {
	for _, kind := range []string{
		"{apiVersion: apps/v1, kind: Deployment}",
		"{apiVersion: apps/v1, kind: ReplicaSet, spec: {replicas: 7}}",
		"{apiVersion: apps/v1, kind: StatefulSet}",
		"{apiVersion: batch/v1, kind: Job, spec: {parallelism: 7, completions: 9}}",
	} {
		obj := parseObject(t, kind)
		if !ReviseReplicas(obj, 4) {
			t.Errorf("%s: could not be revised", kind)
		}
		if n, _ := Replicas(obj); n == nil || *n != 4 {
			t.Errorf("%s: replicas are %v after they were set to 4", kind, n)
		}
	}
}

func TestWhatHasNoSettableReplicasIsNotRevised(t *testing.T) {
	for _, kind := range []string{
		"{apiVersion: v1, kind: Pod}",
		"{apiVersion: v1, kind: ConfigMap}",
		"{apiVersion: example.com/v1, kind: Deployment, spec: {replicas: 3}}",
	} {
		obj := parseObject(t, kind)
		before := obj.DeepCopy()
		if ReviseReplicas(obj, 4) {
			t.Errorf("%s: was revised", kind)
		}
		if diff := cmp.Diff(before, obj); diff != "" {
			t.Errorf("%s: was changed:\n%s", kind, diff)
		}
	}
}

func TestCompletionsAreDividedAlongTheParallelism(t *testing.T) {
	for _, test := range []struct {
		reason      string
		total       int32
		parallelism []int32
		want        []int32
	}{
		{"in proportion", 12, []int32{2, 1}, []int32{8, 4}},
		{"the largest remainder gets what is left", 5, []int32{2, 1}, []int32{3, 2}},
		{"among equal remainders the first gets it", 4, []int32{1, 1, 1}, []int32{2, 1, 1}},
		{"fewer completions than clusters", 1, []int32{1, 3}, []int32{0, 1}},
		{"a cluster without pods completes nothing", 6, []int32{0, 3}, []int32{0, 6}},
		{"without any parallelism as even as can be", 5, []int32{0, 0}, []int32{3, 2}},
		{"nothing to divide", 0, []int32{2, 1}, []int32{0, 0}},
		{"nobody to divide among", 5, nil, []int32{}},
		{"no overflow", math.MaxInt32, []int32{math.MaxInt32, math.MaxInt32}, []int32{1 << 30, 1<<30 - 1}},
	} {
		if diff := cmp.Diff(test.want, DivideCompletions(test.total, test.parallelism)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", test.reason, diff)
		}
	}
}

// slowDivide gives every part what is certainly its own, and then one by one to who is owed most.
func slowDivide(total int32, parallelism []int32) []int32 {
	parts := make([]int32, len(parallelism))
	var sum int64
	for _, n := range parallelism {
		sum += int64(n)
	}
	given := make([]int64, len(parts)) // times sum
	left := int64(total)
	for i, n := range parallelism {
		parts[i] = int32(int64(total) * int64(n) / sum)
		given[i] = int64(parts[i]) * sum
		left -= int64(parts[i])
	}
	for ; left > 0; left-- {
		most := 0
		for i, n := range parallelism {
			owed := func(i int, n int32) int64 { return int64(total)*int64(n) - given[i] }
			if owed(i, n) > owed(most, parallelism[most]) {
				most = i
			}
		}
		parts[most]++
		given[most] += sum
	}
	return parts
}

func TestDivideCompletionsAgreesWithTheSlowWay(t *testing.T) {
	agrees := func(total uint16, parallelism []uint8) bool {
		shares := make([]int32, len(parallelism)+1)
		shares[0] = 1
		for i, n := range parallelism {
			shares[i+1] = int32(n)
		}
		got := DivideCompletions(int32(total), shares)
		var sum int32
		for _, n := range got {
			sum += n
		}
		return sum == int32(total) && slices.Equal(got, slowDivide(int32(total), shares))
	}
	if err := quick.Check(agrees, nil); err != nil {
		t.Error(err)
	}
}

func TestReplicasThatNeedNothingHaveNoRequirements(t *testing.T) {
	obj := parseObject(t, `{apiVersion: apps/v1, kind: Deployment, spec: {template: {spec: {containers: [{name: a, resources: {requests: {cpu: "0"}}}]}}}}`)
	if n, needs := Replicas(obj); n == nil || *n != 1 || needs != nil {
		t.Errorf("replicas %v, requirements %v; want 1 and none", n, needs)
	}
}
