package schedule

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

func TestReplicasAreApportionedByWeight(t *testing.T) {
	tests := []struct {
		reason     string
		replicas   int32
		weights    []int64
		descending bool
		want       []int32
	}{
		{"the quickstart's division", 6, []int64{2, 1}, false, []int32{4, 2}},
		{"9 over 1:2 goes without a remainder", 9, []int64{1, 2}, false, []int32{3, 6}},
		{"9 over 1:3 is 2.25 and 6.75, which rounds to whole replicas", 9, []int64{1, 3}, false, []int32{2, 7}},
		{"the remainder of equal weights goes to the first names", 5, []int64{1, 1, 1}, false, []int32{2, 2, 1}},
		{"or to the last ones", 5, []int64{1, 1, 1}, true, []int32{1, 2, 2}},
		{"fewer replicas than clusters leave some with none", 2, []int64{1, 1, 1}, false, []int32{1, 1, 0}},
		{"with the same quotient the cluster that has fewer is first: 1/1 before 3/3", 2, []int64{3, 1}, false, []int32{1, 1}},
		{"which does not depend on the direction of names", 2, []int64{3, 1}, true, []int32{1, 1}},
		{"no replicas are nobody's", 0, []int64{1, 2}, false, []int32{0, 0}},
		{"a cluster without weight gets nothing", 7, []int64{0, 5, 0}, false, []int32{0, 7, 0}},
		{"no weights at all", 7, []int64{0, 0}, false, []int32{0, 0}},
		{"no clusters", 7, nil, false, []int32{}},
		{"a heavy weight leaves a light one without", 3, []int64{100, 1}, false, []int32{3, 0}},
		{"the largest weights there are", 3, []int64{math.MaxInt64, math.MaxInt64, math.MaxInt64}, false, []int32{1, 1, 1}},
		{"the most replicas by the largest weights, which are not given out one by one", math.MaxInt32, []int64{math.MaxInt64, math.MaxInt64, math.MaxInt64}, false,
			[]int32{math.MaxInt32/3 + 1, math.MaxInt32 / 3, math.MaxInt32 / 3}},
		{"the most replicas by weights with a sum above 2^64, one of them next to nothing", math.MaxInt32, []int64{math.MaxInt64, 1, math.MaxInt64, math.MaxInt64 / 2}, false,
			[]int32{858993459, 0, 858993459, 429496729}},
		{"the most replicas there are", math.MaxInt32, []int64{1, 1}, true, []int32{math.MaxInt32 / 2, math.MaxInt32/2 + 1}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			got := apportion(test.replicas, test.weights, test.descending)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("apportion(%d, %v) (-want +got):\n%s", test.replicas, test.weights, diff)
			}
		})
	}
}

// referenceApportion is the rule as it is written down: one replica after the other, with fractions.
func referenceApportion(replicas int32, weights []int64, descending bool) []int32 {
	shares := make([]int32, len(weights))
	for range replicas {
		best := -1
		for i, weight := range weights {
			if weight > 0 && (best < 0 || referenceBefore(weights, shares, i, best, descending)) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		shares[best]++
	}
	return shares
}

func referenceBefore(weights []int64, shares []int32, i, j int, descending bool) bool {
	quotient := func(k int) *big.Rat { return big.NewRat(weights[k], 2*int64(shares[k])+1) }
	if order := quotient(i).Cmp(quotient(j)); order != 0 {
		return order > 0
	}
	if shares[i] != shares[j] {
		return shares[i] < shares[j]
	}
	if descending {
		return i > j
	}
	return i < j
}

func TestApportioningAgreesWithTheRuleInExactFractions(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	largest := []int64{1, 2, 3, 10, 1000, math.MaxInt64}
	for round := range 4000 {
		weights := make([]int64, 1+random.IntN(12))
		most := largest[random.IntN(len(largest))]
		for i := range weights {
			weights[i] = random.Int64N(most)
			if random.IntN(8) > 0 && weights[i] == 0 {
				weights[i] = 1
			}
		}
		replicas, descending := int32(random.IntN(120)), random.IntN(2) == 0
		want := referenceApportion(replicas, weights, descending)
		got := apportion(replicas, weights, descending)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("round %d: apportion(%d, %v, descending %t) (-want +got):\n%s", round, replicas, weights, descending, diff)
		}
	}
}

func TestNextToNothingIsGivenOutOneByOne(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		n, replicas := 1+random.IntN(1500), random.Int32N(math.MaxInt32)
		q := &queue{shares: make([]int32, n)}
		for i := range n {
			q.weights, q.order = append(q.weights, math.MaxInt64-random.Int64N(1<<random.IntN(63))), append(q.order, i)
		}
		if left := replicas - q.headStart(replicas); left < 0 || left > 2*int32(n) {
			t.Fatalf("%d of %d replicas are left for %d clusters", left, replicas, n)
		}
	}
}

func TestEveryReplicaIsGivenOut(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		weights := make([]int64, 1+random.IntN(1500))
		for i := range weights {
			weights[i] = 1 + random.Int64N(1<<random.IntN(60))
		}
		replicas := random.Int32N(math.MaxInt32)
		var sum int64
		for i, share := range apportion(replicas, weights, false) {
			if share < 0 {
				t.Fatalf("cluster %d of %v got %d", i, weights, share)
			}
			sum += int64(share)
		}
		if sum != int64(replicas) {
			t.Fatalf("%d replicas over %d clusters: %d were given out", replicas, len(weights), sum)
		}
	}
}

func FuzzApportion(f *testing.F) {
	f.Add(int32(9), int64(1), int64(3), int64(0), true)
	f.Add(int32(120), int64(math.MaxInt64), int64(1), int64(7), false)
	f.Fuzz(func(t *testing.T, replicas int32, a, b, c int64, descending bool) {
		weights := []int64{max(a, 0), max(b, 0), max(c, 0)}
		replicas = max(replicas, 0) % 500
		if diff := cmp.Diff(referenceApportion(replicas, weights, descending), apportion(replicas, weights, descending)); diff != "" {
			t.Errorf("apportion(%d, %v, %t) (-want +got):\n%s", replicas, weights, descending, diff)
		}
	})
}

func TestTheDirectionOfTiesComesFromTheTemplate(t *testing.T) {
	if descending("") {
		t.Error("without a UID ties go to the first name")
	}
	// 32-bit FNV-1a of "a" is 0xe40c292c, of "b" 0xe70c2de5.
	if descending("a") || !descending("b") {
		t.Error("ties go to the last name where the hash of the UID is odd")
	}
	last := 0
	for i := range 1000 {
		if descending(types.UID(fmt.Sprintf("7d1b6c8a-%04d", i))) {
			last++
		}
	}
	if last < 400 || last > 600 {
		t.Errorf("of 1000 templates %d give ties to the last name; about half should", last)
	}
}
