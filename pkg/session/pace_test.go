package session

import (
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	linkv1 "windlass.dev/windlass/api/link/v1"
)

// beats lets one agent beat and returns when each beat came to the hub. The way takes so long, there and back.
func beats(first time.Time, count int, interval time.Duration, way func() time.Duration) []time.Time {
	var p pace
	came := []time.Time{first}
	for len(came) < count {
		now := came[len(came)-1]
		came = append(came, now.Add(p.next(now, interval)+way()))
	}
	return came
}

func TestHeartbeatsComeAtFewMomentsHoweverFarTheAgentsAre(t *testing.T) {
	const interval = 20 * time.Second
	random := rand.New(rand.NewPCG(1, 2))
	began := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	moments := map[time.Time]int{}
	for range 1000 {
		way := time.Duration(random.Int64N(int64(2 * time.Second)))
		first := began.Add(time.Duration(random.Int64N(int64(interval))))
		for _, at := range beats(first, 20, interval, func() time.Duration { return way })[18:] {
			moments[at]++
		}
	}
	if len(moments) > 2*paces+6 {
		t.Errorf("two heartbeats each of 1,000 agents came at %d moments", len(moments))
	}
	for at, count := range moments {
		if count > 150 {
			t.Errorf("%d came at %s: they are not spread over the interval", count, at)
		}
	}
}

func TestHeartbeatsKeepTheirIntervalWhateverTheWayDoes(t *testing.T) {
	const interval = 20 * time.Second
	random := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		longest := time.Duration(1 + random.Int64N(int64(2*time.Second)))
		came := beats(time.Unix(random.Int64N(1e9), 0), 100, interval, func() time.Duration {
			return time.Duration(random.Int64N(int64(longest)))
		})
		for i := 1; i < len(came); i++ {
			if took := came[i].Sub(came[i-1]); took < interval/2 || took > interval*3/2 {
				t.Fatalf("with ways of up to %s a heartbeat came %s after the one before", longest, took)
			}
		}
	}
}

func TestAHeartbeatThatIsMuchTooLateSaysNothingOfTheWay(t *testing.T) {
	for _, late := range []time.Duration{3 * time.Second, time.Hour} {
		p := pace{due: time.Unix(1000, 0)}
		if got := p.next(p.due.Add(late), 20*time.Second); got != 20*time.Second {
			t.Errorf("after one that is %s late the next shall come in %s", late, got)
		}
	}
}

func TestNoHubMakesAnAgentSilentForTooLong(t *testing.T) {
	w := newWorld()
	w.connect()
	w.deliverAll()
	w.agent.Receive(&linkv1.FromHub{Message: &linkv1.FromHub_Heartbeat{Heartbeat: &linkv1.Heartbeat{
		Number: 1, Next: durationpb.New(24 * time.Hour),
	}}}, w.now)
	if due := w.agent.Deadline(w.now).Sub(w.now); due > w.settings.WithDefaults().HeartbeatTimeout/2 {
		t.Errorf("the next heartbeat is due in %s", due)
	}
}
