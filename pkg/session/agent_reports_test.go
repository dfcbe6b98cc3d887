package session

import (
	"testing"
	"time"
)

func TestAReportIsSaidAgainToAHubThatRecordsNoOthers(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		reason           string
		waited, recorded time.Duration // ago
		want             bool
	}{
		{"it has not waited for long", 59 * time.Second, time.Hour, false},
		{"nothing is recorded any more", time.Minute, time.Minute, true},
		{"others are recorded, so the hub is behind", 9 * time.Minute, 59 * time.Second, false},
		{"the hub was behind, and has got to its end without it", 9 * time.Minute, time.Minute, true},
		{"others are recorded, and it was forgotten", 10 * time.Minute, time.Second, true},
	} {
		a := &Agent{settings: Settings{}.WithDefaults(), recordedAt: now.Add(-c.recorded)}
		if got := a.unanswered(&sentReport{at: now.Add(-c.waited)}, now); got != c.want {
			t.Errorf("%s: it is said again: %v, want %v", c.reason, got, c.want)
		}
	}
}
