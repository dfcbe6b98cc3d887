package session

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	linkv1 "windlass.dev/windlass/api/link/v1"
)

var update = flag.Bool("update", false, "write what happens into testdata/*.txt; look at the difference before committing it")

// TestScripts plays testdata/*.txt. A script is a list of steps: commands, a line of four dashes, and what then
// happens. Lines that begin with # are for the reader.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts in testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, w := play(t, string(content))
			for _, fault := range w.faults {
				t.Error(fault)
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(content), got); diff != "" {
				t.Errorf("what happens differs from the script (-want +got):\n%s", diff)
			}
		})
	}
}

// play carries out a script and returns it with what really happened.
func play(t *testing.T, script string) (string, *world) {
	w := newWorld()
	var out strings.Builder
	for _, step := range strings.Split(strings.TrimRight(script, "\n"), "\n\n") {
		input, _, _ := strings.Cut(step, "\n----")
		out.WriteString(strings.TrimRight(input, "\n") + "\n")
		commands := 0
		var happened strings.Builder
		w.log = func(format string, args ...any) { fmt.Fprintf(&happened, format+"\n", args...) }
		for _, line := range strings.Split(input, "\n") {
			if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			commands++
			w.command(t, strings.Fields(line))
		}
		if commands > 0 {
			out.WriteString("----\n" + happened.String())
		}
		out.WriteString("\n")
	}
	return strings.TrimRight(out.String(), "\n") + "\n", w
}

// command carries out one line of a script.
func (w *world) command(t *testing.T, words []string) {
	t.Helper()
	arg := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	number := func(i, otherwise int) int {
		n, err := strconv.Atoi(arg(i))
		if err != nil {
			return otherwise
		}
		return n
	}
	switch words[0] {
	case "quietly": // quietly COMMAND: what happens is not written down
		log := w.log
		w.log = func(string, ...any) {}
		w.command(t, words[1:])
		w.log = log
	case "set":
		w.set(t, arg(1), number(2, 0))
	case "put":
		for _, key := range words[1:] {
			w.put(key)
		}
	case "preserve": // what the policy says of these works' objects when they are removed
		for _, key := range words[1:] {
			w.preserve(key, true)
		}
	case "give-up": // they are no longer preserved
		for _, key := range words[1:] {
			w.preserve(key, false)
		}
	case "fill": // fill N: put N works at once
		for i := range number(1, 0) {
			w.put(fmt.Sprintf("w%04d", i))
		}
	case "remove": // remove CAUSE KEY...
		cause, known := linkv1.RemovalCause_value["REMOVAL_CAUSE_"+strings.ToUpper(arg(1))]
		if !known {
			t.Fatalf("no removal cause %q", arg(1))
		}
		for _, key := range words[2:] {
			w.remove(key, linkv1.RemovalCause(cause))
		}
	case "take-back": // the cluster is selected again
		for _, key := range words[1:] {
			w.takeBack(key)
		}
	case "vanish":
		for _, key := range words[1:] {
			w.vanish(key)
		}
	case "happen": // something happens to the objects of these works in the member
		for _, key := range words[1:] {
			w.happen(key)
		}
	case "write": // the hub writes something that concerns others
		w.write()
	case "backup":
		w.backup = w.store.copy()
	case "restore":
		w.restore()
	case "replace-store":
		w.replaceStore()
	case "restore-with-a-raised-revision":
		w.backup.revision += 1000
		w.restore()
	case "restore-under-the-hub":
		w.restoreUnderTheHub()
	case "another-member": // another-member shows|is-confirmed: that the store was cut back; it is in restore mode until confirmed
		switch arg(1) {
		case "shows":
			w.showCut("another")
		case "is-confirmed":
			w.endDoubt()
		default:
			t.Fatalf("another member does not %q", arg(1))
		}
	case "connect":
		w.connect()
	case "cut":
		w.cut()
	case "restart":
		map[string]func(){"hub": w.restartHub, "agent": w.restartAgent}[arg(1)]()
	case "deliver": // deliver [hub|agent] [N]: hand over N messages to one side; without arguments everything to both
		if arg(1) == "" {
			w.deliverAll()
			return
		}
		for range number(2, 1) {
			w.deliver(arg(1) == "hub")
		}
	case "drop", "duplicate", "reverse": // the oldest messages on the wire to hub or agent
		w.disturb(words[0], arg(1) == "hub", number(2, 1))
	case "tick":
		d, err := time.ParseDuration(arg(1))
		if err != nil {
			t.Fatal(err)
		}
		w.tick(d)
	case "member", "store": // member slow|fast|failing|sound|work
		w.condition(t, words[0], arg(1))
	case "burden": // burden KEY N|kept: the removal of a work takes N other objects along, or is none for what it holds
		if w.burdens == nil {
			w.burdens = map[string]int{}
		}
		if arg(2) == "kept" {
			w.burdens[arg(1)] = kept
		} else {
			w.burdens[arg(1)] = number(2, 0)
		}
	case "forget-hold": // the hub ended before it could write that something waits
		w.store.held = false
	case "confirm":
		n, err := w.confirm()
		w.log("confirmed %d, error %v", n, err)
	case "show":
		w.show()
	default:
		t.Fatalf("no command %q", words[0])
	}
	w.settle()
}

func (w *world) set(t *testing.T, name string, value int) {
	agents := w.brakes
	fields := map[string]*int{
		"window": &w.settings.Window, "refs-up-to": &w.settings.RefsUpTo, "buckets": &w.settings.Buckets,
		"brake-least": &w.brakes.Least, "agents-brake-least": &agents.Least,
	}
	field := fields[name]
	if field == nil {
		t.Fatalf("no setting %q", name)
	}
	*field = value
	if field == &agents.Least {
		w.agentBrakes = &agents
	}
	w.hubBrake, w.agentBrake = NewBrake(w.brakes), w.newAgentBrake()
}

func (w *world) disturb(how string, toHub bool, n int) {
	queue := &w.toAgent
	if toHub {
		queue = &w.toHub
	}
	n = min(n, len(*queue))
	head, tail := append([]wire(nil), (*queue)[:n]...), (*queue)[n:]
	switch how {
	case "drop":
		head = nil
	case "duplicate":
		head = append(head, head...)
	case "reverse":
		for i := range n / 2 {
			head[i], head[n-1-i] = head[n-1-i], head[i]
		}
	}
	*queue = append(head, tail...)
}

func (w *world) condition(t *testing.T, where, what string) {
	switch where + " " + what {
	case "member slow":
		w.slowMember = true
	case "member fast":
		w.slowMember = false
		w.work()
	case "member failing":
		w.failing = true
	case "member sound":
		w.failing = false
	case "store slow":
		w.slowStore = true
	case "store fast":
		w.slowStore = false
		w.work()
	default:
		t.Fatalf("no condition %s %q", where, what)
	}
}

// show prints what both sides have in the end.
func (w *world) show() {
	var wants, holds []string
	listed, _ := w.List()
	for _, l := range listed {
		wants = append(wants, fmt.Sprintf("%s:%s:%d%s", l.Key, l.UID, l.Generation, map[bool]string{true: "(removing)"}[l.Removing]))
	}
	for _, key := range sortedKeys(w.member.holds) {
		r := w.member.holds[key]
		holds = append(holds, fmt.Sprintf("%s:%s:%d", r.Key, r.UID, r.Generation))
	}
	if len(wants) > 12 {
		w.log("hub wants %d works, the member holds %d, equal %v", len(wants), len(holds), strings.Join(wants, " ") == strings.Join(holds, " "))
		return
	}
	w.log("hub wants [%s]", strings.Join(wants, " "))
	w.log("member holds [%s] mark=%s/%d", strings.Join(holds, " "), w.member.mark.Incarnation, w.member.mark.Revision)
	if w.hub != nil {
		w.log("state %s, %d unacknowledged, %d waiting", w.hub.State(), w.hub.Unacknowledged(), w.hub.Waiting())
	}
}
