package state

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// writeTakes is how long a member's API takes for a write in these tests, by their own clock.
const writeTakes = 5 * time.Millisecond

// timedSecrets need time for every write.
type timedSecrets struct{ *fakeSecrets }

func (s timedSecrets) Create(ctx context.Context, secret *corev1.Secret) (*corev1.Secret, error) {
	time.Sleep(writeTakes)
	return s.fakeSecrets.Create(ctx, secret)
}

func (s timedSecrets) Update(ctx context.Context, secret *corev1.Secret) (*corev1.Secret, error) {
	time.Sleep(writeTakes)
	return s.fakeSecrets.Update(ctx, secret)
}

// trickle has works come one by one, and returns when all are durable.
func trickle(t *testing.T, store *Store, works int, between time.Duration) {
	t.Helper()
	var group sync.WaitGroup
	for i := range works {
		group.Go(func() { put(t, store, makeWork(fmt.Sprint("work-", i), 1, 100)) })
		time.Sleep(between)
	}
	group.Wait()
}

func TestABurstThatComesInOneByOneSharesWritesOfTheJournal(t *testing.T) {
	for _, c := range []struct {
		reason  string
		between time.Duration
		writes  int
	}{
		{"one every 2 ms for a second: a write of 5 ms and a rest of 20", 2 * time.Millisecond, 41},
		{"one every 10 ms for five seconds: the same", 10 * time.Millisecond, 201},
		{"one every 30 ms: none meets a write or the rest after it", 30 * time.Millisecond, 500},
	} {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				secrets := timedSecrets{newFakeSecrets()}
				store, stop := open(t, secrets, func(c *Config) { c.FlushInterval = time.Hour })
				trickle(t, store, 500, c.between)
				if writes := secrets.written(journalName); writes != c.writes {
					t.Errorf("500 works took %d writes of the journal, want %d", writes, c.writes)
				}
				if known := reload(t, secrets.clone()).Keys(); len(known) != 500 {
					t.Errorf("all are said to be durable, and after a crash %d are known", len(known))
				}
				_ = stop()
			})
		})
	}
}

func TestWhatMeetsAJournalThatIsNotBusyIsWrittenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, stop := open(t, timedSecrets{newFakeSecrets()}, func(c *Config) { c.FlushInterval = time.Hour })
		for i := range 3 {
			began := time.Now()
			put(t, store, makeWork(fmt.Sprint("work-", i), 1, 100))
			if took := time.Since(began); took != writeTakes {
				t.Errorf("work %d was durable after %v, want the %v of the write", i, took, writeTakes)
			}
			time.Sleep(restAfterWrite * writeTakes)
		}
		_ = stop()
	})
}

func TestTheJournalOfAMemberThatIsSlowRestsNoLongerThanItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 7 * time.Millisecond // less than four writes
		store, stop := open(t, timedSecrets{newFakeSecrets()}, func(c *Config) { c.FlushInterval, c.MostRest = time.Hour, most })
		put(t, store, makeWork("a", 1, 100))
		began := time.Now()
		put(t, store, makeWork("b", 1, 100))
		if took := time.Since(began); took != most+writeTakes {
			t.Errorf("right after another a work was durable after %v, want %v", took, most+writeTakes)
		}
		_ = stop()
	})
}
