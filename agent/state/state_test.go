package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/pkg/manifest"
	"windlass.dev/windlass/pkg/session"
)

// makeWork makes a work of one ConfigMap with as many bytes of data that do not compress.
func makeWork(key string, generation int64, size int) *linkv1.Work {
	seed := uint64(generation)
	for _, c := range []byte(key) {
		seed = seed*31 + uint64(c)
	}
	random := rand.New(rand.NewPCG(seed, 0))
	data := make([]byte, size)
	for i := range data {
		data[i] = 'a' + byte(random.IntN(26))
	}
	manifest := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"namespace":"n"},"data":{"d":%q}}`, key, data)
	return &linkv1.Work{
		Key: key, Uid: "uid-" + key, Generation: generation, Hash: fmt.Appendf(nil, "%s/%d", key, generation),
		Manifests: [][]byte{[]byte(manifest)}, Revision: 7, Incarnation: "i",
	}
}

func put(t *testing.T, store *Store, work *linkv1.Work) {
	t.Helper()
	if err := store.Put(t.Context(), work); err != nil {
		t.Fatal(err)
	}
}

// held describes what a store holds, for comparing.
func held(store *Store) map[string]string {
	all := map[string]string{}
	for _, key := range store.Keys() {
		e, _ := store.Get(key)
		manifests := "lost"
		if e.Work != nil {
			manifests = string(e.Work.GetManifests()[0])
		}
		all[key] = fmt.Sprintf("%s %d %s %v %v %s", e.UID, e.Generation, e.Hash, e.Objects, e.Removal, manifests)
	}
	return all
}

func TestNoAccountIsKeptOfWhoWritesTheState(t *testing.T) {
	secrets := newFakeSecrets()
	store, stop := open(t, secrets)
	put(t, store, makeWork("a", 1, 100))
	put(t, store, makeWork("a", 2, 100))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for name, secret := range secrets.held {
		if diff := cmp.Diff([]metav1.ManagedFieldsEntry{{}}, secret.ManagedFields); diff != "" {
			t.Errorf("%s is written so that an account is kept (-want +got):\n%s", name, diff)
		}
	}
}

func TestAChangeWritesASmallPartOfTheState(t *testing.T) {
	const works, most = 1000, 16 << 10
	secrets := newFakeSecrets()
	store := reload(t, secrets)
	for i := range works {
		store.Hold(makeWork(fmt.Sprint("work-", i), 1, 100))
	}
	if err := store.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := maps.Clone(secrets.writes)
	store.Pruned("work-7", "uid-work-7", 1, nil)
	if err := store.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	written := 0
	for name, secret := range secrets.held {
		if secrets.writes[name] != before[name] {
			written += len(secret.Data[contentKey])
		}
	}
	if written == 0 || written > most {
		t.Errorf("beside %d works a change of one wrote %d bytes, want at most %d", works, written, most)
	}
}

func TestWhatWasPutIsThereAfterACleanRestart(t *testing.T) {
	secrets := newFakeSecrets()
	store, stop := open(t, secrets)
	for i := range 20 {
		put(t, store, makeWork(fmt.Sprint("work-", i), 1, 100))
	}
	mark := session.Mark{HubID: "h", Incarnation: "i", Revision: 12, Epoch: 3}
	if err := store.SetMark(t.Context(), mark); err != nil {
		t.Fatal(err)
	}
	want := held(store)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	again, _ := open(t, secrets)
	if diff := cmp.Diff(want, held(again)); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
	if again.Mark() != mark {
		t.Errorf("the mark is %v, want %v", again.Mark(), mark)
	}
	for _, ref := range again.Known() {
		if ref.Revision != 7 || ref.Incarnation != "i" {
			t.Errorf("%s is known as of revision %d of %q, want 7 of i", ref.Key, ref.Revision, ref.Incarnation)
		}
	}
}

func TestWhatIsPreservedIsKnownAsSuchAfterARestart(t *testing.T) {
	secrets := newFakeSecrets()
	store, stop := open(t, secrets)
	kept := makeWork("kept", 1, 100)
	kept.PreserveResourcesOnDeletion = true
	put(t, store, kept)
	put(t, store, makeWork("other", 1, 100))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	again, _ := open(t, secrets)
	for _, ref := range again.Known() {
		if ref.Preserves != (ref.Key == "kept") {
			t.Errorf("of %s it is known that its objects stay when it is removed: %t", ref.Key, ref.Preserves)
		}
	}
}

func TestAfterACrashBeforeTheManifestsWereWrittenTheHubIsAskedAgain(t *testing.T) {
	secrets := newFakeSecrets()
	store, _ := open(t, secrets, func(c *Config) { c.FlushInterval = time.Hour })
	put(t, store, makeWork("a", 1, 100))
	crashed := secrets.clone()

	again, _ := open(t, crashed)
	e, exists := again.Get("a")
	if !exists || e.Work != nil || len(e.Hash) != 0 || e.Generation != 1 {
		t.Fatalf("after the crash a is %+v, want it held without manifests and hash", e)
	}
	if len(e.Objects) != 1 || e.Objects[0].Name != "a" {
		t.Errorf("its objects are %v, want the ConfigMap a: what may have been applied must be known", e.Objects)
	}
	if known := again.Known(); len(known) != 1 || len(known[0].Hash) != 0 {
		t.Errorf("Known is %v, want a without a hash", known)
	}
	put(t, again, makeWork("a", 1, 100))
	if e, _ := again.Get("a"); e.Work == nil || string(e.Hash) != "a/1" {
		t.Errorf("after the hub sent it again a is %+v", e)
	}
}

func TestAnOlderGenerationInAShardIsNotEnforcedWhenTheJournalKnowsANewerOne(t *testing.T) {
	secrets := newFakeSecrets()
	store, stop := open(t, secrets)
	put(t, store, makeWork("a", 1, 100))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	store, _ = open(t, secrets, func(c *Config) { c.FlushInterval = time.Hour })
	put(t, store, makeWork("a", 2, 100))
	again, _ := open(t, secrets.clone())
	if e, _ := again.Get("a"); e.Work != nil || e.Generation != 2 {
		t.Errorf("after the crash a is generation %d with manifests %v, want 2 without", e.Generation, e.Work)
	}
}

func TestARemovalIsDurableWhenItIsAcknowledged(t *testing.T) {
	secrets := newFakeSecrets()
	store, _ := open(t, secrets, func(c *Config) { c.FlushInterval = time.Hour })
	put(t, store, makeWork("a", 1, 100))
	removal := Removal{Cause: linkv1.RemovalCause_REMOVAL_CAUSE_FORCED, Keep: true}
	if ok, err := store.Remove(t.Context(), "a", "uid-a", removal); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if ok, err := store.Remove(t.Context(), "a", "another", removal); ok || err != nil {
		t.Errorf("the removal of another UID: got %v and %v, want false", ok, err)
	}
	again, stop := open(t, secrets.clone())
	e, _ := again.Get("a")
	if e == nil || e.Removal == nil || *e.Removal != removal || len(e.Objects) != 1 {
		t.Fatalf("after the crash a is %+v, want it being removed, with its objects", e)
	}
	if known := again.Known(); len(known) != 0 {
		t.Errorf("what is being removed is known as %v", known)
	}
	again.Forget("a", "uid-a")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if len(held(again)) != 0 {
		t.Errorf("after it was carried out there is %v", held(again))
	}
}

func TestObjectsOfEarlierGenerationsAreKnownUntilTheyArePruned(t *testing.T) {
	secrets := newFakeSecrets()
	store, stop := open(t, secrets)
	put(t, store, makeWork("a", 1, 10))
	next := makeWork("b", 2, 10)
	next.Key, next.Uid = "a", "uid-a"
	put(t, store, next)
	e, _ := store.Get("a")
	if len(e.Objects) != 2 {
		t.Fatalf("the objects are %v, want those of both generations", e.Objects)
	}
	store.Pruned("a", "uid-a", 2, e.Objects[1:])
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	again, _ := open(t, secrets)
	if e, _ := again.Get("a"); len(e.Objects) != 1 || e.Objects[0].Name != "b" {
		t.Errorf("after pruning the objects are %v, want b", e.Objects)
	}
}

func TestShardsAreSplitAndNoSecretIsTooLarge(t *testing.T) {
	secrets := newFakeSecrets()
	store, stop := open(t, secrets, func(c *Config) { c.SplitBytes = 4 << 10 })
	for i := range 100 {
		put(t, store, makeWork(fmt.Sprint("work-", i), 1, 1000))
	}
	want := held(store)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if shards := secrets.names(shardNamePrefix); len(shards) < 16 {
		t.Errorf("100 KB are in %d shards of 4 KiB", len(shards))
	}
	for name, secret := range secrets.held {
		if size := len(secret.Data[contentKey]); size > 4<<10 && name != journalName {
			t.Errorf("%s has %d bytes", name, size)
		}
	}
	again, _ := open(t, secrets)
	if diff := cmp.Diff(want, held(again)); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
}

func TestALargeWorkIsKeptInChunksThatGoWithIt(t *testing.T) {
	secrets := newFakeSecrets()
	chunked := func(c *Config) { c.SplitBytes, c.ChunkBytes = 16<<10, 32<<10 }
	store, stop := open(t, secrets, chunked)
	put(t, store, makeWork("small", 1, 100))
	put(t, store, makeWork("large", 1, 300<<10))
	want := held(store)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if chunks := secrets.names(chunkNamePrefix); len(chunks) < 4 {
		t.Errorf("there are %d chunks", len(chunks))
	}
	again, stop := open(t, secrets, chunked)
	if diff := cmp.Diff(want, held(again)); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
	// A new generation in chunks of its own, then none.
	put(t, again, makeWork("large", 2, 300<<10))
	want = held(again)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	again, stop = open(t, secrets, chunked)
	if diff := cmp.Diff(want, held(again)); diff != "" {
		t.Errorf("after a restart with the second generation (-before +after):\n%s", diff)
	}
	put(t, again, makeWork("large", 3, 10))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if chunks := secrets.names(chunkNamePrefix); len(chunks) != 0 {
		t.Errorf("chunks are left over: %v", chunks)
	}
}

func TestWhatIsCorruptOrMissingIsAskedForAndTheRestIsKept(t *testing.T) {
	for _, c := range []struct {
		reason string
		damage func(secrets *fakeSecrets)
		lost   bool // whether everything is lost
	}{
		{"a shard with a wrong checksum", func(s *fakeSecrets) {
			s.change(shardName(""), func(secret *corev1.Secret) { secret.Data[contentKey][20] ^= 1 })
		}, true},
		{"an empty shard", func(s *fakeSecrets) {
			s.change(shardName(""), func(secret *corev1.Secret) { secret.Data = nil })
		}, true},
		{"a shard that is gone", func(s *fakeSecrets) { delete(s.held, shardName("")) }, true},
		{"a journal that is gone", func(s *fakeSecrets) { delete(s.held, journalName) }, false},
		{"a corrupt journal", func(s *fakeSecrets) {
			s.change(journalName, func(secret *corev1.Secret) { secret.Data[sumKey] = []byte("x") })
		}, false},
		{"a Secret of another name", func(s *fakeSecrets) {
			s.held["windlass-state-rx"] = corev1.Secret{}
		}, false},
	} {
		t.Run(c.reason, func(t *testing.T) {
			secrets := newFakeSecrets()
			store, stop := open(t, secrets)
			if err := store.SetMark(t.Context(), session.Mark{HubID: "h", Incarnation: "i", Revision: 5}); err != nil {
				t.Fatal(err)
			}
			put(t, store, makeWork("a", 1, 100))
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			// A change makes the journal be written without what the shard covers.
			store, stop = open(t, secrets)
			if err := store.SetMark(t.Context(), session.Mark{HubID: "h", Incarnation: "i", Revision: 6}); err != nil {
				t.Fatal(err)
			}
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			c.damage(secrets)
			again, stop := open(t, secrets)
			e, exists := again.Get("a")
			if c.lost {
				if exists && e.Work != nil {
					t.Errorf("a is held with manifests")
				}
			} else if !exists || e.Work == nil {
				t.Errorf("a is lost")
			}
			if again.Mark().Revision < 5 {
				t.Errorf("the mark is %v, want at least revision 5", again.Mark())
			}
			put(t, again, makeWork("a", 2, 100))
			want := held(again)
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			healed, _ := open(t, secrets)
			if diff := cmp.Diff(want, held(healed)); diff != "" {
				t.Errorf("after it was sent again and a restart (-before +after):\n%s", diff)
			}
		})
	}
}

func TestAnInterruptedSplitLosesAndRevivesNothing(t *testing.T) {
	secrets := newFakeSecrets()
	store, stop := open(t, secrets)
	for i := range 30 {
		put(t, store, makeWork(fmt.Sprint("work-", i), 1, 1000))
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	// Split, with the second half's write failing for ever.
	var failing sync.Mutex
	allowed := 1
	secrets.refuse = func(name string) error {
		failing.Lock()
		defer failing.Unlock()
		if strings.HasPrefix(name, shardName("")) && name != shardName("") {
			if allowed--; allowed < 0 {
				return errors.New("disk full")
			}
		}
		return nil
	}
	small := func(c *Config) { c.SplitBytes = 8 << 10 }
	store, stop = open(t, secrets, small)
	if ok, err := store.Remove(t.Context(), "work-3", "uid-work-3", Removal{}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	store.Forget("work-3", "uid-work-3")
	want := held(store)
	for deadline := time.Now().Add(time.Minute); len(secrets.names(shardNamePrefix)) < 2; {
		if time.Now().After(deadline) {
			t.Fatalf("the shard was never split: %v", secrets.names(shardNamePrefix))
		}
		time.Sleep(time.Millisecond)
	}
	_ = stop()

	secrets.refuse = nil
	again, stop := open(t, secrets, small)
	got := held(again)
	if entry, exists := got["work-3"]; exists && !strings.Contains(entry, "lost") && !strings.Contains(entry, "&{") {
		t.Errorf("the removed work is back: %s", entry)
	}
	delete(got, "work-3") // at most its removal is carried out again
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after the interrupted split (-before +after):\n%s", diff)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if names := secrets.names(shardName("")); slices.Contains(names, shardName("")) {
		t.Errorf("the shard that was split is still there: %v", names)
	}
}

func TestChangesAtTheSameTimeShareAWrite(t *testing.T) {
	secrets := newFakeSecrets()
	release := make(chan struct{})
	var first sync.Once
	secrets.refuse = func(name string) error {
		if name == journalName {
			first.Do(func() { <-release })
		}
		return nil
	}
	store, _ := open(t, secrets, func(c *Config) { c.FlushInterval = time.Hour })
	const changes = 50
	var group sync.WaitGroup
	for i := range changes {
		group.Go(func() { put(t, store, makeWork(fmt.Sprint("work-", i), 1, 10)) })
	}
	for {
		store.mu.Lock()
		waiting := len(store.pending) + len(store.journal)
		store.mu.Unlock()
		if waiting == changes {
			break
		}
		time.Sleep(time.Millisecond)
	}
	close(release)
	group.Wait()
	if writes := secrets.writes[journalName]; writes > 2 {
		t.Errorf("%d changes took %d writes, want 2 at most", changes, writes)
	}
}

func TestAWriteWhoseAnswerWasLostIsNotTakenForAnotherAgent(t *testing.T) {
	secrets := newFakeSecrets()
	store, _ := open(t, secrets)
	put(t, store, makeWork("a", 1, 10))
	secrets.lose()
	put(t, store, makeWork("b", 1, 10))
	put(t, store, makeWork("c", 1, 10))
}

func TestASecondAgentIsNoticed(t *testing.T) {
	secrets := newFakeSecrets()
	store, stop := open(t, secrets)
	put(t, store, makeWork("a", 1, 10))
	other, _ := open(t, secrets)
	put(t, other, makeWork("b", 1, 10))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := store.Put(ctx, makeWork("c", 1, 10)); err == nil {
		t.Error("the first agent's change was taken in")
	}
	if err := stop(); !errors.Is(err, ErrOtherAgent) {
		t.Errorf("the first agent ended with %v, want ErrOtherAgent", err)
	}
}

func TestWhatWasDeletedUnderTheAgentIsWrittenAgain(t *testing.T) {
	secrets := newFakeSecrets()
	chunked := func(c *Config) { c.SplitBytes, c.ChunkBytes = 16<<10, 32<<10 }
	store, stop := open(t, secrets, chunked)
	for i := range 20 {
		put(t, store, makeWork(fmt.Sprint("work-", i), 1, 2000))
	}
	put(t, store, makeWork("large", 1, 300<<10))
	mark := session.Mark{HubID: "h", Incarnation: "i", Revision: 12, Epoch: 3}
	if err := store.SetMark(t.Context(), mark); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	store, stop = open(t, secrets, chunked)
	want := held(store)
	secrets.clear()
	if err := store.WriteAnew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := reload(t, secrets).Mark(); got != mark {
		t.Errorf("the journal was written with the mark %v, want %v", got, mark)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	again, _ := open(t, secrets, chunked)
	if diff := cmp.Diff(want, held(again)); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
}

// TestRandomChangesAndCrashes compares the store with a plain map over many changes, restarts and
// crashes: what was acknowledged is never lost, and nothing else ever appears.
func TestRandomChangesAndCrashes(t *testing.T) {
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 1))
		secrets := newFakeSecrets()
		settings := func(c *Config) { c.SplitBytes, c.ChunkBytes, c.JournalBytes = 2<<10, 4<<10, 3<<10 }
		store, stop := open(t, secrets, settings)
		generations := map[string]int64{} // the newest generation acknowledged; negative when being removed
		for step := range 300 {
			key := fmt.Sprint("work-", random.IntN(25))
			switch action := random.IntN(20); {
			case action < 12:
				generation := int64(step + 1)
				put(t, store, makeWork(key, generation, random.IntN(5000)))
				generations[key] = generation
			case action < 16:
				ok, err := store.Remove(t.Context(), key, "uid-"+key, Removal{})
				if err != nil {
					t.Fatal(err)
				}
				if _, exists := generations[key]; ok != exists {
					t.Fatalf("seed %d step %d: Remove says %v, held is %v", seed, step, ok, exists)
				}
				if ok && random.IntN(2) == 0 {
					store.Forget(key, "uid-"+key)
					delete(generations, key)
				} else if ok {
					generations[key] = -1
				}
			case action < 18: // a crash
				crashed := secrets.clone()
				_ = stop()
				secrets = crashed
				store, stop = open(t, secrets, settings)
			default:
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				store, stop = open(t, secrets, settings)
			}
			for _, key := range store.Keys() {
				e, _ := store.Get(key)
				want, exists := generations[key]
				switch {
				case !exists && e.Removal == nil:
					t.Fatalf("seed %d step %d: %s is back: %+v", seed, step, key, e)
				case exists && want < 0 && e.Removal == nil:
					t.Fatalf("seed %d step %d: the removal of %s is forgotten", seed, step, key)
				case want > 0 && (e.Generation != want || e.Removal != nil):
					t.Fatalf("seed %d step %d: %s is generation %d, want %d", seed, step, key, e.Generation, want)
				}
				if !exists { // a removal that a crash brought back is carried out again
					store.Forget(key, e.UID)
				}
			}
			for key := range generations {
				if _, exists := store.Get(key); !exists {
					t.Fatalf("seed %d step %d: %s is lost", seed, step, key)
				}
			}
		}
		_ = stop()
	}
}

func TestAHeldWorkIsThereAtOnceAndDurableSoon(t *testing.T) {
	secrets := newFakeSecrets()
	store, stop := open(t, secrets)
	work := makeWork("a", 1, 100)
	if !store.Hold(work) {
		t.Fatal("a key that holds nothing did not take the work")
	}
	if e, exists := store.Get("a"); !exists || e.Work != work {
		t.Errorf("right after Hold the key holds %+v", e)
	}
	if store.Hold(makeWork("a", 2, 100)) {
		t.Error("a key that holds something took another work: that has to be durable before it is applied")
	}
	put(t, store, work)
	want := held(store)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	again, _ := open(t, secrets)
	if diff := cmp.Diff(want, held(again)); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
}

func TestTheCompressorIsMadeOnce(t *testing.T) {
	const times, most = 10, 100 << 10 // a compressor is larger than that
	compress([]byte("the first"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range times {
		compress([]byte("one more"))
		runtime.GC()
		runtime.GC() // empties what the collector may empty
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / times; each > most {
		t.Errorf("compressing a few bytes took %d bytes of memory, want %d at most", each, most)
	}
}

func TestTheRemovalOfWhatWasLeftBehindIsDurable(t *testing.T) {
	secrets := newFakeSecrets()
	store, _ := open(t, secrets)
	objects := manifest.Objects(makeWork("a", 1, 10).Manifests)
	put(t, store, makeWork("b", 1, 10))
	if took, err := store.RemoveLeft(t.Context(), "b", "another", Removal{}, objects); err != nil || took {
		t.Errorf("the removal of something else under a key that is held: %v, %v", took, err)
	}
	if took, err := store.RemoveLeft(t.Context(), "a", "uid-a", Removal{Keep: true}, objects); err != nil || !took {
		t.Fatalf("the removal was not taken in: %v, %v", took, err)
	}
	again, _ := open(t, secrets.clone())
	e, exists := again.Get("a")
	if !exists || e.Removal == nil || !e.Removal.Keep || e.UID != "uid-a" || len(e.Objects) != 1 {
		t.Fatalf("after a crash the removal is %+v", e)
	}
	again.Forget("a", "uid-a")
	if _, exists := again.Get("a"); exists {
		t.Error("a removal that was carried out is still there")
	}
}

func TestTheMarkIsNeverBelowWhatIsHeld(t *testing.T) {
	secrets := newFakeSecrets()
	// Manifests are not written in this test: what is known of the work is in the journal alone, as after a crash.
	store, _ := open(t, secrets, func(c *Config) { c.FlushInterval = time.Hour })
	if err := store.SetMark(t.Context(), session.Mark{HubID: "h", Incarnation: "i", Revision: 5, Epoch: 2}); err != nil {
		t.Fatal(err)
	}
	put := func(key, incarnation string, revision int64) {
		t.Helper()
		if err := store.Put(t.Context(), &linkv1.Work{Key: key, Uid: "u", Generation: 1, Revision: revision, Incarnation: incarnation}); err != nil {
			t.Fatal(err)
		}
	}
	put("a", "i", 9)
	put("b", "another", 100)
	if err := store.SetMark(t.Context(), session.Mark{HubID: "h", Incarnation: "i", Revision: 7, Epoch: 3}); err != nil {
		t.Fatal(err)
	}
	crashed, _ := open(t, secrets.clone())
	if got, want := crashed.Mark(), (session.Mark{HubID: "h", Incarnation: "i", Revision: 9, Epoch: 3}); got != want {
		t.Errorf("after a crash the mark is %+v, want %+v", got, want)
	}
	if err := store.SetMark(t.Context(), session.Mark{HubID: "h", Incarnation: "next", Revision: 3, Epoch: 4}); err != nil {
		t.Fatal(err)
	}
	if got := store.Mark(); got.Revision != 3 {
		t.Errorf("another store has revisions of its own; the mark is %+v", got)
	}
}

func TestWhatTheBrakeCountsIsKeptByTheWriteOfTheRemoval(t *testing.T) {
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	secrets := newFakeSecrets()
	var counted []session.Counted
	store, _ := open(t, secrets, func(c *Config) { c.Counted = func() []session.Counted { return counted } })
	put(t, store, makeWork("a", 1, 10))
	if kept := reload(t, secrets).Counted(); len(kept) > 0 {
		t.Errorf("nothing was removed and %v is counted", kept)
	}
	counted = []session.Counted{{Removal: 1 << 63, At: at}, {Removal: 2, At: at.Add(time.Second)}}
	before := secrets.written(journalName)
	if removed, err := store.Remove(t.Context(), "a", "uid-a", Removal{}); err != nil || !removed {
		t.Fatal(removed, err)
	}
	if writes := secrets.written(journalName) - before; writes != 1 {
		t.Errorf("the removal took %d writes of the journal, want 1", writes)
	}
	crashed := secrets.clone()
	if diff := cmp.Diff(counted, reload(t, crashed).Counted()); diff != "" {
		t.Errorf("what is counted after a crash (-want +got):\n%s", diff)
	}
	for reason, spoil := range map[string]func(*corev1.Secret){
		"the journal is torn":         func(s *corev1.Secret) { s.Data[contentKey] = s.Data[contentKey][:10] },
		"the journal is an older one": func(s *corev1.Secret) { s.Data, _ = seal(map[string]any{"sequence": 9}) },
	} {
		t.Run(reason, func(t *testing.T) {
			other := crashed.clone()
			other.change(journalName, spoil)
			if kept := reload(t, other).Counted(); len(kept) > 0 {
				t.Errorf("%v is counted", kept)
			}
		})
	}
}

func TestThatTheBrakeHoldsSomethingIsKeptByTheNextWriteAndSoIsTheEnd(t *testing.T) {
	secrets := newFakeSecrets()
	holds := false
	store, _ := open(t, secrets, func(c *Config) { c.Holds = func() bool { return holds } })
	for i, now := range []bool{false, true, false} {
		holds = now
		if err := store.SetMark(t.Context(), session.Mark{HubID: "h", Epoch: int64(i)}); err != nil {
			t.Fatal(err)
		}
		if kept := reload(t, secrets.clone()).Held(); kept != now {
			t.Errorf("that the brake holds something is %v and was kept as %v", now, kept)
		}
	}
}

// reload loads a store from what is kept.
func reload(t *testing.T, secrets Secrets) *Store {
	t.Helper()
	store, err := New(Config{Secrets: secrets, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return store
}

// slowSecrets lets no write of the journal begin before it is let go.
type slowSecrets struct {
	*fakeSecrets
	begun, letGo chan struct{}
}

func (s *slowSecrets) wait(name string) {
	if name == journalName {
		select {
		case s.begun <- struct{}{}:
		default:
		}
		<-s.letGo
	}
}

func (s *slowSecrets) Create(ctx context.Context, secret *corev1.Secret) (*corev1.Secret, error) {
	s.wait(secret.Name)
	return s.fakeSecrets.Create(ctx, secret)
}

func (s *slowSecrets) Update(ctx context.Context, secret *corev1.Secret) (*corev1.Secret, error) {
	s.wait(secret.Name)
	return s.fakeSecrets.Update(ctx, secret)
}

func TestOfWhatIsHeldAfterItsCallHasFailedSomebodyIsTold(t *testing.T) {
	secrets := &slowSecrets{newFakeSecrets(), make(chan struct{}, 1), make(chan struct{})}
	store, _ := open(t, secrets)
	late := make(chan string, 2)
	store.OnLate(func(key string) { late <- key })
	session, end := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() { failed <- store.Put(session, makeWork("web", 1, 10)) }()
	<-secrets.begun
	end()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Fatalf("the session ends, and what it recorded is said to be durable: %v", err)
	}
	close(secrets.letGo)
	if key := <-late; key != "web" {
		t.Errorf("told of %q", key)
	}
	if _, held := store.Get("web"); !held {
		t.Error("it is told of before it is held")
	}
	put(t, store, makeWork("web", 2, 10))
	if len(late) > 0 {
		t.Error("told of what was recorded in time, too")
	}
}

func TestARemovalIsOfWhatIsStillBeingRecordedToo(t *testing.T) {
	for _, c := range []struct {
		reason  string
		records []string
	}{
		{"its record is being written", []string{"web"}},
		{"its record waits for the write of another", []string{"other", "web"}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			secrets := &slowSecrets{newFakeSecrets(), make(chan struct{}, 1), make(chan struct{})}
			store, _ := open(t, secrets)
			session, end := context.WithCancel(t.Context())
			failed := make(chan error)
			for i, key := range c.records {
				go func() { failed <- store.Put(session, makeWork(key, 1, 10)) }()
				if i == 0 {
					<-secrets.begun
				}
			}
			for store.unsaved() < float64(len(c.records)) {
				runtime.Gosched()
			}
			end()
			for range c.records {
				if err := <-failed; err == nil {
					t.Fatal("the session ends, and what it recorded is said to be durable")
				}
			}

			removal := Removal{Cause: linkv1.RemovalCause_REMOVAL_CAUSE_TEMPLATE_DELETED}
			if ok, err := store.Remove(session, "web", "another", removal); ok || err != nil {
				t.Errorf("the removal of another UID: got %v and %v, want false", ok, err)
			}
			left := manifest.Objects(makeWork("web", 1, 10).GetManifests())
			if ok, err := store.RemoveLeft(session, "web", "another", removal, left); ok || err != nil {
				t.Errorf("the removal of what another UID left: got %v and %v, want false", ok, err)
			}
			if ok, _ := store.Remove(session, "web", "uid-web", removal); !ok {
				t.Error("it is said that no such work will be held")
			}
			close(secrets.letGo)
			if ok, err := store.Remove(t.Context(), "web", "uid-web", removal); !ok || err != nil {
				t.Fatal(ok, err)
			}
			if e, held := store.Get("web"); !held || e.Removal == nil {
				t.Errorf("held is %+v, want the removal of the work", e)
			}
		})
	}
}
