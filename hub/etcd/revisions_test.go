package etcd

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRevisionsAreThoseOfTheKeysWithAPrefixAlone(t *testing.T) {
	e := start(t, t.TempDir())
	client, err := e.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	written := map[string]int64{}
	for _, key := range []string{"/r/works/a/one", "/r/works/a/two", "/r/works/ab/three", "/r/works/a/one", "/r/works/a/gone"} {
		reply, err := client.Put(t.Context(), key, "value")
		if err != nil {
			t.Fatal(err)
		}
		written[key] = reply.Header.Revision
	}
	gone, err := client.Delete(t.Context(), "/r/works/a/gone")
	if err != nil {
		t.Fatal(err)
	}
	revisions, at, err := Revisions(t.Context(), client, "/r/works/a/")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{"one": written["/r/works/a/one"], "two": written["/r/works/a/two"]}, revisions); diff != "" {
		t.Errorf("revisions (-want +got):\n%s", diff)
	}
	if at != gone.Header.Revision {
		t.Errorf("that is so in revision %d, and not in %d", at, gone.Header.Revision)
	}
}
