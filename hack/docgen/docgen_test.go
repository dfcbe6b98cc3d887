package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheReferenceSaysWhatTheSourceSays(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	if err := run(true); err != nil {
		t.Error(err)
	}
}

// write makes a folder with one Go file of package p.
func write(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.go"), []byte("package p\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

const example = `
// Config is every setting.
type Config struct {
	// Dir is where things are.
	Dir string ` + "`json:\"dir\"`" + `
	// Speed are the settings of speed.
	Speed SpeedConfig ` + "`json:\"speed,omitempty\"`" + `
}

// SpeedConfig are the settings of speed.
type SpeedConfig struct {
	// Pause is the time between two steps.
	Pause metav1.Duration ` + "`json:\"pause\"`" + `
	// Steps is how many there are.
	Steps int ` + "`json:\"steps\"`" + `
}

const usual = "/var"

func DefaultConfig() Config {
	config := Config{Dir: usual + "/p"}
	config.Speed = SpeedConfig{Pause: metav1.Duration{Duration: 5 * time.Minute}, Steps: 3}
	return config
}
`

func TestSettingsAreReadWithTheirNamesDefaultsAndComments(t *testing.T) {
	s, err := settingsOf(write(t, example))
	if err != nil {
		t.Fatal(err)
	}
	page := settingsPage(program{name: "p", binary: "p", title: "p"}, s, []flagOf{{name: "dir", field: "Dir"}})
	for _, want := range []string{
		"| `dir` | text | `/var/p` | `--dir` | Where things are. |",
		"## speed\n\nThe settings of speed.\n",
		"| `speed.pause` | duration | `5m` |  | The time between two steps. |",
		"| `speed.steps` | whole number | `3` |  | How many there are. |",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}

func TestWhatCantBeReadIsAnErrorThatNamesThePlace(t *testing.T) {
	for _, test := range []struct{ reason, old, new, says string }{
		{"a setting without a comment", "	// Steps is how many there are.\n", "", "Steps has no comment"},
		{"a default that is computed", "Steps: 3", "Steps: steps()", "Speed.Steps can't be read"},
		{"two settings in one line", "Dir string", "Dir, Other string", "p.go:6"},
		{"a type that the page has no word for", "Steps int", "Steps chan int", "not known to docgen"},
	} {
		changed := strings.Replace(example, test.old, test.new, 1)
		if changed == example {
			t.Fatalf("%s: nothing was changed", test.reason)
		}
		if _, err := settingsOf(write(t, changed)); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: got %v, want %q", test.reason, err, test.says)
		}
	}
}

func TestFlagsAreReadWithTheSettingTheySet(t *testing.T) {
	flags, err := flagsOf(write(t, `
func bind() {
	flags.StringVar(&config.Etcd.CAFile, "etcd-cafile", config.Etcd.CAFile, "its " + "authority")
	flags.StringVar(&file, "config", "", "a file")
}
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(flags) != 2 || flags[0].name != "config" || flags[0].field != "" || flags[1].field != "Etcd.CAFile" || flags[1].usage != "its authority" {
		t.Errorf("got %+v", flags)
	}
}

func TestMetricsAreFoundWhereverTheyAreMade(t *testing.T) {
	metrics, err := metricsBelow(write(t, `
func make() {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "p_" + name, Help: help})
	}
	m := metrics{
		a: counter("b_total", "The second."),
		b: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "p", Subsystem: "a", Name: "size", Help: "The first."}, []string{"of"}),
	}
}
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(metrics) != 2 || metrics[0].name != "p_a_size" || metrics[0].labels[0] != "of" || metrics[0].kind != "gauge" ||
		metrics[1].name != "p_b_total" || metrics[1].help != "The second." || metrics[1].kind != "counter" {
		t.Errorf("got %+v", metrics)
	}
}
