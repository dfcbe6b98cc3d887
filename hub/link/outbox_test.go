package link

import (
	"slices"
	"testing"
	"testing/synctest"

	linkv1 "windlass.dev/windlass/api/link/v1"
)

func beat(number uint64) *linkv1.FromHub {
	return &linkv1.FromHub{Message: &linkv1.FromHub_Heartbeat{Heartbeat: &linkv1.Heartbeat{Number: number}}}
}

func TestAnOutboxSendsInOrderAndHoldsNoGoroutineWhileNothingWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []uint64
		o := newOutbox(10, func(m *linkv1.FromHub) bool { got = append(got, m.GetHeartbeat().GetNumber()); return true })
		for round := range uint64(3) {
			for i := range uint64(3) {
				if !o.put(beat(3*round + i)) {
					t.Fatal("too many wait")
				}
			}
			synctest.Wait()
			if o.sending || o.waiting != nil {
				t.Errorf("after round %d it is still sending", round)
			}
		}
		if !slices.IsSorted(got) || len(got) != 9 {
			t.Errorf("sent %v", got)
		}
		<-o.finish()
	})
}

func TestAnOutboxIsBoundedAndSendsWhatItHasBeforeItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads, count := make(chan struct{}), 0
		o := newOutbox(2, func(*linkv1.FromHub) bool { <-reads; count++; return true })
		o.put(beat(0))
		synctest.Wait() // that one is being sent
		if !o.put(beat(1)) || !o.put(beat(2)) || o.put(beat(3)) {
			t.Error("not two wait at most")
		}
		sent := o.finish()
		o.put(beat(4))
		select {
		case <-sent:
			t.Error("it has ended before it has sent what waits")
		default:
		}
		close(reads)
		<-sent
		if count != 3 {
			t.Errorf("sent %d, want the 3 that were put before the end", count)
		}
	})
}

func TestAnOutboxSendsNothingMoreWhenItsStreamIsGivenUpOrCanNotSend(t *testing.T) {
	for _, test := range []struct {
		reason string
		sends  bool
	}{{"it is given up", true}, {"sending fails", false}} {
		t.Run(test.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reads, count := make(chan struct{}), 0
				o := newOutbox(9, func(*linkv1.FromHub) bool { <-reads; count++; return test.sends })
				o.put(beat(0))
				o.put(beat(1))
				synctest.Wait()
				if test.sends {
					o.drop()
				}
				close(reads)
				<-o.finish()
				if count != 1 {
					t.Errorf("sent %d, want the one that was under way", count)
				}
			})
		})
	}
}
