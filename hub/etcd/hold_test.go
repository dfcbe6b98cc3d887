package etcd

import (
	"context"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/util/wait"
)

// never is for a process whose hold must not be lost.
func never(t *testing.T) func(error) {
	return func(err error) { t.Errorf("the store is said to be lost: %v", err) }
}

func TestAProcessWaitsUntilTheOneThatUsesAnExternalStoreHasEnded(t *testing.T) {
	servers := start(t, shortTempDir(t)).Endpoints
	first := startWith(t, Config{Servers: servers})
	if revisions, err := first.Hold(t.Context(), never(t)); err != nil || revisions != 1 {
		t.Fatalf("to hold a store that nobody holds took %d revisions, error %v", revisions, err)
	}
	before := revisionOf(t, first)

	var log lines
	second := startWith(t, Config{Servers: servers, Log: log.logger()})
	held := make(chan error)
	var revisions int64
	go func() {
		var err error
		revisions, err = second.Hold(t.Context(), never(t))
		held <- err
	}()
	eventually(t, "the second process says what it waits for", func() bool { return log.String() != "" })
	select {
	case err := <-held:
		t.Fatalf("the second process has not waited: error %v", err)
	default:
	}
	first.Close()
	if err := <-held; err != nil {
		t.Fatal(err)
	}
	log.tells(t, "another process of this hub uses this store")
	if got := revisionOf(t, second) - before; revisions != got {
		t.Errorf("it is said to have taken %d revisions, and took %d", revisions, got)
	}
}

func revisionOf(t *testing.T, e *Etcd) int64 {
	t.Helper()
	client, err := e.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	reply, err := client.Get(t.Context(), hubIDKey)
	if err != nil {
		t.Fatal(err)
	}
	return reply.Header.Revision
}

func TestAProcessThatEndsLetsTheNextOneInAtOnce(t *testing.T) {
	embedded := start(t, shortTempDir(t))
	e := startWith(t, Config{Servers: embedded.Endpoints})
	if _, err := e.Hold(t.Context(), never(t)); err != nil {
		t.Fatal(err)
	}
	e.Close()
	if got := get(t, embedded, processKey); got != "" {
		t.Errorf("the store is held by %s still", got)
	}
}

func TestAProcessThatHasWaitedInVainSaysForWhichOne(t *testing.T) {
	servers := start(t, shortTempDir(t)).Endpoints
	first, second := startWith(t, Config{Servers: servers}), startWith(t, Config{Servers: servers})
	if _, err := first.Hold(t.Context(), never(t)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := second.Hold(ctx, never(t))
	says(t, err, "another process of this hub", "on host", "since", "end it")
}

func TestAProcessHearsThatItsHoldOfAStoreHasEnded(t *testing.T) {
	servers := start(t, shortTempDir(t)).Endpoints
	e := startWith(t, Config{Servers: servers})
	lost := make(chan error, 1)
	if _, err := e.Hold(t.Context(), func(err error) { lost <- err }); err != nil {
		t.Fatal(err)
	}
	client, err := e.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	// As etcd does when it has heard nothing for as long as the lease lives.
	if _, err := client.Revoke(t.Context(), leaseOf(t, client)); err != nil {
		t.Fatal(err)
	}
	says(t, <-lost, "another one may use the store", "start it again")
}

func TestAStoresKeyOfAProcessWithoutALeaseIsACopyThatKeepsNobodyAway(t *testing.T) {
	servers := start(t, shortTempDir(t)).Endpoints
	e := startWith(t, Config{Servers: servers})
	put(t, e, processKey, process{Host: "another"}.encode())
	if _, err := e.Hold(t.Context(), never(t)); err != nil {
		t.Fatal(err)
	}
	if got := get(t, e, processKey); strings.Contains(got, "another") {
		t.Errorf("the store is held by %s", got)
	}
}

func TestAnEmbeddedStoreIsHeldWithoutAWrite(t *testing.T) {
	e := start(t, shortTempDir(t))
	if _, err := e.Hold(t.Context(), never(t)); err != nil {
		t.Fatal(err)
	}
	if got := get(t, e, processKey); got != "" {
		t.Errorf("%s has %s, want nothing", processKey, got)
	}
}

func leaseOf(t *testing.T, client *clientv3.Client) clientv3.LeaseID {
	t.Helper()
	reply, err := client.Get(t.Context(), processKey)
	if err != nil || len(reply.Kvs) != 1 {
		t.Fatalf("%v, error %v", reply, err)
	}
	return clientv3.LeaseID(reply.Kvs[0].Lease)
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		return condition(), nil
	}); err != nil {
		t.Errorf("not within a minute: %s", what)
	}
}
