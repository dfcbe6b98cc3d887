package apply

import (
	"strings"
	"testing"

	"windlass.dev/windlass/agent/state"
	linkv1 "windlass.dev/windlass/api/link/v1"
)

func TestTheLogSaysInWordsWhyAWorkIsRemoved(t *testing.T) {
	said := map[string]int32{}
	for number, name := range linkv1.RemovalCause_name {
		words := causeOf(&state.Removal{Cause: linkv1.RemovalCause(number)})
		if words == "" || strings.Contains(words, "CAUSE") {
			t.Errorf("%s is %q", name, words)
		}
		if other, twice := said[words]; twice {
			t.Errorf("%s and %s are both %q", name, linkv1.RemovalCause(other), words)
		}
		said[words] = number
	}
}

func TestTheLogAlwaysSaysWhatWasPutRight(t *testing.T) {
	for _, c := range []struct {
		reason  string
		attempt attempt
		want    string
	}{
		{"the object was deleted", attempt{}, "it was gone"},
		{"fields differed", attempt{before: "7", drift: []string{"data.a is 1, want 2", "data.b is 3, want 4"}}, "data.a is 1, want 2; data.b is 3, want 4"},
		{"no field of the manifest differed", attempt{before: "7"}, "added by hand"},
	} {
		if got := c.attempt.differed(); !strings.Contains(got, c.want) {
			t.Errorf("%s: it says %q, want %q", c.reason, got, c.want)
		}
	}
}
