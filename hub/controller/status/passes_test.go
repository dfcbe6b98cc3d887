package status

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"windlass.dev/windlass/hub/store/storetest"
)

// crowd is many bindings of many clusters, of each of which a cluster reports every millisecond.
type crowd struct {
	bindings, clusters int
	takes              time.Duration // of a pass, for each cluster
	passes             passes
	now                time.Time
	begun              map[types.NamespacedName][]time.Time
}

func (c *crowd) report(during time.Duration) {
	c.begun = map[types.NamespacedName][]time.Time{}
	for end := c.now.Add(during); c.now.Before(end); c.now = c.now.Add(time.Millisecond) {
		for i := range c.bindings {
			key := types.NamespacedName{Name: fmt.Sprint("b", i)}
			if c.passes.next(key, c.clusters, c.now) > 0 {
				continue
			}
			c.begun[key] = append(c.begun[key], c.now)
			c.passes.took(c.clusters, price(c.takes, c.clusters))
		}
	}
}

func (c *crowd) sum() int {
	sum := 0
	for _, begun := range c.begun {
		sum += len(begun)
	}
	return sum
}

func TestManyBindingsOfManyClustersShareTheHubsPasses(t *testing.T) {
	const during = 5 * time.Second
	for _, tt := range []struct {
		why                string
		bindings, clusters int
		takes              time.Duration // of a pass, for each cluster
		most               int           // passes of all together
		least              int           // of each
	}{
		{"one alone has a pass in 50 ms", 1, 1000, firstGuess, 100, 95},
		{"a hundred together have less than fifty in a second, and each has its turn", 100, 1000, firstGuess, 210, 2},
		{"the fewer clusters, the more", 100, 100, firstGuess, 2100, 20},
		{"on a machine that takes four times as long there are a quarter of them", 100, 1000, 4 * firstGuess, 65, 0},
		{"where a pass takes next to nothing there are more", 100, 1000, time.Microsecond, 3000, 10},
		{"of a machine that stands still only so much is believed", 100, 1000, time.Second, 35, 0},
		{"those of few clusters cost nothing to speak of", 100, quickPass, firstGuess, 100 * 5000, 5000},
	} {
		c := &crowd{bindings: tt.bindings, clusters: tt.clusters, takes: tt.takes, now: storetest.Began}
		c.report(during)
		if got := c.sum(); got > tt.most {
			t.Errorf("%s: %d passes", tt.why, got)
		}
		for key, begun := range c.begun {
			if len(begun) < tt.least {
				t.Errorf("%s: %s had %d passes", tt.why, key.Name, len(begun))
			}
		}
		if len(c.begun) != tt.bindings && tt.least > 0 {
			t.Errorf("%s: %d of %d bindings had a pass", tt.why, len(c.begun), tt.bindings)
		}
	}
}

func TestABindingOfFewClustersIsSummedUpOnceForWhatComesInOneMoment(t *testing.T) {
	const gather = 5 * time.Millisecond
	c := &crowd{bindings: 3, clusters: quickPass, now: storetest.Began, passes: passes{gather: gather}}
	c.report(time.Second) // one each millisecond
	for key, begun := range c.begun {
		for i, at := range begun {
			if i > 0 && at.Sub(begun[i-1]) <= gather {
				t.Errorf("%s was summed up again after %v", key.Name, at.Sub(begun[i-1]))
			}
		}
		if len(begun) < 100 {
			t.Errorf("%s had %d passes in a second", key.Name, len(begun))
		}
	}
	if len(c.begun) != c.bindings {
		t.Errorf("%d of %d bindings had a pass", len(c.begun), c.bindings)
	}
}

// queue is one look at many bindings, of which each has its turn, and tells when the last has it.
func queue(passes *passes, bindings, clusters int, takes time.Duration, from time.Time) (took time.Duration) {
	waiting := map[int]bool{}
	for i := range bindings {
		waiting[i] = true
	}
	for now := from; len(waiting) > 0; now = now.Add(10 * time.Millisecond) {
		for i := range bindings {
			if waiting[i] && passes.next(types.NamespacedName{Name: fmt.Sprint("b", i)}, clusters, now) <= 0 {
				delete(waiting, i)
				passes.took(clusters, takes)
				took = now.Sub(from)
			}
		}
	}
	return took
}

func TestTurnsThatWereAskedForWhileTheyWereDearGetCheaper(t *testing.T) {
	const bindings, clusters = 2000, 800 // a hub starts, and none of them has anything new to say
	var p passes
	took := queue(&p, bindings, clusters, clusters*time.Microsecond, storetest.Began)
	if most := price(6*time.Microsecond, bindings*clusters); took > most {
		t.Errorf("the last has its turn after %s", took)
	}
}

func TestWhoWaitsForATurnAsksAgainSoon(t *testing.T) {
	p := passes{line: 1 << 40, at: storetest.Began}
	if wait := p.next(types.NamespacedName{Name: "b"}, 1000, storetest.Began); wait != longestWait {
		t.Errorf("it asks again after %s", wait)
	}
}

// Of a pass over a few clusters nearly all is the wait for the store, which keeps nobody from anything.
func TestBindingsOfFewerClustersDoNotMakeTheTurnsOfManyDear(t *testing.T) {
	var p passes
	queue(&p, 1000, 25, 5*time.Millisecond, storetest.Began)
	if p.takes > firstGuess {
		t.Errorf("a pass is said to take %s for each cluster", p.takes)
	}
}

func TestAPassThatFailedKeepsItsTurn(t *testing.T) {
	for _, clusters := range []int{quickPass, 1000} {
		p := passes{gather: 5 * time.Millisecond}
		key, now := types.NamespacedName{Name: "b"}, storetest.Began
		for wait := p.next(key, clusters, now); wait > 0; wait = p.next(key, clusters, now) {
			now = now.Add(wait)
		}
		p.next(types.NamespacedName{Name: "other"}, clusters, now)
		p.again(key)
		if wait := p.next(key, clusters, now); wait > 0 {
			t.Errorf("of %d clusters: it waits %s for another turn", clusters, wait)
		}
	}
}

func TestABindingThatIsForgottenHoldsUpNobody(t *testing.T) {
	c := &crowd{bindings: 100, clusters: 1000, now: storetest.Began}
	c.report(time.Second)
	for i := range c.bindings {
		c.passes.forget(types.NamespacedName{Name: fmt.Sprint("b", i)})
	}
	if len(c.passes.turns) > 0 {
		t.Errorf("it remembers %d turns", len(c.passes.turns))
	}
	c.now = c.now.Add(time.Minute)
	if wait := c.passes.next(types.NamespacedName{Name: "other"}, 1000, c.now); wait > 0 {
		t.Errorf("another waits for %s", wait)
	}
}
