package works_test

import (
	"context"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	linkv1 "windlass.dev/windlass/api/link/v1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store/storetest"
	"windlass.dev/windlass/hub/works"
	"windlass.dev/windlass/pkg/interpret"
	"windlass.dev/windlass/pkg/session"
)

// world is a hub's works and the link's view of them.
type world struct {
	*storetest.Store
	view      *works.View
	now       time.Time
	reads     int // past the cache
	listFails error
}

func newWorld(t *testing.T) *world {
	w := &world{Store: storetest.New(), now: storetest.Began}
	view, err := works.New(works.Config{
		Works: w.Works(),
		Live: func(_ context.Context, namespace, name string) (*workv1alpha1.PropagationWork, error) {
			w.reads++
			if work, ok := w.PropagationWorks.Get(namespace, name); ok {
				return work, nil
			}
			return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "propagationworks"}, name)
		},
		Revisions: func(_ context.Context, namespace string) (map[string]int64, int64, error) {
			if w.listFails != nil {
				return nil, 0, w.listFails
			}
			revisions := map[string]int64{}
			for _, work := range w.PropagationWorks.List() {
				if work.Namespace == namespace {
					revisions[work.Name] = works.Revision(work.ResourceVersion)
				}
			}
			return revisions, 1000, nil
		},
		FirstListed: func() int64 { return 1 },
		Now:         func() time.Time { return w.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.view = view
	return w
}

func work(change func(*workv1alpha1.PropagationWork)) *workv1alpha1.PropagationWork {
	made := &workv1alpha1.PropagationWork{
		ObjectMeta: metav1.ObjectMeta{Namespace: "karmada-es-a", Name: "web", UID: "w1", Generation: 2, Finalizers: []string{workv1alpha1.WorkFinalizer}},
		Spec: workv1alpha1.WorkSpec{
			Workload: workv1alpha1.WorkloadTemplate{Manifests: []runtime.RawExtension{{Raw: []byte(
				`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"namespace":"shop","name":"web"}}`)}}},
			ConflictResolution: policyv1alpha1.ConflictAbort,
			Binding:            &workv1alpha1.BindingReference{Kind: "PropagationBinding", Namespace: "shop", Name: "web-deployment"},
			Template:           &workv1alpha1.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: "web", UID: "u1"},
		},
	}
	if change != nil {
		change(made)
	}
	return made
}

// look is the message of the work web of cluster a.
func (w *world) look(t *testing.T) session.Item {
	t.Helper()
	item, ok := w.view.Get("a", "web")
	if !ok {
		t.Fatal("the view has no such work")
	}
	return item
}

func TestAWorkTravelsWithEverythingThatAMemberActsOn(t *testing.T) {
	w := newWorld(t)
	stored := w.PropagationWorks.Put(work(func(work *workv1alpha1.PropagationWork) {
		work.Spec.ConflictResolution = policyv1alpha1.ConflictOverwrite
		work.Spec.PreserveResourcesOnDeletion = ptr.To(true)
		work.Spec.SuspendDispatching = ptr.To(true)
	}))
	item := w.look(t)
	want := &linkv1.Work{
		Key: "web", Uid: "w1", Generation: 2,
		Manifests:                   [][]byte{stored.Spec.Workload.Manifests[0].Raw},
		ConflictResolution:          linkv1.ConflictResolution_CONFLICT_RESOLUTION_OVERWRITE,
		PreserveResourcesOnDeletion: true, SuspendDispatching: true,
		Binding:  &linkv1.BindingRef{Kind: "PropagationBinding", Namespace: "shop", Name: "web-deployment"},
		Template: &linkv1.TemplateRef{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "shop", Name: "web", Uid: "u1"},
	}
	if diff := cmp.Diff(want, item.Work, protocmp.Transform(), protocmp.IgnoreFields(&linkv1.Work{}, "hash")); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	if revision, _ := strconv.ParseInt(stored.ResourceVersion, 10, 64); item.Revision != revision || w.view.Revision() < revision {
		t.Errorf("revision %d of the item, %d of the view, want %s", item.Revision, w.view.Revision(), stored.ResourceVersion)
	}
	if item.Removing != nil {
		t.Errorf("it is being removed: %+v", item.Removing)
	}
}

// The hash is compared with those that agents keep and other versions of the hub make: a change of it
// sends every work to every member again.
func TestTheHashOfAWorkNeverChangesItsForm(t *testing.T) {
	w := newWorld(t)
	w.PropagationWorks.Put(work(nil))
	if got := hex.EncodeToString(w.look(t).Work.GetHash()); got != "ad955bdc825bbc97c2cdb6ea207bff9b" {
		t.Errorf("the hash is %s", got)
	}
}

func TestTheHashCoversWhatAMemberActsOnAndNothingElse(t *testing.T) {
	tests := []struct {
		reason string
		change func(*workv1alpha1.PropagationWork)
		same   bool
	}{
		{"its manifest", func(work *workv1alpha1.PropagationWork) { work.Spec.Workload.Manifests[0].Raw = []byte(`{}`) }, false},
		{"what to do about conflicts", func(work *workv1alpha1.PropagationWork) {
			work.Spec.ConflictResolution = policyv1alpha1.ConflictOverwrite
		}, false},
		{"whether it is kept", func(work *workv1alpha1.PropagationWork) { work.Spec.PreserveResourcesOnDeletion = ptr.To(true) }, false},
		{"whether it is suspended", func(work *workv1alpha1.PropagationWork) { work.Spec.SuspendDispatching = ptr.To(true) }, false},
		{"its binding", func(work *workv1alpha1.PropagationWork) { work.Spec.Binding.Name = "other" }, false},
		{"its template", func(work *workv1alpha1.PropagationWork) { work.Spec.Template.UID = "u2" }, false},
		{"its labels", func(work *workv1alpha1.PropagationWork) { work.Labels = map[string]string{"team": "blue"} }, true},
		{"its status", func(work *workv1alpha1.PropagationWork) { work.Status.Delivery.Epoch = 7 }, true},
		{"its UID and generation stand beside the hash", func(work *workv1alpha1.PropagationWork) { work.UID, work.Generation = "w2", 9 }, true},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			w.PropagationWorks.Put(work(nil))
			before := w.look(t).Work.GetHash()
			w.PropagationWorks.Put(work(test.change))
			if same := string(before) == string(w.look(t).Work.GetHash()); same != test.same {
				t.Errorf("the hash is the same: %t, want %t", same, test.same)
			}
		})
	}
}

func TestAMessageIsMadeOnceForEachStateOfAWork(t *testing.T) {
	w := newWorld(t)
	w.PropagationWorks.Put(work(nil))
	first := w.look(t).Work
	w.view.Keys("a")
	if w.look(t).Work != first {
		t.Error("it was made again")
	}
	w.PropagationWorks.Change("karmada-es-a", "web", func(work *workv1alpha1.PropagationWork) {
		work.Spec.Workload.Manifests = []runtime.RawExtension{{Raw: []byte(`{"kind":"Other"}`)}}
		work.Generation++
	})
	if second := w.look(t).Work; second == first || second.GetGeneration() != 3 {
		t.Errorf("it was not made again: generation %d", second.GetGeneration())
	}
	w.PropagationWorks.Drop("karmada-es-a", "web")
	if _, ok := w.view.Get("a", "web"); ok {
		t.Error("a work that is gone is still shown")
	}
}

func TestTheListHasAllWorksOfOneCluster(t *testing.T) {
	w := newWorld(t)
	w.PropagationWorks.Put(work(nil))
	w.PropagationWorks.Put(work(func(work *workv1alpha1.PropagationWork) {
		work.Name, work.UID = "api", "w2"
		work.DeletionTimestamp = &metav1.Time{Time: storetest.Began}
	}))
	w.PropagationWorks.Put(work(func(work *workv1alpha1.PropagationWork) {
		work.Name, work.UID = "db", "w4"
		work.Status.Delivery.Received = &workv1alpha1.Milestone{Generation: 2}
	}))
	last := w.PropagationWorks.Put(work(func(work *workv1alpha1.PropagationWork) { work.Namespace, work.UID = "karmada-es-b", "w3" }))
	got, revision := w.view.Keys("a")
	want := []session.Listed{
		{Ref: session.Ref{Key: "api", UID: "w2", Generation: 2}, Removing: true, Unreported: true},
		{Ref: session.Ref{Key: "db", UID: "w4", Generation: 2}},
		{Ref: session.Ref{Key: "web", UID: "w1", Generation: 2}, Unreported: true},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(session.Ref{}, "Hash"), cmpopts.SortSlices(func(a, b session.Listed) bool { return a.Key < b.Key })); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if want, _ := strconv.ParseInt(last.ResourceVersion, 10, 64); revision < want {
		t.Errorf("the list's revision is %d, the newest work's %d", revision, want)
	}
}

func TestTheViewIsNotOlderThanItsFirstList(t *testing.T) {
	w := newWorld(t)
	if got := w.view.Revision(); got != 1 {
		t.Errorf("the revision is %d, want that of the first list", got)
	}
	if !w.view.Synced() {
		t.Error("it has not synced")
	}
}

func TestSyncWaitsUntilTheViewShowsWhatTheStoreHas(t *testing.T) {
	tests := []struct {
		reason string
		change func(w *world)
		waits  bool
	}{
		{"the cache shows everything", func(*world) {}, false},
		{"a new work is on the way", func(w *world) {
			w.PropagationWorks.Put(work(func(work *workv1alpha1.PropagationWork) { work.Name, work.UID = "api", "w2" }))
		}, true},
		{"a change is on the way", func(w *world) {
			w.PropagationWorks.Change("karmada-es-a", "web", func(work *workv1alpha1.PropagationWork) { work.Generation++ })
		}, true},
		{"an end is on the way", func(w *world) { w.PropagationWorks.Drop("karmada-es-a", "web") }, true},
		{"something is on the way to another cluster", func(w *world) {
			w.PropagationWorks.Put(work(func(work *workv1alpha1.PropagationWork) { work.Namespace, work.UID = "karmada-es-b", "w3" }))
		}, false},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.PropagationWorks.Put(work(nil))
				w.PropagationWorks.Hold()
				test.change(w)
				done := make(chan error, 1)
				go func() { done <- w.view.Sync(t.Context(), "a") }()
				time.Sleep(time.Second) // of the bubble's clock
				select {
				case err := <-done:
					if test.waits || err != nil {
						t.Fatalf("it returned %v", err)
					}
					return
				default:
				}
				if !test.waits {
					t.Fatal("it waits")
				}
				w.PropagationWorks.Release()
				if err := <-done; err != nil {
					t.Errorf("once the cache shows it: %v", err)
				}
			})
		})
	}
	t.Run("a store that can't be read is told", func(t *testing.T) {
		w := newWorld(t)
		w.listFails = errors.New("disk full")
		if err := w.view.Sync(t.Context(), "a"); !errors.Is(err, w.listFails) {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestARemovalSaysWhyAndWhetherTheObjectsStay(t *testing.T) {
	tests := []struct {
		reason   string
		cause    workv1alpha1.RemovalCause
		preserve *bool
		want     session.Removing
	}{
		{"the template was deleted", workv1alpha1.RemovalTemplateDeleted, nil, session.Removing{Cause: linkv1.RemovalCause_REMOVAL_CAUSE_TEMPLATE_DELETED}},
		{"the template was deleted and the policy keeps the objects", workv1alpha1.RemovalTemplateDeleted, ptr.To(true),
			session.Removing{Cause: linkv1.RemovalCause_REMOVAL_CAUSE_TEMPLATE_DELETED, Keep: true}},
		{"… and says that it does not", workv1alpha1.RemovalTemplateDeleted, ptr.To(false), session.Removing{Cause: linkv1.RemovalCause_REMOVAL_CAUSE_TEMPLATE_DELETED}},
		{"the cluster is no longer wanted", workv1alpha1.RemovalNotSelected, nil, session.Removing{Cause: linkv1.RemovalCause_REMOVAL_CAUSE_NOT_SELECTED}},
		{"the cluster leaves the hub", workv1alpha1.RemovalClusterRemoved, nil, session.Removing{Cause: linkv1.RemovalCause_REMOVAL_CAUSE_CLUSTER_REMOVED}},
		{"the cluster leaves the hub and the policy keeps the objects", workv1alpha1.RemovalClusterRemoved, ptr.To(true),
			session.Removing{Cause: linkv1.RemovalCause_REMOVAL_CAUSE_CLUSTER_REMOVED, Keep: true}},
		{"an administrator forces it", workv1alpha1.RemovalForced, nil, session.Removing{Cause: linkv1.RemovalCause_REMOVAL_CAUSE_FORCED}},
		{"somebody deleted the work without a word", "", nil, session.Removing{Cause: linkv1.RemovalCause_REMOVAL_CAUSE_FORCED}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			w.PropagationWorks.Put(work(func(work *workv1alpha1.PropagationWork) {
				work.DeletionTimestamp = &metav1.Time{Time: storetest.Began}
				work.Spec.RemovalCause, work.Spec.PreserveResourcesOnDeletion = test.cause, test.preserve
			}))
			item := w.look(t)
			test.want.UID = "w1"
			test.want.Objects = []*linkv1.ObjectRef{{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "shop", Name: "web"}}
			if item.Removing == nil {
				t.Fatalf("it is no removal: %+v", item)
			}
			if item.Work.GetUid() != "w1" {
				t.Errorf("a member that holds a former work could not be told which one is removed: %+v", item.Work)
			}
			if diff := cmp.Diff(test.want, *item.Removing, protocmp.Transform()); diff != "" {
				t.Errorf("removal (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAMemberHearsOfWhatItHasToActOn(t *testing.T) {
	tests := []struct {
		reason string
		happen func(w *world)
		hears  bool
	}{
		{"its work has changed", func(w *world) {
			w.PropagationWorks.Change("karmada-es-a", "web", func(work *workv1alpha1.PropagationWork) { work.Generation++ })
		}, true},
		{"its work is to be removed", func(w *world) {
			w.PropagationWorks.Change("karmada-es-a", "web", func(work *workv1alpha1.PropagationWork) { work.DeletionTimestamp = &metav1.Time{Time: storetest.Began} })
		}, true},
		{"its work is to be removed for another reason", func(w *world) {
			w.PropagationWorks.Change("karmada-es-a", "web", func(work *workv1alpha1.PropagationWork) {
				work.Spec.RemovalCause = workv1alpha1.RemovalTemplateDeleted
			})
		}, true},
		{"its work is gone", func(w *world) { w.PropagationWorks.Drop("karmada-es-a", "web") }, true},
		{"its work is another one of the same name", func(w *world) {
			w.PropagationWorks.Put(work(func(work *workv1alpha1.PropagationWork) { work.UID = "w9" }))
		}, true},
		{"what it said itself was written down", func(w *world) {
			w.PropagationWorks.Change("karmada-es-a", "web", func(work *workv1alpha1.PropagationWork) { work.Status.Delivery.Epoch = 7 })
		}, false},
		{"somebody labelled the work", func(w *world) {
			w.PropagationWorks.Change("karmada-es-a", "web", func(work *workv1alpha1.PropagationWork) { work.Labels = map[string]string{"team": "blue"} })
		}, false},
		{"another cluster has a new work", func(w *world) {
			w.PropagationWorks.Put(work(func(work *workv1alpha1.PropagationWork) { work.Namespace, work.UID = "karmada-es-b", "w3" }))
		}, false},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			heard := []string{}
			cancel := w.view.Subscribe("a", func(keys ...string) { heard = append(heard, keys...) })
			w.PropagationWorks.Put(work(nil))
			if diff := cmp.Diff([]string{"web"}, heard); diff != "" {
				t.Fatalf("of the new work it heard (-want +got):\n%s", diff)
			}
			heard = []string{}
			test.happen(w)
			want := []string{}
			if test.hears {
				want = []string{"web"}
			}
			if diff := cmp.Diff(want, heard); diff != "" {
				t.Errorf("heard (-want +got):\n%s", diff)
			}
			cancel()
			heard = nil
			w.PropagationWorks.Put(work(func(work *workv1alpha1.PropagationWork) { work.Name, work.UID = "late", "w7" }))
			if len(heard) > 0 {
				t.Errorf("after the end of the subscription: %v", heard)
			}
		})
	}
}

// report is what the member says of generation 2 of the work.
func report(change func(*linkv1.Report)) *linkv1.Report {
	r := &linkv1.Report{
		Key: "web", Uid: "w1", Generation: 2, Applied: true, Observed: true, Health: linkv1.Health_HEALTH_HEALTHY,
		Status: []byte(`{"readyReplicas":2}`), SessionEpoch: 7,
		Generations: &linkv1.Generations{
			Sent: reached(2, 0), Received: reached(2, time.Second), Applied: reached(2, 2*time.Second), Healthy: reached(2, 3*time.Second),
		},
	}
	if change != nil {
		change(r)
	}
	return r
}

func reached(generation int64, after time.Duration) *linkv1.Milestone {
	return &linkv1.Milestone{Generation: generation, At: timestamppb.New(storetest.Began.Add(after))}
}

func (w *world) record(t *testing.T, said *linkv1.Report) workv1alpha1.WorkStatus {
	t.Helper()
	if _, err := w.view.Record(t.Context(), "a", said); err != nil {
		t.Fatal(err)
	}
	stored, _ := w.PropagationWorks.Get("karmada-es-a", "web")
	return stored.Status
}

func condition(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: 2, LastTransitionTime: metav1.NewTime(storetest.Began)}
}

func TestWhatAMemberReportsIsWrittenDown(t *testing.T) {
	w := newWorld(t)
	w.PropagationWorks.Put(work(nil))
	at := func(after time.Duration) *workv1alpha1.Milestone {
		return &workv1alpha1.Milestone{Generation: 2, Time: metav1.NewMicroTime(storetest.Began.Add(after))}
	}
	want := workv1alpha1.WorkStatus{
		Conditions: []metav1.Condition{
			condition(workv1alpha1.WorkApplied, metav1.ConditionTrue, "Applied", ""),
			condition(workv1alpha1.WorkAvailable, metav1.ConditionTrue, "Healthy", ""),
		},
		ManifestStatuses: []workv1alpha1.ManifestStatus{{
			Identifier: workv1alpha1.ResourceIdentifier{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "shop", Name: "web"},
			Observed:   true, Health: workv1alpha1.ResourceHealthy, Status: &runtime.RawExtension{Raw: []byte(`{"readyReplicas":2}`)},
		}},
		Delivery: workv1alpha1.Delivery{Sent: at(0), Received: at(time.Second), Applied: at(2 * time.Second), Healthy: at(3 * time.Second), Epoch: 7},
	}
	if diff := cmp.Diff(want, w.record(t, report(nil))); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"status karmada-es-a/web"}, w.PropagationWorks.Writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}

	t.Run("and once", func(t *testing.T) {
		w.now = w.now.Add(time.Hour)
		w.record(t, report(nil))
		if writes := w.PropagationWorks.Writes(); len(writes) > 0 {
			t.Errorf("the same report is written again: %v", writes)
		}
	})
	t.Run("with the time at which a generation first got there", func(t *testing.T) {
		later := w.record(t, report(func(r *linkv1.Report) {
			r.Generations.Applied, r.Generations.Healthy = reached(2, time.Hour), reached(3, time.Hour)
		})).Delivery
		if !later.Applied.Time.Equal(&want.Delivery.Applied.Time) {
			t.Errorf("an agent that has restarted reached generation 2 again at %s", later.Applied.Time)
		}
		if later.Healthy.Generation != 3 || !later.Healthy.Time.Time.Equal(storetest.Began.Add(time.Hour)) {
			t.Errorf("a new generation is %+v", later.Healthy)
		}
	})
}

func TestTheConditionsSayWhatTheMemberSaid(t *testing.T) {
	tests := []struct {
		reason string
		report func(*linkv1.Report)
		want   []metav1.Condition
	}{
		{"it could not apply it", func(r *linkv1.Report) {
			r.Applied, r.Reason, r.Message, r.Health = false, "Conflict", "the object is not ours", linkv1.Health_HEALTH_UNKNOWN
		}, []metav1.Condition{
			condition(workv1alpha1.WorkApplied, metav1.ConditionFalse, "Conflict", "the object is not ours"),
			condition(workv1alpha1.WorkAvailable, metav1.ConditionUnknown, "Unknown", ""),
		}},
		{"it has not come to it yet", func(r *linkv1.Report) {
			r.Applied, r.Health, r.HealthMessage = false, linkv1.Health_HEALTH_UNHEALTHY, "1 of 3 replicas are updated"
		}, []metav1.Condition{
			condition(workv1alpha1.WorkApplied, metav1.ConditionUnknown, "Applying", ""),
			condition(workv1alpha1.WorkAvailable, metav1.ConditionFalse, "Unhealthy", "1 of 3 replicas are updated"),
		}},
		{"it says something else besides", func(r *linkv1.Report) {
			r.Conditions = []*linkv1.Condition{{Type: "FieldsDropped", Status: "True", Reason: "Older", Message: "spec.x"}}
		}, []metav1.Condition{
			condition(workv1alpha1.WorkApplied, metav1.ConditionTrue, "Applied", ""),
			condition(workv1alpha1.WorkAvailable, metav1.ConditionTrue, "Healthy", ""),
			condition("FieldsDropped", metav1.ConditionTrue, "Older", "spec.x"),
		}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			w.PropagationWorks.Put(work(nil))
			if diff := cmp.Diff(test.want, w.record(t, report(test.report)).Conditions); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
		})
	}

	t.Run("and no longer what it no longer says, but what the hub says itself", func(t *testing.T) {
		w := newWorld(t)
		w.PropagationWorks.Put(work(func(work *workv1alpha1.PropagationWork) {
			work.Spec.SuspendDispatching = ptr.To(true)
			work.Status.Conditions = []metav1.Condition{
				condition("FieldsDropped", metav1.ConditionTrue, "Older", ""), condition(workv1alpha1.WorkDispatching, metav1.ConditionFalse, "Suspended", ""),
			}
		}))
		kinds := []string{}
		for _, c := range w.record(t, report(nil)).Conditions {
			kinds = append(kinds, c.Type)
		}
		if diff := cmp.Diff([]string{workv1alpha1.WorkDispatching, workv1alpha1.WorkApplied, workv1alpha1.WorkAvailable}, kinds); diff != "" {
			t.Errorf("conditions (-want +got):\n%s", diff)
		}
	})
	t.Run("that sending is suspended, and that it is not any more", func(t *testing.T) {
		w := newWorld(t)
		dispatching := func(suspend bool) metav1.ConditionStatus {
			w.PropagationWorks.Put(work(func(work *workv1alpha1.PropagationWork) {
				if existing, ok := w.PropagationWorks.Get(work.Namespace, work.Name); ok {
					work.Status = existing.Status
				}
				work.Spec.SuspendDispatching = &suspend
			}))
			said := meta.FindStatusCondition(w.record(t, report(nil)).Conditions, workv1alpha1.WorkDispatching)
			if said == nil {
				return ""
			}
			return said.Status
		}
		got := []metav1.ConditionStatus{dispatching(false), dispatching(true), dispatching(false)}
		if diff := cmp.Diff([]metav1.ConditionStatus{"", metav1.ConditionFalse, metav1.ConditionTrue}, got); diff != "" {
			t.Errorf("Dispatching before, during and after (-want +got):\n%s", diff)
		}
	})
	t.Run("nothing is said of an object that was never applied", func(t *testing.T) {
		w := newWorld(t)
		w.PropagationWorks.Put(work(nil))
		got := w.record(t, report(func(r *linkv1.Report) { r.Generation, r.Applied, r.Generations = 0, false, nil }))
		if len(got.ManifestStatuses) > 0 || got.Delivery.Sent != nil {
			t.Errorf("status %+v", got)
		}
	})
	t.Run("a status that is no JSON is left out", func(t *testing.T) {
		w := newWorld(t)
		w.PropagationWorks.Put(work(nil))
		if got := w.record(t, report(func(r *linkv1.Report) { r.Status = []byte("{") })); got.ManifestStatuses[0].Status != nil {
			t.Errorf("status %s", got.ManifestStatuses[0].Status.Raw)
		}
	})
}

func TestTheObjectOfAWorkIsNamedInItsStatus(t *testing.T) {
	want := workv1alpha1.ResourceIdentifier{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "shop", Name: "web"}
	unread := runtime.RawExtension{Raw: []byte(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"namespace":"shop","name":"not read"}}`)}
	for _, test := range []struct {
		reason string
		work   func(*workv1alpha1.PropagationWork)
	}{
		{"as its template, without a look at the manifest", func(work *workv1alpha1.PropagationWork) {
			work.Spec.Workload.Manifests = []runtime.RawExtension{unread}
		}},
		{"as the manifest, where somebody has made the work by hand", func(work *workv1alpha1.PropagationWork) { work.Spec.Template = nil }},
		{"as the first of several manifests, where the agent tells only of that", func(work *workv1alpha1.PropagationWork) {
			work.Spec.Template.Name = "another"
			work.Spec.Workload.Manifests = append(work.Spec.Workload.Manifests, unread)
		}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			w.PropagationWorks.Put(work(test.work))
			statuses := w.record(t, report(nil)).ManifestStatuses
			if len(statuses) != 1 || statuses[0].Identifier != want {
				t.Errorf("statuses are %+v, want one of %+v", statuses, want)
			}
		})
	}
}

func TestEveryManifestOfAWorkHasAStatusOfItsOwn(t *testing.T) {
	raw := func(text string) runtime.RawExtension { return runtime.RawExtension{Raw: []byte(text)} }
	three := func(work *workv1alpha1.PropagationWork) {
		work.Spec.Workload.Manifests = append(work.Spec.Workload.Manifests,
			raw(`{"apiVersion":"v1","kind":"Service","metadata":{"namespace":"shop","name":"web"}}`),
			raw(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"shop","name":"web"}}`))
	}
	deployment := &linkv1.ObjectReport{
		Group: "apps", Version: "v1", Kind: "Deployment", Resource: "deployments", Namespace: "shop", Name: "web",
		Health: linkv1.Health_HEALTH_UNHEALTHY, Status: []byte(`{"replicas":2}`), Observed: true,
	}
	configMap := &linkv1.ObjectReport{Version: "v1", Kind: "ConfigMap", Resource: "configmaps", Namespace: "shop", Name: "web", Health: linkv1.Health_HEALTH_HEALTHY, Observed: true}
	other := &linkv1.ObjectReport{Version: "v1", Kind: "ConfigMap", Resource: "configmaps", Namespace: "shop", Name: "of-another-generation"}
	id := func(ordinal int32, group, kind, resource string) workv1alpha1.ResourceIdentifier {
		return workv1alpha1.ResourceIdentifier{Ordinal: ordinal, Group: group, Version: "v1", Kind: kind, Resource: resource, Namespace: "shop", Name: "web"}
	}
	said := []*linkv1.ObjectReport{other, configMap, deployment}
	want := []workv1alpha1.ManifestStatus{
		{Identifier: id(0, "apps", "Deployment", "deployments"), Status: &runtime.RawExtension{Raw: deployment.Status}, Observed: true, Health: workv1alpha1.ResourceUnhealthy},
		{Identifier: id(1, "", "Service", ""), Health: workv1alpha1.ResourceUnknown},
		{Identifier: id(2, "", "ConfigMap", "configmaps"), Observed: true, Health: workv1alpha1.ResourceHealthy},
	}
	large := func(of *linkv1.ObjectReport, size int) *linkv1.ObjectReport {
		copied := proto.Clone(of).(*linkv1.ObjectReport)
		copied.Status = []byte(`"` + strings.Repeat("x", size-2) + `"`)
		return copied
	}
	tests := []struct {
		reason string
		report func(*linkv1.Report)
		want   []workv1alpha1.ManifestStatus
	}{
		{"in the order of the manifests, whatever was said of others", func(r *linkv1.Report) { r.Objects = said }, want},
		{"also while not all of them were ever applied", func(r *linkv1.Report) { r.Objects, r.Generation, r.Applied = said, 0, false }, want},
		{"of which there is none while none is there", func(r *linkv1.Report) { r.Generation, r.Applied = 0, false }, nil},
		{"but from an agent that tells only of the first", nil, []workv1alpha1.ManifestStatus{{
			Identifier: id(0, "apps", "Deployment", ""), Status: &runtime.RawExtension{Raw: []byte(`{"readyReplicas":2}`)}, Observed: true, Health: workv1alpha1.ResourceHealthy,
		}}},
		{"and one that is no JSON, or too large beside the others, is left out", func(r *linkv1.Report) {
			broken := proto.Clone(configMap).(*linkv1.ObjectReport)
			broken.Status = []byte("{")
			r.Objects = []*linkv1.ObjectReport{large(deployment, interpret.MaxWorkStatusBytes), broken}
		}, []workv1alpha1.ManifestStatus{
			{Identifier: want[0].Identifier, Observed: true, Health: workv1alpha1.ResourceUnhealthy}, want[1], want[2],
		}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			w.PropagationWorks.Put(work(three))
			if diff := cmp.Diff(test.want, w.record(t, report(test.report)).ManifestStatuses); diff != "" {
				t.Errorf("statuses (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAReportOfAnotherWorkIsDropped(t *testing.T) {
	w := newWorld(t)
	w.PropagationWorks.Put(work(nil))
	w.record(t, report(func(r *linkv1.Report) { r.Uid = "old" }))
	if err := w.view.Removed(t.Context(), "a", "web", "old"); err != nil {
		t.Error(err)
	}
	if err := w.view.Removed(t.Context(), "a", "gone", "w1"); err != nil {
		t.Errorf("a removed work that is gone: %v", err)
	}
	for _, c := range []struct {
		what, cluster string
		said          *linkv1.Report
	}{
		{"a work that is gone", "a", report(func(r *linkv1.Report) { r.Key = "gone" })},
		{"an earlier work of that name", "a", report(func(r *linkv1.Report) { r.Uid = "old" })},
		{"another cluster's work", "b", report(nil)},
	} {
		if revision, err := w.view.Record(t.Context(), c.cluster, c.said); err != nil || revision != 0 {
			t.Errorf("%s: recorded in revision %d, error %v", c.what, revision, err)
		}
	}
	if writes := w.PropagationWorks.Writes(); len(writes) > 0 {
		t.Errorf("written: %v", writes)
	}
}

func TestARecordedReportIsInTheStoreAtTheRevisionThatItSays(t *testing.T) {
	w := newWorld(t)
	w.PropagationWorks.Put(work(nil))
	before, _ := w.PropagationWorks.Get("karmada-es-a", "web")
	for _, what := range []string{"it is written", "it says nothing new, as one does whose answer was lost"} {
		revision, err := w.view.Record(t.Context(), "a", report(nil))
		if err != nil {
			t.Fatal(err)
		}
		stored, _ := w.PropagationWorks.Get("karmada-es-a", "web")
		if stored.ResourceVersion == before.ResourceVersion || revision != works.Revision(stored.ResourceVersion) {
			t.Errorf("%s: the store has it at revision %s, said is %d", what, stored.ResourceVersion, revision)
		}
	}
}

func TestAReportIsWrittenOverAChangeThatTheCacheDoesNotShowYet(t *testing.T) {
	w := newWorld(t)
	w.PropagationWorks.Put(work(nil))
	w.PropagationWorks.Hold()
	w.PropagationWorks.Change("karmada-es-a", "web", func(work *workv1alpha1.PropagationWork) {
		work.Labels = map[string]string{"team": "blue"}
		work.Generation = 3
	})
	got := w.record(t, report(nil))
	if len(got.Conditions) != 2 || w.reads != 1 {
		t.Errorf("conditions %+v after %d reads of the store", got.Conditions, w.reads)
	}
	stored, _ := w.PropagationWorks.Get("karmada-es-a", "web")
	if stored.Labels["team"] != "blue" || stored.Generation != 3 {
		t.Errorf("the other change is lost: %+v", stored.ObjectMeta)
	}

	t.Run("a new work of that name is left alone", func(t *testing.T) {
		w := newWorld(t)
		w.PropagationWorks.Put(work(nil))
		w.PropagationWorks.Hold()
		w.PropagationWorks.Put(work(func(work *workv1alpha1.PropagationWork) { work.UID = "w9" }))
		if got := w.record(t, report(nil)); len(got.Conditions) > 0 {
			t.Errorf("it has the conditions of the old one: %+v", got.Conditions)
		}
	})
	t.Run("any other failure is told", func(t *testing.T) {
		w := newWorld(t)
		w.PropagationWorks.Put(work(nil))
		full := errors.New("disk full")
		w.PropagationWorks.Refuse = func(string, *workv1alpha1.PropagationWork) error { return full }
		if _, err := w.view.Record(t.Context(), "a", report(nil)); !errors.Is(err, full) {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestAWorkGoesWhenItsMemberHasRemovedIt(t *testing.T) {
	removing := func(work *workv1alpha1.PropagationWork) { work.DeletionTimestamp = &metav1.Time{Time: storetest.Began} }
	tests := []struct {
		reason string
		change func(*workv1alpha1.PropagationWork)
		uid    types.UID
		held   bool
		gone   bool
	}{
		{"it is being removed", removing, "w1", false, true},
		{"it is being removed and the cache shows an older state", removing, "w1", true, true},
		{"the removal is of an earlier work", removing, "w0", false, false},
		{"nobody asked for its removal", nil, "w1", false, false},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			w.PropagationWorks.Put(work(test.change))
			if test.held {
				w.PropagationWorks.Hold()
				w.PropagationWorks.Change("karmada-es-a", "web", func(work *workv1alpha1.PropagationWork) { work.Status.Delivery.Epoch = 9 })
			}
			if err := w.view.Removed(t.Context(), "a", "web", string(test.uid)); err != nil {
				t.Fatal(err)
			}
			if _, ok := w.PropagationWorks.Get("karmada-es-a", "web"); ok == test.gone {
				t.Errorf("it is still there: %t", ok)
			}
			if writes := w.PropagationWorks.Writes(); !test.gone && len(writes) > 0 {
				t.Errorf("written: %v", writes)
			}
		})
	}
}

func TestAReportIsWrittenThatIsLikeTheCachedStatusButNotLikeWhatWasWrittenSince(t *testing.T) {
	w := newWorld(t)
	w.PropagationWorks.Put(work(nil))
	record := func(health linkv1.Health) {
		t.Helper()
		if _, err := w.view.Record(t.Context(), "a", report(func(r *linkv1.Report) { r.Health = health })); err != nil {
			t.Fatal(err)
		}
	}
	record(linkv1.Health_HEALTH_HEALTHY)
	w.PropagationWorks.Hold() // from here on the cache shows a healthy work
	record(linkv1.Health_HEALTH_UNHEALTHY)
	record(linkv1.Health_HEALTH_HEALTHY)
	stored, _ := w.PropagationWorks.Get("karmada-es-a", "web")
	if !meta.IsStatusConditionTrue(stored.Status.Conditions, workv1alpha1.WorkAvailable) {
		t.Errorf("the work is healthy again, and the store says %+v", stored.Status.Conditions)
	}
}
