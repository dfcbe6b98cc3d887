package hub

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/hub/incarnation"
	"windlass.dev/windlass/hub/link"
	"windlass.dev/windlass/hub/roster"
	"windlass.dev/windlass/hub/store/storetest"
)

func TestDeletionsWaitForTheClusterThatTheyWaitedIn(t *testing.T) {
	for _, c := range []struct {
		reason, cluster, id, why string
		held                     bool
	}{
		{"too many waited when the process before ended", "eu", "id-1", clusterv1alpha1.DeletionsHeldTooMany, true},
		{"that the store was restored is remembered in the store", "eu", "id-1", clusterv1alpha1.DeletionsHeldStoreRestored, false},
		{"the cluster has joined under the name of one that the cache still shows", "eu", "id-2", clusterv1alpha1.DeletionsHeldTooMany, false},
		{"nothing is known of the cluster", "us", "id-1", clusterv1alpha1.DeletionsHeldTooMany, false},
	} {
		known := &clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "eu"}, Spec: clusterv1alpha1.ClusterSpec{ID: "id-1"}}
		meta.SetStatusCondition(&known.Status.Conditions, metav1.Condition{Type: clusterv1alpha1.ClusterDeletionsHeld, Status: metav1.ConditionTrue, Reason: c.why})
		clusters := storetest.New().MemberClusters
		clusters.Put(known)
		if held := heldBefore(clusters.Kind())(c.cluster, c.id); held != c.held {
			t.Errorf("they wait: %t, want %t: %s", held, c.held, c.reason)
		}
	}
}

func TestAnEpochIsGivenToTheAgentOfTheClusterThatHasTheName(t *testing.T) {
	now := time.Now()
	later, never := now.Add(30*time.Second).UnixMilli(), now.AddDate(200, 0, 0).UnixMilli()
	claim := func(change func(*link.Claim)) link.Claim {
		c := link.Claim{ClusterID: "id-1", KubeSystemUID: "uid-1"}
		change(&c)
		return c
	}
	nothing := func(*link.Claim) {}
	for _, c := range []struct {
		reason, cluster string
		claim           link.Claim
		// refused is why the agent is told not to come again as it is; without it, and without an epoch, it comes again.
		refused linkv1.GoodbyeReason
		above   int64
	}{
		{reason: "it is the cluster that is known", cluster: "eu", claim: claim(nothing), above: now.UnixMilli() - 1},
		{reason: "its last session, with another process, was later by another clock", cluster: "eu", claim: claim(func(c *link.Claim) { c.LastEpoch = later }), above: later},
		{reason: "nobody has the name yet", cluster: "us", claim: claim(nothing)},
		{reason: "it has joined under the name of one that was removed, which is still shown", cluster: "eu", claim: claim(func(c *link.Claim) { c.ClusterID, c.KubeSystemUID = "id-2", "uid-2" })},
		{reason: "the cluster that is shown waits for an agent still", cluster: "waits", claim: claim(nothing)},
		{reason: "its agent runs in a copy of the cluster", cluster: "eu", claim: claim(func(c *link.Claim) { c.KubeSystemUID = "uid-2" }), refused: linkv1.GoodbyeReason_GOODBYE_REASON_WRONG_CLUSTER},
		{reason: "no hub has given that epoch", cluster: "eu", claim: claim(func(c *link.Claim) { c.LastEpoch = never }), refused: linkv1.GoodbyeReason_GOODBYE_REASON_PROTOCOL_ERROR},
	} {
		clusters := storetest.New().MemberClusters
		clusters.Put(&clusterv1alpha1.MemberCluster{
			ObjectMeta: metav1.ObjectMeta{Name: "eu"}, Spec: clusterv1alpha1.ClusterSpec{ID: "id-1"},
			Status: clusterv1alpha1.ClusterStatus{Agent: &clusterv1alpha1.AgentStatus{KubeSystemUID: "uid-1"}},
		})
		clusters.Put(&clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "waits"}})
		recorder := &linkRecorder{clusters: clusters.Kind(), roster: roster.New(time.Now)}
		epoch, err := recorder.ClaimEpoch(t.Context(), c.cluster, c.claim)
		refusal := &link.Refusal{}
		errors.As(err, &refusal)
		if (err == nil) != (c.above > 0) || refusal.Reason != c.refused {
			t.Errorf("%s: epoch %d, error %v, told %s; want %s", c.reason, epoch, err, refusal.Reason, c.refused)
		}
		if err == nil && epoch <= c.above {
			t.Errorf("%s: the epoch is %d, want one above %d", c.reason, epoch, c.above)
		}
	}
}

func TestEpochsGrowUnderAName(t *testing.T) {
	ahead := time.Now().Add(30 * time.Second).UnixMilli()
	for _, c := range []struct {
		reason string
		before func(cluster *clusterv1alpha1.MemberCluster, members *roster.Roster)
	}{
		{"this process has seen a session", func(_ *clusterv1alpha1.MemberCluster, members *roster.Roster) {
			members.Connected(roster.Session{Cluster: "eu", ClusterID: "id-1", Epoch: ahead}, "v1", "uid-1")
		}},
		{"this process has seen a session of another cluster that had the name", func(_ *clusterv1alpha1.MemberCluster, members *roster.Roster) {
			members.Connected(roster.Session{Cluster: "eu", ClusterID: "id-0", Epoch: ahead}, "v1", "uid-0")
		}},
		{"a process before has written one down", func(cluster *clusterv1alpha1.MemberCluster, _ *roster.Roster) {
			cluster.Status.Session = &clusterv1alpha1.SessionStatus{Epoch: ahead}
		}},
	} {
		clusters, members := storetest.New().MemberClusters, roster.New(time.Now)
		cluster := &clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "eu"}, Spec: clusterv1alpha1.ClusterSpec{ID: "id-1"}}
		c.before(cluster, members)
		clusters.Put(cluster)
		recorder := &linkRecorder{clusters: clusters.Kind(), roster: members}
		if epoch, err := recorder.ClaimEpoch(t.Context(), "eu", link.Claim{ClusterID: "id-1"}); err != nil || epoch != ahead+1 {
			t.Errorf("%s: epoch %d, error %v; want %d", c.reason, epoch, err, ahead+1)
		}
	}
}

// cutBack is a store of which nothing but its revision is left.
type cutBack struct {
	clientv3.KV
	revision int64
}

func (c *cutBack) Get(context.Context, string, ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	return &clientv3.GetResponse{Header: &etcdserverpb.ResponseHeader{Revision: c.revision}}, nil
}

func (c *cutBack) Txn(context.Context) clientv3.Txn { return c }

func (c *cutBack) If(...clientv3.Cmp) clientv3.Txn  { return c }
func (c *cutBack) Then(...clientv3.Op) clientv3.Txn { return c }
func (c *cutBack) Else(...clientv3.Op) clientv3.Txn { return c }

func (c *cutBack) Commit() (*clientv3.TxnResponse, error) {
	c.revision++
	return &clientv3.TxnResponse{Succeeded: true, Header: &etcdserverpb.ResponseHeader{Revision: c.revision}}, nil
}

func TestNobodyIsToldOfARemovalByAStoreThatWasCutBackUnderTheHub(t *testing.T) {
	store := &cutBack{revision: 100}
	var ended error
	history, err := incarnation.Begin(t.Context(), store, 0, func(err error) { ended = err })
	if err != nil {
		t.Fatal(err)
	}
	store.revision = 50
	// There is no link: whoever tells an agent of the removal breaks down.
	if err := (&holds{history: history}).removed(t.Context(), "eu", "id-1"); err == nil || ended == nil {
		t.Errorf("the removal is told with %v, and the hub ends with %v", err, ended)
	}
}
