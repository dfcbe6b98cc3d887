package apiserver_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"unsafe"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/features"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/tools/cache"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/apiserver"
)

func TestClustersThatServeTheSameShareTheListOfIt(t *testing.T) {
	ctx := t.Context()
	clusters := hub.server.Stores.MemberClusters
	informer := synced(t, clusters.ListerWatcher(), &clusterv1alpha1.MemberCluster{})
	names := []string{"alike-0", "alike-1"}
	for _, name := range names {
		created, err := clusters.Create(ctx, newCluster(name))
		if err != nil {
			t.Fatal(err)
		}
		written := created.DeepCopy()
		written.Status.APIEnablements = []clusterv1alpha1.APIEnablement{
			{GroupVersion: "alike/v1", Resources: []clusterv1alpha1.APIResource{{Name: "things", Kind: "Thing"}}},
		}
		if _, err := clusters.UpdateStatus(ctx, written); err != nil {
			t.Fatal(err)
		}
	}
	lists := map[*clusterv1alpha1.APIEnablement][]string{}
	note := func(where string, cluster *clusterv1alpha1.MemberCluster) {
		if served := cluster.Status.APIEnablements; len(served) == 1 && served[0].GroupVersion == "alike/v1" {
			lists[&served[0]] = append(lists[&served[0]], fmt.Sprintf("%s in the %s", cluster.Name, where))
		}
	}
	eventually(t, "watch cache and informer have both clusters", func(ctx context.Context) (bool, error) {
		clear(lists)
		cached, _, err := clusters.List(ctx, apiserver.ListOptions{Cached: true})
		if err != nil {
			return false, err
		}
		for _, cluster := range cached {
			note("watch cache", cluster)
		}
		for _, obj := range informer.GetStore().List() {
			note("informer", obj.(*clusterv1alpha1.MemberCluster))
		}
		found := 0
		for _, where := range lists {
			found += len(where)
		}
		return found == 2*len(names), nil
	})
	if len(lists) != 1 {
		t.Errorf("what they serve is held %d times: %v", len(lists), lists)
	}
}

func TestWorksThatAreAlikeShareTheirContent(t *testing.T) {
	ctx := t.Context()
	works := hub.server.Stores.Works
	informer := synced(t, works.ListerWatcher(), &workv1alpha1.PropagationWork{})
	manifest := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"alike","namespace":"default"},"data":{"a":%q}}`, strings.Repeat("a", 200))
	clusters := []string{"alike-2", "alike-3"}
	for _, cluster := range clusters {
		work := newWork(cluster, "alike", manifest)
		makeNamespace(t, work.Namespace)
		created, err := works.Create(ctx, work)
		if err != nil {
			t.Fatal(err)
		}
		written := created.DeepCopy()
		written.Status.ManifestStatuses = []workv1alpha1.ManifestStatus{{
			Identifier: workv1alpha1.ResourceIdentifier{Version: "v1", Kind: "ConfigMap", Namespace: "default", Name: "alike"},
			Status:     longStatus(),
		}}
		if _, err := works.UpdateStatus(ctx, written); err != nil {
			t.Fatal(err)
		}
	}
	contents, found := map[*byte]bool{}, 0
	note := func(work *workv1alpha1.PropagationWork) {
		if work.Name == "alike" && len(work.Status.ManifestStatuses) == 1 {
			found++
			contents[&work.Spec.Workload.Manifests[0].Raw[0]] = true
			contents[&work.Status.ManifestStatuses[0].Status.Raw[0]] = true
		}
	}
	eventually(t, "store and informer have both works", func(ctx context.Context) (bool, error) {
		clear(contents)
		found = 0
		cached, _, err := works.List(ctx, apiserver.ListOptions{Cached: true})
		if err != nil {
			return false, err
		}
		for _, work := range cached {
			note(work)
		}
		for _, obj := range informer.GetStore().List() {
			note(obj.(*workv1alpha1.PropagationWork))
		}
		return found == 2*len(clusters), nil
	})
	if len(contents) != 2 {
		t.Errorf("a manifest and a status are held %d times", len(contents))
	}
}

func TestVersionsOfABindingShareItsClustersAndTheirStatuses(t *testing.T) {
	ctx := t.Context()
	makeNamespace(t, "alike")
	bindings := hub.server.Stores.Bindings
	binding := newBinding("alike", "alike")
	for i := range 3 {
		binding.Spec.Clusters = append(binding.Spec.Clusters, workv1alpha1.TargetCluster{Name: fmt.Sprint("alike-", i), Replicas: int32(i)})
	}
	created, err := bindings.Create(ctx, binding)
	if err != nil {
		t.Fatal(err)
	}
	clusters, names, contents := map[*workv1alpha1.TargetCluster]bool{}, map[*byte]bool{}, map[*byte]bool{}
	for reports := range len(binding.Spec.Clusters) {
		written := created.DeepCopy()
		for i := range reports + 1 {
			written.Status.AggregatedStatus = append(written.Status.AggregatedStatus[:i:i], workv1alpha1.AggregatedStatusItem{
				ClusterName: written.Spec.Clusters[i].Name, Status: longStatus(),
			})
		}
		if created, err = bindings.UpdateStatus(ctx, written); err != nil {
			t.Fatal(err)
		}
		read, err := bindings.Get(ctx, "alike", "alike")
		if err != nil {
			t.Fatal(err)
		}
		clusters[&read.Spec.Clusters[0]] = true
		first := read.Status.AggregatedStatus[0]
		names[unsafe.StringData(first.ClusterName)] = true
		contents[&first.Status.Raw[0]] = true
		for i, item := range read.Status.AggregatedStatus {
			if item.Status != first.Status {
				t.Errorf("of version %d cluster %d has a status of its own, which is the same", reports, i)
			}
		}
	}
	if len(clusters) != 1 || len(names) != 1 || len(contents) != 1 {
		t.Errorf("the versions of a binding hold %d lists of clusters, %d names of one, and %d contents of a status",
			len(clusters), len(names), len(contents))
	}
}

func TestTheWatchCachesKeepNoSnapshots(t *testing.T) {
	if utilfeature.DefaultFeatureGate.Enabled(features.ListFromCacheSnapshot) {
		t.Error("they hold on to a path of nodes for each write")
	}
}

func TestTheFlagOfFeatureGatesBringsSnapshotsBack(t *testing.T) {
	_, store, set := newStore(t)
	// A feature is on or off for the whole process, and what flags said once is remembered: the last of these leaves it as the tests
	// before and after this one expect it.
	for _, c := range []struct {
		reason, flag string
		want         bool
	}{
		{"who lists in pages may want them", "ListFromCacheSnapshot=true", true},
		{"the flag can say what is so without it", "ListFromCacheSnapshot=false", false},
	} {
		t.Run(c.reason, func(t *testing.T) {
			_, err := apiserver.New(t.Context(), apiserver.Config{
				Store: store, PKI: set, Listen: "127.0.0.1:0", LogLevel: slog.LevelError, Flags: map[string]string{"feature-gates": c.flag},
			})
			if err != nil {
				t.Error(err)
			}
			if on := utilfeature.DefaultFeatureGate.Enabled(features.ListFromCacheSnapshot); on != c.want {
				t.Errorf("snapshots: %t, want %t", on, c.want)
			}
		})
	}
}

// synced runs an informer that has everything.
func synced(t *testing.T, lister cache.ListerWatcher, example runtime.Object) cache.SharedIndexInformer {
	t.Helper()
	informer := cache.NewSharedIndexInformer(lister, example, 0, cache.Indexers{})
	go informer.RunWithContext(t.Context())
	if !cache.WaitForCacheSync(t.Context().Done(), informer.HasSynced) {
		t.Fatal("the informer did not sync")
	}
	return informer
}

// longStatus is a status that is worth sharing.
func longStatus() *runtime.RawExtension {
	return &runtime.RawExtension{Raw: fmt.Appendf(nil, `{"message":%q}`, strings.Repeat("b", 200))}
}
