package observe

import (
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"

	linkv1 "windlass.dev/windlass/api/link/v1"

	"windlass.dev/windlass/agent/member"
	"windlass.dev/windlass/pkg/manifest"
)

const settle = 500 * time.Millisecond

var web = Tracked{
	ID:       manifest.ID{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"},
	Resource: member.Resource{GroupVersionResource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, Namespaced: true},
}

func newObserver(t *testing.T) *Observer {
	t.Helper()
	o, err := New(Config{
		Client: dynamicfake.NewSimpleDynamicClient(runtime.NewScheme()), Logger: slog.New(slog.DiscardHandler), Now: time.Now, ReportSettle: settle,
	}, func(string, manifest.ID, *unstructured.Unstructured) {})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// deployment has two replicas of which so many are ready.
func deployment(version string, ready int64) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"namespace": "shop", "name": "web", "uid": "u", "resourceVersion": version, "generation": int64(1)},
		"spec":     map[string]any{"replicas": int64(2)},
		"status": map[string]any{
			"observedGeneration": int64(1), "replicas": int64(2), "updatedReplicas": int64(2),
			"readyReplicas": ready, "availableReplicas": ready,
		},
	}}
}

func applied(change func(*WorkState)) WorkState {
	s := WorkState{
		Key: "web", UID: "w", Received: 1, Applied: 1, Phase: linkv1.Phase_PHASE_PRESENT, Done: true, Reason: "Applied", Manifests: 1, Objects: []Tracked{web},
	}
	if change != nil {
		change(&s)
	}
	return s
}

func TestOnlyTheEndOfARolloutAndItsTroublesAreReportedAtOnce(t *testing.T) {
	tests := []struct {
		reason string
		happen func(*Observer)
		atOnce bool
	}{
		{"applied, and nothing is ready: the next step comes soon", func(o *Observer) { o.Seen(web.ID, deployment("5", 0)) }, false},
		{"half of it is ready", func(o *Observer) { o.Seen(web.ID, deployment("5", 1)) }, false},
		{"all of it is ready", func(o *Observer) { o.Seen(web.ID, deployment("5", 2)) }, true},
		{"it could not be applied", func(o *Observer) {
			o.SetWork(applied(func(s *WorkState) { s.Done, s.Applied, s.Reason = false, 0, "Rejected" }))
		}, true},
		{"it is being removed", func(o *Observer) {
			o.SetWork(applied(func(s *WorkState) { s.Phase, s.Reason = linkv1.Phase_PHASE_REMOVING, "Removing" }))
		}, true},
		{"it has been removed", func(o *Observer) { o.Removed("web", "w") }, true},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newObserver(t)
				o.Track("web", web)
				o.SetWork(applied(nil))
				test.happen(o)
				var want []string
				if test.atOnce {
					want = []string{"web"}
				}
				if diff := cmp.Diff(want, o.TakeDirty(10)); diff != "" {
					t.Errorf("taken at once (-want +got):\n%s", diff)
				}
				time.Sleep(settle)
				synctest.Wait()
				all := append(want, o.TakeDirty(10)...)
				if !slices.Equal(all, []string{"web"}) {
					t.Errorf("taken until the end of the wait: %v, want the key exactly once", all)
				}
			})
		})
	}
}

func TestAReportSaysWhatAnObjectThatIsNotHealthyLacks(t *testing.T) {
	o := newObserver(t)
	o.Track("web", web)
	o.SetWork(applied(nil))
	o.Seen(web.ID, deployment("5", 1))
	if said := o.Report("web").HealthMessage; said != "1 of 2 replicas are available" {
		t.Errorf("of one object it says %q", said)
	}
	o.SetWork(applied(func(s *WorkState) { s.Manifests = 2 }))
	if said := o.Report("web").HealthMessage; said != "Deployment web: 1 of 2 replicas are available" {
		t.Errorf("of one of several objects it says %q", said)
	}
	o.Seen(web.ID, deployment("6", 2))
	if said := o.Report("web").HealthMessage; said != "" {
		t.Errorf("of what is healthy it says %q", said)
	}
}

func TestARolloutThatIsDoneInTimeIsOneReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newObserver(t)
		o.Track("web", web)
		o.SetWork(applied(nil))
		for i, version := range []string{"5", "6", "7"} {
			o.Seen(web.ID, deployment(version, int64(i)))
			taken := o.TakeDirty(10)
			if done := i == 2; done != (len(taken) == 1) {
				t.Errorf("with %d replicas ready, %v was taken", i, taken)
			}
			time.Sleep(settle / 10)
		}
		time.Sleep(2 * settle)
		synctest.Wait()
		if again := o.TakeDirty(10); len(again) > 0 {
			t.Errorf("%v was taken again", again)
		}
	})
}

func TestWhatIsKnownOfAReplacedWorksObjectsStaysKnown(t *testing.T) {
	leaving := applied(func(s *WorkState) { s.Phase, s.Reason = linkv1.Phase_PHASE_REMOVING, "Removing" })
	next := applied(func(s *WorkState) { s.UID = "next" })
	orders := []struct {
		reason string
		happen func(o *Observer)
	}{
		{"told before the next work is handled", func(o *Observer) { o.Replaced("web", "w"); o.SetWork(next) }},
		{"told after that", func(o *Observer) { o.SetWork(next); o.Replaced("web", "w") }},
	}
	for _, order := range orders {
		t.Run(order.reason, func(t *testing.T) {
			o := newObserver(t)
			o.Track("web", web)
			o.SetWork(leaving)
			o.Seen(web.ID, deployment("5", 2))
			order.happen(o)
			o.TakeDirty(10)
			report := o.Report("web")
			if report.GetPhase() == linkv1.Phase_PHASE_REMOVED {
				o.Recorded("web", report.GetUid(), report.GetPhase())
				report = o.Report("web")
			}
			if report.GetUid() != "next" || report.GetHealth() != linkv1.Health_HEALTH_HEALTHY {
				t.Errorf("the report is of UID %s, health %s", report.GetUid(), report.GetHealth())
			}
			o.Removed("web", "next")
			if len(o.objects) > 0 {
				t.Errorf("%d objects are watched for nobody", len(o.objects))
			}
		})
	}
}

// TestAChangeIsComparedWithWhatTheHubWasTold: a key that was taken waits, and what is told of it is how it is by then.
func TestAChangeIsComparedWithWhatTheHubWasTold(t *testing.T) {
	for _, c := range []struct {
		reason     string
		told, then int64 // replicas that are ready; two were when the key was taken
		news       bool
	}{
		{"told as it was taken, and no change", 2, 2, false},
		{"told otherwise, and back to what was taken", 1, 2, true},
		{"told otherwise, and no change after that", 1, 1, false},
	} {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newObserver(t)
				o.Track("web", web)
				o.SetWork(applied(nil))
				o.Seen(web.ID, deployment("5", 2))
				if taken := o.TakeDirty(10); len(taken) != 1 {
					t.Fatalf("taken is %v", taken)
				}
				o.Seen(web.ID, deployment("6", c.told))
				o.Report("web")
				o.Seen(web.ID, deployment("7", c.then))
				if taken := o.TakeDirty(10); (len(taken) == 1) != c.news {
					t.Errorf("then %v is taken", taken)
				}
				time.Sleep(2 * settle)
				synctest.Wait()
				if taken := o.TakeDirty(10); len(taken) > 0 {
					t.Errorf("without another change %v is taken later", taken)
				}
			})
		})
	}
}
