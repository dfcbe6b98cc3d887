package linktest

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	agentlink "windlass.dev/windlass/agent/link"
	linkv1 "windlass.dev/windlass/api/link/v1"
	hublink "windlass.dev/windlass/hub/link"
	"windlass.dev/windlass/pkg/session"
)

// traffic is what the hub has counted of the link, by family and direction.
type traffic map[string]struct{ messages, bytes int }

func (h *hub) traffic() traffic {
	h.t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	all := traffic{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			name := labels["family"] + " " + labels["direction"]
			one := all[name]
			switch family.GetName() {
			case "windlass_hub_link_messages_total":
				one.messages = int(metric.GetCounter().GetValue())
			case "windlass_hub_link_bytes_total":
				one.bytes = int(metric.GetCounter().GetValue())
			default:
				continue
			}
			all[name] = one
		}
	}
	return all
}

func (now traffic) since(before traffic) traffic {
	spent := traffic{}
	for name, one := range now {
		one.messages, one.bytes = one.messages-before[name].messages, one.bytes-before[name].bytes
		if one.messages > 0 {
			spent[name] = one
		}
	}
	return spent
}

// entered returns when the hub has counted all that an agent says when it comes: its facts, what it holds, and that it
// knows that it was told everything.
func (h *hub) entered(t *testing.T) {
	t.Helper()
	eventually(t, "all has come that an agent says when it enters", func() bool {
		now := h.traffic()
		return now["facts in"].messages == 1 && now["works in"].messages == 2
	})
}

// steadyReports say always the same time, whose length in a message would differ.
type steadyReports struct{ agentlink.Reports }

func (r steadyReports) Report(key string) *linkv1.Report {
	report := r.Reports.Report(key)
	if report != nil {
		report.ObservedAt = timestamppb.New(time.Unix(1_700_000_000, 500_000_000))
	}
	return report
}

// What a work costs the link is agreed to the byte: at 1,000 members every byte of it is 1,000 bytes. A change that
// raises a number has found something more to say, and has to be worth it; one that lowers it writes the new number
// here.
func TestAWorkCostsTheLinkWhatWasAgreed(t *testing.T) {
	const works, manifest = 10, 1000
	h := newHub(t, func(c *hublink.Config) { // no heartbeat comes in between, however long this takes
		c.Settings = session.Settings{HeartbeatInterval: time.Hour, HeartbeatTimeout: 3 * time.Hour}
	})
	m := newFakeMember()
	a := h.newAgentWith(m, h.issue("eu", time.Hour), func(c *agentlink.Config) { c.Reports = steadyReports{m} })
	eventually(t, "the agent is in", a.synchronised)
	h.entered(t)

	// One after the other: what comes at the same time may share a message, and mostly does.
	exchanged := func(before traffic, n int) bool {
		spent := h.traffic().since(before)
		return spent["works out"].messages == n && spent["works in"].messages == n && spent["reports in"].messages == n && spent["reports out"].messages == n
	}
	each := func(what string, do func(key string)) traffic {
		before := h.traffic()
		for i, key := range keys(works) {
			do(key)
			eventually(t, fmt.Sprintf("work %d is %s, acknowledged and reported", i, what), func() bool { return exchanged(before, i+1) })
		}
		return h.traffic().since(before)
	}
	// A manifest is 1,000 bytes, a key 8, a UID 5 or 6.
	for _, step := range []struct {
		what string
		do   func(key string)
		want traffic
	}{
		{"put", func(key string) { h.store.put("eu", manifest, key) }, traffic{
			"works out": {works, 10381}, "works in": {works, 200}, "reports in": {works, 451}, "reports out": {works, 180},
		}},
		{"changed", func(key string) { h.store.put("eu", manifest, key) }, traffic{
			"works out": {works, 10387}, "works in": {works, 200}, "reports in": {works, 451}, "reports out": {works, 187},
		}},
		{"removed", func(key string) { h.store.remove("eu", linkv1.RemovalCause_REMOVAL_CAUSE_TEMPLATE_DELETED, key) }, traffic{
			"works out": {works, 281}, "works in": {works, 200}, "reports in": {works, 411}, "reports out": {works, 160},
		}},
	} {
		if got := each(step.what, step.do); !maps.Equal(got, step.want) {
			t.Errorf("%d works were %s for\n%v, agreed are\n%v", works, step.what, got, step.want)
		}
	}
}

// An agent that comes back and lacks nothing is told so in few words, however many works it holds: that is what a storm
// of agents costs after a hub's restart.
func TestComingBackInSyncCostsTheLinkWhatWasAgreed(t *testing.T) {
	for _, test := range []struct {
		works int
		want  traffic
	}{
		{100, traffic{"session in": {1, 30}, "session out": {1, 38}, "facts in": {1, 13}, "works out": {2, 30}, "works in": {2, 2714}}},
		// So many are compared by digests.
		{2000, traffic{"session in": {1, 30}, "session out": {1, 38}, "facts in": {1, 13}, "works out": {2, 31}, "works in": {2, 4631}}},
	} {
		t.Run(fmt.Sprint(test.works, " works"), func(t *testing.T) {
			h := newHub(t, nil)
			m := newFakeMember()
			names := make([]string, test.works)
			for i := range names {
				names[i] = fmt.Sprintf("work-%05d", i)
			}
			slices.Sort(names)
			h.store.put("eu", 10, names...)
			var answered atomic.Int64
			a := h.newAgentWith(m, h.issue("eu", time.Hour), func(c *agentlink.Config) {
				c.Reports = steadyReports{m}
				c.ReportRecorded = func(string, string, linkv1.Phase) { answered.Add(1) }
			})
			eventually(t, "the member holds every work", func() bool { return m.has(h.store, "eu") && a.synchronised() })
			// What the agent was not told is recorded it would say again.
			eventually(t, "the agent knows that every report is in the store", func() bool { return answered.Load() == int64(test.works) })
			h.stop()
			eventually(t, "the agent notices", func() bool { return !a.synchronised() })
			h.start()
			eventually(t, "the agent is in again", a.synchronised)
			h.entered(t)
			if got := h.traffic(); !maps.Equal(got, test.want) {
				t.Errorf("coming back took\n%v, agreed are\n%v", got, test.want)
			}
		})
	}
}
