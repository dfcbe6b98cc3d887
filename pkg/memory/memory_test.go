package memory

import "testing"

func TestTheRuntimeGetsNineTenthsOfTheContainersMemory(t *testing.T) {
	for _, c := range []struct {
		reason         string
		limit, goLimit string
		want           int64
	}{
		{"no container", "", "", unchanged},
		{"a container of 1000 MB", "1000000000", "", 900000000},
		{"no overflow by the largest there is", "9223372036854775807", "", 8301034833169298220},
		{"GOMEMLIMIT says otherwise", "268435456", "100MiB", unchanged},
		{"GOMEMLIMIT says that there is none", "268435456", "off", unchanged},
		{"no number, which nobody writes by hand", "256Mi", "", unchanged},
		{"no limit", "0", "", unchanged},
	} {
		environment := map[string]string{LimitVariable: c.limit, goLimitVariable: c.goLimit}
		if got := GoLimit(func(name string) string { return environment[name] }); got != c.want {
			t.Errorf("%s: %d, want %d", c.reason, got, c.want)
		}
	}
}
