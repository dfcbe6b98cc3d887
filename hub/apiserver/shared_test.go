package apiserver_test

import (
	"context"
	"fmt"
	"testing"

	"k8s.io/client-go/tools/cache"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	"windlass.dev/windlass/hub/apiserver"
)

func TestClustersThatServeTheSameShareTheListOfIt(t *testing.T) {
	ctx := t.Context()
	clusters := hub.server.Stores.MemberClusters
	informer := cache.NewSharedIndexInformer(clusters.ListerWatcher(), &clusterv1alpha1.MemberCluster{}, 0, cache.Indexers{})
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		t.Fatal("the informer did not sync")
	}
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
