package session

import (
	"testing"
	"time"

	linkv1 "windlass.dev/windlass/api/link/v1"
)

// A work is removed because a list lacks it only when the list is whole, of the store that is obeyed, and not older than what was seen
// here. The agent checks all of it, whatever hub it is that speaks.
func TestWhatAListLacksIsRemovedOnlyIfTheListCanBeTrusted(t *testing.T) {
	const era, seen = "I1", 100
	complete := func(change func(*linkv1.Complete)) *linkv1.Complete {
		c := &linkv1.Complete{Sequence: 2, Round: 1, Incarnation: era, Revision: seen, Absent: 1}
		change(c)
		return c
	}
	for _, c := range []struct {
		reason   string
		restore  bool
		complete *linkv1.Complete
		removed  bool
		refused  bool
	}{
		{"a whole list of this store, as new as what was seen", false, complete(func(*linkv1.Complete) {}), true, false},
		{"the list has not come to its end", false, nil, false, false},
		{"the end of another round", false, complete(func(c *linkv1.Complete) { c.Round, c.Absent = 2, 0 }), false, false},
		{"it lacks more works than were named, for a message was lost", false, complete(func(c *linkv1.Complete) { c.Absent = 2 }), false, true},
		{"it lacks fewer works than were named", false, complete(func(c *linkv1.Complete) { c.Absent = 0 }), false, true},
		{"it is of another era than the welcome", false, complete(func(c *linkv1.Complete) { c.Incarnation = "I2" }), false, true},
		{"it is older than what was seen", false, complete(func(c *linkv1.Complete) { c.Revision = seen - 1 }), false, true},
		{"the store was restored from a backup", true, complete(func(*linkv1.Complete) {}), false, true},
	} {
		t.Run(c.reason, func(t *testing.T) {
			now := time.Unix(1_700_000_000, 0)
			a := NewAgent(AgentConfig{
				Mark: Mark{HubID: "hub", Incarnation: era, Revision: seen}, Brake: NewBrake(BrakeSettings{}),
				Holds:  []*linkv1.WorkRef{{Key: "work", Uid: "u1", Generation: 1}},
				Report: func(string) *linkv1.Report { return nil },
			}, now)
			works := func(m *linkv1.WorksFromHub) {
				a.Receive(&linkv1.FromHub{Message: &linkv1.FromHub_Works{Works: m}}, now)
			}
			a.Receive(&linkv1.FromHub{Message: &linkv1.FromHub_Welcome{Welcome: &linkv1.Welcome{
				ProtocolVersion: ProtocolVersion, HubId: "hub", Incarnation: era, Revision: seen, SessionEpoch: 1, Continues: true, Restore: c.restore,
			}}}, now)
			works(&linkv1.WorksFromHub{Message: &linkv1.WorksFromHub_Removal{Removal: &linkv1.Removal{
				Sequence: 1, Revision: seen, Round: 1, Key: "work", Uid: "u1", Cause: linkv1.RemovalCause_REMOVAL_CAUSE_ABSENT,
			}}})
			if c.complete != nil {
				works(&linkv1.WorksFromHub{Message: &linkv1.WorksFromHub_Complete{Complete: c.complete}})
			}
			removed, refused := false, false
			for _, effect := range a.Ready(now) {
				switch effect := effect.(type) {
				case RemoveWork:
					removed = true
				case SendToHub:
					for _, ack := range effect.Message.GetWorks().GetAcks().GetAcks() {
						refused = refused || ack.GetOutcome() == linkv1.AckOutcome_ACK_OUTCOME_REFUSED
					}
				}
			}
			if removed != c.removed || refused != c.refused {
				t.Errorf("removed: %v, the list refused: %v; want %v and %v", removed, refused, c.removed, c.refused)
			}
		})
	}
}
