package incarnation

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"windlass.dev/windlass/hub/etcd"
	"windlass.dev/windlass/pkg/session"
)

// world is a real etcd in a directory that can be copied and put back, and a hub's process on it.
type world struct {
	*testing.T
	dir    string
	etcd   *etcd.Etcd
	client *clientv3.Client
	*Keeper
	held   int64 // revisions that it took the next process to hold the store
	broken error
}

func newWorld(t *testing.T) *world {
	dir, err := os.MkdirTemp("", "era") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, dir: dir}
	w.startEtcd()
	t.Cleanup(func() { w.stopEtcd(); _ = os.RemoveAll(dir) })
	return w
}

func (w *world) startEtcd() {
	w.Helper()
	var err error
	if w.etcd, err = etcd.Start(w.Context(), etcd.Config{DataDir: filepath.Join(w.dir, "data")}); err != nil {
		w.Fatal(err)
	}
	if w.client, err = w.etcd.Client(); err != nil {
		w.Fatal(err)
	}
	if w.Keeper != nil {
		w.store = w.client // the process has reconnected
	}
}

func (w *world) copy(to, from string) {
	w.Helper()
	if output, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		w.Fatalf("copying the store: %v: %s", err, output)
	}
}

func (w *world) stopEtcd() {
	_ = w.client.Close()
	w.etcd.Close()
}

// startHub is the start of a process.
func (w *world) startHub() {
	w.Helper()
	var err error
	if w.Keeper, err = Begin(w.Context(), w.client, w.held, func(err error) { w.broken = err }); err != nil {
		w.Fatal(err)
	}
}

// write lets the store grow.
func (w *world) write(times int) {
	w.Helper()
	for range times {
		if _, err := w.client.Put(w.Context(), "/registry/something", "else"); err != nil {
			w.Fatal(err)
		}
	}
}

func (w *world) backup() {
	w.Helper()
	w.stopEtcd()
	w.copy(filepath.Join(w.dir, "backup"), filepath.Join(w.dir, "data", "etcd"))
	w.startEtcd()
}

func (w *world) restore() {
	w.Helper()
	w.stopEtcd()
	store := filepath.Join(w.dir, "data", "etcd")
	if err := os.RemoveAll(store); err != nil {
		w.Fatal(err)
	}
	w.copy(store, filepath.Join(w.dir, "backup"))
	w.startEtcd()
}

// mark is what an agent that is let in now remembers.
func (w *world) mark() session.Mark {
	w.Helper()
	view, err := w.View(w.Context(), "a", "id-a", 0)
	if err != nil {
		w.Fatal(err)
	}
	return session.Mark{Incarnation: view.History.Present(), Revision: view.Revision}
}

func (w *world) expect(reason string, seen session.Mark, noticed bool) {
	w.Helper()
	view, err := w.View(w.Context(), "a", "id-a", 0)
	if err != nil {
		w.Fatal(err)
	}
	if why := view.History.Lacks(seen, view.Revision); (why != "") != noticed {
		w.Errorf("%s: %q, want noticed %t; the history is %+v, the mark %+v", reason, why, noticed, view.History, seen)
	}
}

func TestAnOlderStoreIsNoticedHoweverMuchIsWrittenToIt(t *testing.T) {
	w := newWorld(t)
	w.startHub()
	w.write(3)
	early := w.mark()
	w.startHub()
	w.expect("a restart", early, false)
	w.backup()
	w.startHub()
	w.write(1)
	first := w.mark()
	w.expect("the agent comes back to the same process", first, false)
	w.startHub()
	w.write(100)
	w.expect("or to the next", first, false)

	w.restore()
	w.startHub()
	w.write(200)
	w.expect("the backup is older than the era that the agent knows", first, true)
	w.expect("this one has seen nothing that the backup lacks", early, false)
	second := w.mark()
	w.restore()
	w.startHub()
	w.write(200)
	w.startHub()
	w.expect("the same backup is restored again", second, true)
	w.expect("what it lacked the first time, it lacks still", first, true)
}

func TestAStoreThatIsCutBackWithinAnEraIsNoticed(t *testing.T) {
	w := newWorld(t)
	w.startHub()
	w.mark()
	w.backup()
	w.write(1) // the process goes on over the pause
	seen := w.mark()
	w.restore()
	w.startHub()
	w.write(100)
	w.expect("one write more than the backup has", seen, true)
}

func TestWhatItTakesToHoldAStoreIsNoneOfWhatAgentsHaveSeen(t *testing.T) {
	w := newWorld(t)
	w.startHub()
	w.mark()
	w.backup()
	w.write(2)
	seen := w.mark()
	w.restore()
	w.write(2) // the former process has ended, and this one holds the store
	w.held = 2
	w.startHub()
	w.write(100)
	w.expect("the backup lacks two writes", seen, true)
}

func TestEveryStartThatFailsAfterItsFirstWriteLeavesTheBound(t *testing.T) {
	w := newWorld(t)
	w.startHub()
	w.backup()
	w.write(1)
	seen := w.mark()
	w.restore()
	for range 3 {
		w.startHub() // and the process dies, after it has written something
		w.write(50)
	}
	w.expect("the agent has seen one write more than the backup has", seen, true)
	view, err := w.View(t.Context(), "a", "id-a", 0)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(view.History.Eras); n > 2 {
		t.Errorf("%d eras are remembered, but agents have heard of two: %+v", n, view.History)
	}
}

func TestAStoreThatIsCutBackUnderTheHubEndsIt(t *testing.T) {
	w := newWorld(t)
	w.startHub()
	early := w.mark()
	w.backup()
	w.write(5)
	late := w.mark()
	w.restore()
	if _, err := w.View(t.Context(), "a", "id-a", 0); err == nil || w.broken == nil || !strings.Contains(w.broken.Error(), "restored from a backup while this hub was running") {
		t.Fatalf("the view fails with %v, the process ends with %v", err, w.broken)
	}
	w.write(100)
	w.startHub()
	w.expect("what was lost", late, true)
	w.expect("nobody knows what else was lost", early, true)
}

func TestRestoreModeLiesInTheStore(t *testing.T) {
	w := newWorld(t)
	w.startHub()
	restoring := func(cluster string) bool {
		view, err := w.View(t.Context(), cluster, "id-"+cluster, 0)
		if err != nil {
			t.Fatal(err)
		}
		return view.Restoring
	}
	seen := w.mark()
	if err := w.EnterRestore(t.Context(), "a", "id-a", false); err != nil {
		t.Fatal(err)
	}
	w.expect("restore mode of one member says nothing about others", seen, false)
	w.startHub()
	if !restoring("a") || restoring("b") {
		t.Errorf("after a restart: a %t, b %t", restoring("a"), restoring("b"))
	}
	if err := w.EnterRestore(t.Context(), "b", "id-b", false); err != nil {
		t.Fatal(err)
	}
	for _, cluster := range []string{"a", "a", "c"} {
		if err := w.LeaveRestore(t.Context(), cluster, "id-"+cluster); err != nil {
			t.Fatal(err)
		}
	}
	if restoring("a") || !restoring("b") {
		t.Errorf("in the end: a %t, b %t", restoring("a"), restoring("b"))
	}
}

func TestOneClustersWordAloneTakesNoOtherIntoRestoreMode(t *testing.T) {
	w := newWorld(t)
	w.startHub()
	seen := w.mark()
	shows := func(cluster string) {
		t.Helper()
		if err := w.EnterRestore(t.Context(), cluster, "id-"+cluster, true); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(reason, cluster string, restoring, doubted bool) {
		t.Helper()
		view, err := w.View(t.Context(), cluster, "id-"+cluster, 0)
		if err != nil || view.Restoring != restoring || view.Doubted != doubted {
			t.Errorf("%s: in restore mode %t, want %t; the store is doubted %t, want %t; %v", reason, view.Restoring, restoring, view.Doubted, doubted, err)
		}
	}
	confirmed := func(cluster string) {
		t.Helper()
		if err := w.LeaveRestore(t.Context(), cluster, "id-"+cluster); err != nil {
			t.Fatal(err)
		}
	}
	shows("b")
	shows("b")
	w.startHub()
	expect("the one that shows it", "b", true, false)
	expect("what the store lacks may be lost for others, too", "a", false, true)
	expect("and so may a cluster be that it lacks", "", false, true)
	w.expect("but it may be a lie", seen, false)
	confirmed("b")
	expect("the store is right as it is", "b", false, false)
	expect("for others as well", "a", false, false)
	shows("b")
	w.expect("the same one once more", seen, false)
	confirmed("b")
	shows("c")
	w.expect("two have shown it: the store was cut back for everybody", seen, true)
	expect("which is no doubt any more", "a", false, false)
	seen = w.mark()
	shows("d")
	w.expect("after that it begins from the start", seen, false)
	expect("with one", "a", false, true)
}

func TestNoClusterThatWasRemovedIsInRestoreMode(t *testing.T) {
	for _, c := range []struct {
		reason    string
		ids       []string // of the clusters that the store has when the hub starts
		restoring bool     // the one that alone has shown that the store was cut back
		doubted   bool     // which others hear
	}{
		{"it is on the hub", []string{"id-a", "id-b"}, true, true},
		{"it was removed, and the hub ended before that was told here", []string{"id-a"}, false, false},
		{"another one has joined under its name", []string{"id-a", "id-other"}, false, false},
		{"it was the last one", nil, false, false},
	} {
		t.Run(c.reason, func(t *testing.T) {
			w := newWorld(t)
			w.startHub()
			if err := w.EnterRestore(t.Context(), "b", "id-b", true); err != nil {
				t.Fatal(err)
			}
			// As hubs wrote it before: nobody knows which one of the name it was.
			if _, _, err := w.change(t.Context(), func(r *record, _ int64) { r.Restoring = append(r.Restoring, "c") }); err != nil {
				t.Fatal(err)
			}
			w.startHub()
			if err := w.RetainRestoring(t.Context(), c.ids); err != nil {
				t.Fatal(err)
			}
			for cluster, want := range map[string]session.StoreView{
				"a": {Doubted: c.doubted}, "b": {Restoring: c.restoring}, "c": {Restoring: true, Doubted: c.doubted},
			} {
				view, err := w.View(t.Context(), cluster, "id-"+cluster, 0)
				if err != nil || view.Restoring != want.Restoring || view.Doubted != want.Doubted {
					t.Errorf("%s: in restore mode %t, want %t; the store is doubted %t, want %t; %v",
						cluster, view.Restoring, want.Restoring, view.Doubted, want.Doubted, err)
				}
			}
		})
	}
}

func TestWhoeverJoinsUnderTheNameOfAClusterInRestoreModeIsNotInIt(t *testing.T) {
	w := newWorld(t)
	w.startHub()
	expect := func(reason, id string, want bool) {
		t.Helper()
		view, err := w.View(t.Context(), "a", id, 0)
		if err != nil || view.Restoring != want {
			t.Errorf("%s: in restore mode %t, want %t; %v", reason, view.Restoring, want, err)
		}
	}
	enter := func(id string) {
		t.Helper()
		if err := w.EnterRestore(t.Context(), "a", id, false); err != nil {
			t.Fatal(err)
		}
	}
	leave := func(id string) {
		t.Helper()
		if err := w.LeaveRestore(t.Context(), "a", id); err != nil {
			t.Fatal(err)
		}
	}
	enter("first")
	w.startHub()
	expect("the one that has seen more than the store has", "first", true)
	expect("another one of its name", "second", false)
	leave("second")
	expect("what another one confirms", "first", true)
	enter("second")
	leave("first")
	expect("the other one has seen more than the store has as well, and the first is removed", "second", true)
	leave("second")
	expect("what waited in it was confirmed", "second", false)

	// As hubs wrote it before.
	if _, _, err := w.change(t.Context(), func(r *record, _ int64) { r.Restoring = []string{"a"} }); err != nil {
		t.Fatal(err)
	}
	expect("nobody has said which one of the name", "first", true)
	leave("first")
	expect("it was removed", "second", false)
}

func TestWhatAnEarlierVersionLeftIsTakenOver(t *testing.T) {
	w := newWorld(t)
	w.write(7)
	kube := fake.NewSimpleClientset(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: formerNamespace, Name: formerName},
		Data:       map[string]string{formerKey: `{"incarnation":"i2","former":["i1"],"restoring":["a"]}`},
	})
	w.startHub()
	w.write(20)
	for range 2 {
		if err := w.TakeOverFormer(t.Context(), kube); err != nil {
			t.Fatal(err)
		}
	}
	w.expect("an agent that has seen all there was", session.Mark{Incarnation: "i2", Revision: 8}, false)
	w.expect("one that has seen more", session.Mark{Incarnation: "i2", Revision: 9}, true)
	w.expect("one that was away when a restore was noticed", session.Mark{Incarnation: "i1", Revision: 2}, true)
	if view, err := w.View(t.Context(), "a", "id-a", 0); err != nil || !view.Restoring {
		t.Errorf("a is in restore mode: %t, %v", view.Restoring, err)
	}
	if _, err := kube.CoreV1().ConfigMaps(formerNamespace).Get(t.Context(), formerName, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("reading the ConfigMap: %v", err)
	}
}

func TestARecordThatCannotBeReadStopsTheStart(t *testing.T) {
	w := newWorld(t)
	if _, err := w.client.Put(t.Context(), key, "{"); err != nil {
		t.Fatal(err)
	}
	if _, err := Begin(t.Context(), w.client, 0, nil); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("etcd key %s", key)) {
		t.Errorf("error %v", err)
	}
}
