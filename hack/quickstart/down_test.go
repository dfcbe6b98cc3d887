package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOnlyWhatAQuickstartHasMadeIsRemoved(t *testing.T) {
	for _, c := range []struct {
		reason  string
		entries []string
		fails   string
	}{
		{"a directory that the user has made for it", nil, ""},
		{"what an attempt left behind", []string{"build.log", "hub", "member1", "member2-agent"}, ""},
		{"a directory of the user's own", []string{"build.log", "thesis.tex"}, "holds thesis.tex, which no quickstart has made"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			before := stateDir
			t.Cleanup(func() { stateDir = before })
			stateDir = t.TempDir()
			for _, entry := range c.entries {
				if err := os.Mkdir(filepath.Join(stateDir, entry), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			err := down()
			_, gone := os.Stat(stateDir)
			if c.fails == "" && (err != nil || gone == nil) {
				t.Errorf("it is not removed: %v", err)
			}
			if c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails) || gone != nil) {
				t.Errorf("it is told %v, and the directory: %v", err, gone)
			}
		})
	}
}

func TestTheCommandThatEndsAQuickstartNamesItsDirectory(t *testing.T) {
	for dir, want := range map[string]string{
		usualDir:      "End everything: make quickstart-down\n",
		"/srv/second": "End everything: WINDLASS_QUICKSTART_DIR='/srv/second' make quickstart-down\n",
	} {
		before := stateDir
		stateDir = dir
		said := printed(t, printWhatNext)
		stateDir = before
		if !strings.HasSuffix(said, want) {
			t.Errorf("of %s it says:\n%s", dir, said)
		}
	}
}
