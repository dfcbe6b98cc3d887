package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValuesAreReadWithTheirNamesDefaultsAndComments(t *testing.T) {
	got, err := read(`# What the file is about.

hub:
  # HOST:PORT of
  # the hub. Required.
  address: ""
# A group with a comment of its own.
#   - with an example
rbac:
  # Which rights.
  preset: full
  # A list of maps is one value.
  watch:
    - apiGroups: [""]
      resources: [pods]
    - apiGroups: [apps]
      resources: [deployments, statefulsets]

# A map without comments inside is one value.
resources:
  requests:
    cpu: 20m
# The last one.
enabled: false
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []value{
		{"hub.address", `""`, "HOST:PORT of the hub. Required."},
		{"rbac.preset", `"full"`, "Which rights."},
		{"rbac.watch", "see values.yaml", "A list of maps is one value."},
		{"resources", `{"requests":{"cpu":"20m"}}`, "A map without comments inside is one value."},
		{"enabled", "false", "The last one."},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(value{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAValueThatNobodyExplainsIsAnError(t *testing.T) {
	for _, c := range []struct{ reason, source, says string }{
		{"no comment at all", "hub: x\n", "line 1: hub has no comment"},
		{"the comment is of something else", "# About all.\n\nhub: x\n", "line 3: hub has no comment"},
		{"inside a group", "hub:\n  # Explained.\n  address: x\n  token: y\n", "line 4: hub.token has no comment"},
	} {
		if _, err := read(c.source); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: the error is %v, want one that says %q", c.reason, err, c.says)
		}
	}
}

func TestTheTableStandsBetweenItsLines(t *testing.T) {
	readme := "# Chart\n\n" + begin + "\nold\n" + end + "\n\nMore.\n"
	got, err := insert(readme, table([]value{{"a.b", `"x"`, "of <host> or `<pod>`, a|b, *all*"}}))
	want := "# Chart\n\n" + begin + "\n\n| value | default | meaning |\n| --- | --- | --- |\n| `a.b` | `\"x\"` | of \\<host> or `<pod>`, a\\|b, \\*all\\* |\n\n" + end + "\n\nMore.\n"
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	if _, err := insert("# Chart\n", ""); err == nil {
		t.Error("a README without the lines is taken")
	}
}
