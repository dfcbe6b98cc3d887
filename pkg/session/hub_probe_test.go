package session

import (
	"strings"
	"testing"

	linkv1 "windlass.dev/windlass/api/link/v1"
)

func TestAnAgentCanNotHoldWorksWithNamesThatNoWorkHas(t *testing.T) {
	long := func(bytes int) string { return strings.Repeat("a", bytes) }
	for _, c := range []struct {
		reason  string
		ref     *linkv1.WorkRef
		refused bool
	}{
		{"the longest key, UID and hash", &linkv1.WorkRef{Key: long(253), Uid: long(253), Hash: []byte(long(64))}, false},
		{"a key that no name is as long as", &linkv1.WorkRef{Key: long(254), Uid: "u"}, true},
		{"a UID that is none", &linkv1.WorkRef{Key: "k", Uid: long(254)}, true},
		{"a hash that no hub makes", &linkv1.WorkRef{Key: "k", Uid: "u", Hash: []byte(long(65))}, true},
	} {
		t.Run(c.reason, func(t *testing.T) {
			w := newWorld()
			w.connect()
			for w.hub.State() == Admit && w.deliver(true) {
			}
			w.hub.Receive(&linkv1.FromAgent{Message: &linkv1.FromAgent_Works{Works: &linkv1.WorksFromAgent{Message: &linkv1.WorksFromAgent_Probe{
				Probe: &linkv1.ProbeAnswer{Round: 1, Part: 0, Parts: 2, Total: 2, Refs: []*linkv1.WorkRef{c.ref}},
			}}}}, w.now)
			var end *End
			for _, effect := range w.hub.Ready(w.now) {
				if ended, ok := effect.(Ended); ok {
					end = &ended.End
				}
			}
			switch {
			case c.refused && (end == nil || end.Reason != linkv1.GoodbyeReason_GOODBYE_REASON_PROTOCOL_ERROR):
				t.Errorf("the session goes on, or ends with %+v", end)
			case !c.refused && (end != nil || w.hub.probe == nil || len(w.hub.probe.refs) != 1):
				t.Errorf("it is not taken in; the session has ended with %+v", end)
			}
		})
	}
}
