package state

import (
	"context"
	"errors"
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

// shardWrites counts the writes of all shards.
func (f *fakeSecrets) shardWrites() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	writes := 0
	for name, times := range f.writes {
		if _, isShard := prefixOf(name); isShard {
			writes += times
		}
	}
	return writes
}

func TestShardsAreWrittenOnceChangesHaveEnded(t *testing.T) {
	for _, c := range []struct {
		reason  string
		works   int
		between time.Duration
		writes  int
	}{
		{"one change", 1, 0, 1},
		{"a burst of a second", 100, 10 * time.Millisecond, 1},
		{"changes that do not end for 9 s: every 2 s, and after the last", 90, 100 * time.Millisecond, 5},
		{"each after the one before was written", 5, time.Second, 5},
	} {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				secrets := timedSecrets{newFakeSecrets()}
				store, stop := open(t, secrets, func(c *Config) { c.FlushInterval = defaultFlushInterval })
				time.Sleep(10 * time.Second) // the flush after Load, which finds nothing
				trickle(t, store, c.works, c.between)
				time.Sleep(2 * defaultFlushInterval)
				synctest.Wait()
				if writes := secrets.shardWrites(); writes != c.writes {
					t.Errorf("%d works took %d writes of shards, want %d", c.works, writes, c.writes)
				}
				for _, ref := range reload(t, secrets.clone()).Known() {
					if len(ref.GetHash()) == 0 {
						t.Errorf("the manifests of %s are not kept", ref.GetKey())
					}
				}
				_ = stop()
			})
		})
	}
}

func TestAFullJournalDoesNotWaitForChangesToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secrets := timedSecrets{newFakeSecrets()}
		store, stop := open(t, secrets, func(c *Config) { c.FlushInterval, c.JournalBytes = time.Hour, 600 })
		began := time.Now()
		trickle(t, store, 50, 10*time.Millisecond)
		if took := time.Since(began); took > time.Minute {
			t.Errorf("50 works were durable after %v: the journal waited for the shards", took)
		}
		if secrets.shardWrites() == 0 {
			t.Error("the journal was never full: the test tests nothing")
		}
		_ = stop()
	})
}

func TestAFullJournalDoesNotHurryAMemberThatRefusesTheShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secrets := timedSecrets{newFakeSecrets()}
		attempts := 0
		secrets.refuse = func(name string) error {
			if _, isShard := prefixOf(name); isShard {
				attempts++
				return errors.New("disk full")
			}
			return nil
		}
		store, stop := open(t, secrets, func(c *Config) { c.FlushInterval, c.JournalBytes = time.Second, 1 })
		put(t, store, makeWork("a", 1, 100))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := store.Put(ctx, makeWork("b", 1, 100)); err == nil {
			t.Error("the journal may not grow, and did")
		}
		synctest.Wait()
		if attempts != 5 { // at once, and then after 2, 4, 8 and 16 s
			t.Errorf("the shards were tried %d times within a minute, want 5", attempts)
		}
		_ = stop()
	})
}
