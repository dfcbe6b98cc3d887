package alike

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func manifest(name string) []byte { return []byte(name + strings.Repeat("-", leastBytes)) }

func TestEqualBytesAreOne(t *testing.T) {
	known := NewBytes()
	first, second := known.Of(manifest("a")), known.Of(manifest("a"))
	if &first[0] != &second[0] {
		t.Error("two equal manifests are two copies")
	}
	if other := known.Of(manifest("b")); !bytes.Equal(other, manifest("b")) || !bytes.Equal(first, manifest("a")) {
		t.Errorf("manifests became %q and %q", other, first)
	}
	if short := []byte("short"); &known.Of(short)[0] != &short[0] || known.Of(nil) != nil {
		t.Error("what is not worth remembering is not what was asked about")
	}
}

func TestBytesOfOneHashStayDifferent(t *testing.T) {
	known := NewBytes()
	first := known.Of(manifest("a"))
	for sum, entry := range known.known {
		longer := manifest("longer")
		delete(known.known, sum)
		// As if the two had the same hash.
		sum := maphash.Bytes(known.seed, longer)
		known.known[sum] = entry
		if got := known.Of(longer); !bytes.Equal(got, manifest("longer")) {
			t.Errorf("a manifest became %q", got)
		}
	}
	if !bytes.Equal(first, manifest("a")) {
		t.Errorf("a manifest became %q", first)
	}
}

func TestWhoAppendsToSharedBytesHasACopy(t *testing.T) {
	known := NewBytes()
	roomy := append(make([]byte, 0, 4*leastBytes), manifest("a")...)
	first, second := known.Of(roomy), known.Of(manifest("a"))
	_ = append(first, "mine"...)
	if longer := append(second, 'b'); longer[len(second)] != 'b' || &longer[0] == &first[0] {
		t.Error("an append has written into the shared bytes")
	}
}

func TestBytesThatNobodyHoldsAreForgotten(t *testing.T) {
	known := NewBytes()
	kept := known.Of(manifest("kept"))
	for round := range 8 {
		for i := range leastForgotten {
			if got := known.Of(manifest(fmt.Sprint(round, i))); !bytes.HasPrefix(got, fmt.Append(nil, round, i)) {
				t.Fatalf("manifest %d of round %d became %q", i, round, got)
			}
		}
		runtime.GC()
	}
	if remembered := len(known.known); remembered > 4*leastForgotten {
		t.Errorf("%d manifests are remembered", remembered)
	}
	if again := known.Of(manifest("kept")); &again[0] != &kept[0] {
		t.Error("a manifest that somebody holds was forgotten")
	}
}

func TestBytesAreSharedByManyAtOnce(t *testing.T) {
	known := NewBytes()
	held := make([][]byte, 8)
	var asking sync.WaitGroup
	for i := range held {
		asking.Go(func() {
			for round := range 200 {
				held[i] = known.Of(manifest("a"))
				known.Of(manifest(fmt.Sprint(i, round)))
			}
		})
	}
	asking.Wait()
	for i := range held {
		if &held[i][0] != &held[0][0] {
			t.Error("a manifest is held twice")
		}
	}
}
