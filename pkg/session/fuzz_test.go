package session

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	linkv1 "windlass.dev/windlass/api/link/v1"
)

// FuzzHubReceive: whatever an agent says, the hub neither panics, nor sends more than the window, nor remembers more
// than its own works.
func FuzzHubReceive(f *testing.F) {
	for _, m := range talkOf(func(w *world) []wire { return w.toHub }) {
		f.Add(m.bytes, m.bytes)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		w := newWorld()
		for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
			w.put(key)
		}
		w.connect()
		w.deliverAll()
		w.put("a")
		w.put("g")
		w.settle()
		for _, bytes := range [][]byte{first, second} {
			m := &linkv1.FromAgent{}
			if proto.Unmarshal(bytes, m) != nil || w.hub == nil {
				return
			}
			w.hub.Receive(m, w.now)
			w.settle()
		}
		if w.hub != nil && len(w.hub.works) > 8 {
			t.Errorf("the hub remembers %d works and has 7", len(w.hub.works))
		}
		w.tick(time.Minute)
		for _, fault := range w.faults {
			t.Error(fault)
		}
	})
}

// FuzzAgentReceive: whatever a hub says, the agent does not panic, and it removes only what is named by UID.
func FuzzAgentReceive(f *testing.F) {
	for _, m := range talkOf(func(w *world) []wire { return w.toAgent }) {
		f.Add(m.bytes, m.bytes)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		w := newWorld()
		w.put("a")
		w.connect()
		w.deliverAll()
		for _, bytes := range [][]byte{first, second} {
			m := &linkv1.FromHub{}
			if proto.Unmarshal(bytes, m) != nil || w.agent == nil {
				return
			}
			for _, uid := range named(m) {
				w.store.asked[uid] = true
			}
			w.agent.Receive(m, w.now)
			w.settle()
		}
		w.tick(time.Minute)
		for _, fault := range w.faults {
			t.Error(fault)
		}
	})
}

// named are the UIDs that a message asks to remove.
func named(m *linkv1.FromHub) []string {
	if r := m.GetWorks().GetRemoval(); r != nil {
		return []string{r.GetUid()}
	}
	return nil
}

// talkOf collects what is said in a conversation in which a bit of everything happens.
func talkOf(wires func(*world) []wire) []wire {
	w := newWorld()
	w.settings.RefsUpTo = 2
	var said []wire
	collect := func() {
		for more := true; more; {
			said = append(said, wires(w)...)
			more = w.deliver(true) || w.deliver(false)
		}
	}
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		w.put(key)
	}
	w.connect()
	collect()
	w.cut()
	w.vanish("e")
	w.connect()
	collect()
	for _, key := range []string{"a", "b", "c", "d"} {
		w.remove(key, linkv1.RemovalCause_REMOVAL_CAUSE_NOT_SELECTED)
	}
	collect()
	_, _ = w.hub.Confirm(w.hub.Hold().ID)
	w.settle()
	collect()
	w.tick(30 * time.Second)
	w.hub.Close(linkv1.GoodbyeReason_GOODBYE_REASON_SHUTTING_DOWN, "the hub is shutting down", time.Second)
	w.settle()
	collect()
	return said
}
