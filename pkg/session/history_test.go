package session

import (
	"fmt"
	"strings"
	"testing"
)

func TestWhatAnAgentHasSeenIsJudgedByTheStoresHistory(t *testing.T) {
	eras := func(eras ...Era) History { return History{Eras: eras, Told: true} }
	ordinary := eras(Era{"e1", 0}, Era{"e2", 50}, Era{"e3", 90})
	for _, c := range []struct {
		reason   string
		history  History
		revision int64
		seen     Mark
		lacks    string // a part of what is said; empty when nothing is lacking
	}{
		{"an agent that has seen nothing", ordinary, 100, Mark{}, ""},
		{"the present era", ordinary, 100, Mark{Incarnation: "e3", Revision: 100}, ""},
		{"the present era, nothing obeyed in it yet", ordinary, 100, Mark{Incarnation: "e3", Revision: 20}, ""},
		{"all of the era before", ordinary, 100, Mark{Incarnation: "e2", Revision: 90}, ""},
		{"all of an era long ago", ordinary, 100, Mark{Incarnation: "e1", Revision: 50}, ""},
		{"the store is below what was seen in the present era", ordinary, 100, Mark{Incarnation: "e3", Revision: 101}, "is at 100"},
		{"the store is below what was seen in an era before", ordinary, 100, Mark{Incarnation: "e2", Revision: 120}, "is at 100"},
		{"the store was cut back to 90 in e2 and has grown since", ordinary, 100, Mark{Incarnation: "e2", Revision: 91}, "nothing is left above revision 90"},
		{"it was cut back long ago", ordinary, 1000, Mark{Incarnation: "e1", Revision: 51}, "nothing is left above revision 50"},
		{"the backup is older than the era", ordinary, 1000, Mark{Incarnation: "e4", Revision: 1}, "never had it"},
		{"an empty store", History{}, 1, Mark{Incarnation: "e1", Revision: 1}, "never had it"},
		{"nobody knows how far it was cut back", eras(Era{"e1", 0}, Era{"e2", 50}, Era{"e3", 0}), 1000, Mark{Incarnation: "e1", Revision: 1}, "nothing is left above revision 0"},
		{"a cut counts for all eras before it", eras(Era{"e1", 0}, Era{"e2", 50}, Era{"e3", 30}), 1000, Mark{Incarnation: "e1", Revision: 31}, "nothing is left above revision 30"},
		{"and for none after it", eras(Era{"e1", 0}, Era{"e2", 50}, Era{"e3", 30}), 1000, Mark{Incarnation: "e3", Revision: 60}, ""},
	} {
		if got := c.history.Lacks(c.seen, c.revision); (got == "") != (c.lacks == "") || !strings.Contains(got, c.lacks) {
			t.Errorf("%s: it lacks %q, want %q", c.reason, got, c.lacks)
		}
	}
}

func TestAClusterThatAStoreLacksWasRemovedOnlyIfTheStoreHasHadIt(t *testing.T) {
	at := func(revision int64) StoreView {
		return StoreView{History: History{Eras: []Era{{"e1", 0}, {"e2", 50}, {"e3", 90}}, Told: true}, Revision: revision}
	}
	other := StoreView{History: History{}.Begin("other", 0), Revision: 5}
	grown, doubted := other, at(100)
	grown.Revision, doubted.Doubted = 1000, true
	for _, c := range []struct {
		reason string
		view   StoreView
		seen   Mark
		doubt  string // a part of it; empty when the cluster was removed
	}{
		{"its agent was let in in this era", at(100), Mark{Incarnation: "e3", Revision: 95}, ""},
		{"its agent was away while the hub was started twice", at(100), Mark{Incarnation: "e1", Revision: 40}, ""},
		{"the store is empty", other, Mark{Incarnation: "e3", Revision: 95}, "never had it"},
		{"an empty store has grown", grown, Mark{Incarnation: "e3", Revision: 95}, "never had it"},
		{"the backup is older than the era in which the cluster joined", at(1000), Mark{Incarnation: "e4", Revision: 95}, "never had it"},
		{"it is of the same era, and older than the cluster", at(1000), Mark{Incarnation: "e2", Revision: 91}, "nothing is left above revision 90"},
		{"it was put in place under the hub", at(100), Mark{Incarnation: "e3", Revision: 101}, "is at 100"},
		{"its revision was raised, as another cluster shows", doubted, Mark{Incarnation: "e3", Revision: 95}, "another cluster has a later state"},
		{"its agent has joined and was never let in", at(100), Mark{}, "never been let in"},
		{"its agent remembers the hub alone", at(100), Mark{HubID: "hub", Epoch: 7}, "never been let in"},
	} {
		if got := c.view.DoubtsRemoval(c.seen); (got == "") != (c.doubt == "") || !strings.Contains(got, c.doubt) {
			t.Errorf("%s: the doubt is %q, want %q", c.reason, got, c.doubt)
		}
	}
}

func TestAHistoryIsBoundedAndKeepsTheBoundsOfWhatItDrops(t *testing.T) {
	h := History{}.Begin("first", 10)
	h.Told = true
	h = h.Begin("nobody heard of it", 20).Begin("nor of this", 30).Begin("second", 40)
	if len(h.Eras) != 2 || h.Present() != "second" {
		t.Fatalf("the history is %+v", h)
	}
	for revision, noticed := range map[int64]bool{20: false, 21: true} {
		if why := h.Lacks(Mark{Incarnation: "first", Revision: revision}, 1000); (why != "") != noticed {
			t.Errorf("revision %d of the first era: %q", revision, why)
		}
	}
	for i := range MaxEras {
		h.Told = true
		h = h.Begin(fmt.Sprint("more ", i), int64(100+i))
	}
	if len(h.Eras) != MaxEras || h.Has("second") || !h.Has("more 0") {
		t.Errorf("%d eras are kept; the second %t, the one after it %t", len(h.Eras), h.Has("second"), h.Has("more 0"))
	}
	before := h.Present()
	if h.Told = true; h.Begin("x", 999).Present() != "x" || h.Present() != before {
		t.Error("beginning an era changes the history that it is added to")
	}
}
