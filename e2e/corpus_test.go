package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"windlass.dev/windlass/e2e/fleet"
)

// The corpus is what people write who learnt from Karmada's documentation, each file one small complete case.
// Comments in a file say what must come of it, and the test makes sure of that. It reads:
//
//	# alone: why                        runs by itself, after all others, in members that run nothing of them
//	# given member1: kubectl …          a command in a member, before the step's manifests are applied
//	# do: kubectl …                     a command on the hub (or "do member1:"), after they are applied
//	# want: …                           what must be true in the end, all of it at once:
//	#   Deployment web: member1=2 member2=* member3=-
//	#                                   the binding names these clusters and no other of those that the line
//	#                                   names; there are so many replicas (of a Job: its parallelism), or *
//	#                                   the object, or - nothing; clusters=2 and replicas=6 are sums
//	#   member1 Deployment web .spec.template.spec.containers[0].image = registry.example.test/web:1
//	#   hub ConfigMap settings .data["app.yaml"] contains "text"
//	#   member1 Deployment web .spec.paused absent
//	#   member1 ConfigMap settings absent
//	#   hub Deployment web is there
//	#   hub PropagationBinding web-deployment condition Scheduled=False reason NoClusterFit message "text"
//	# then: …                           the next step begins here, with manifests of its own if need be
//
// NAMESPACE is the file's own namespace, which also makes names without a namespace unique.
// With WINDLASS_E2E_CORPUS=5* in the environment only the files run that match.

// corpusFleet are the three members as the corpus knows them.
var corpusFleet = map[string]struct{ provider, region, zones, labels string }{
	"member1": {"hill", "north", "north-1,north-2", "tier=gold,site=rack"},
	"member2": {"hill", "south", "south-1", "tier=silver,site=rack"},
	"member3": {"lake", "south", "south-2", "tier=silver,site=cloud"},
}

// corpusBeside is how many files are under way at the same time.
const corpusBeside = 24

// eventually waits until cond returns no error, or returns its last word. So many files wait at once that looking as
// often as other tests do would take the machine from what they wait for.
func eventually(ctx context.Context, cond func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := cond()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}

func TestManifestsAsKarmadaUsersWriteThemDoWhatTheySay(t *testing.T) {
	f := fleet.Shared(t)
	files := readCorpus(t)
	c := gather(t, f)
	var together, alone []*corpusFile
	for _, file := range files {
		if file.alone {
			alone = append(alone, file)
		} else {
			together = append(together, file)
		}
	}
	began := time.Now()
	c.runAll(t, together)
	t.Logf("%d files beside each other took %v", len(together), time.Since(began).Round(time.Millisecond))
	for _, file := range alone {
		c.runAll(t, []*corpusFile{file})
	}
	for _, file := range files {
		t.Run(file.name, func(t *testing.T) {
			t.Logf("it took %v", file.took.Round(time.Millisecond))
			for _, failure := range file.failures {
				t.Error(failure)
			}
		})
	}
}

// A corpus is the fleet while the files run.
type corpus struct {
	fleet   *fleet.Fleet
	members map[string]*fleet.Member

	mutex sync.Mutex
	used  map[string]bool // namespaces of files
}

// gather gives the fleet a third member, and all three their places in the world, until the test ends. What moves in the corpus
// moves away from the third: brakes count it, and of a member that stays they would count it for the tests that follow.
func gather(t *testing.T, f *fleet.Fleet) *corpus {
	t.Helper()
	c := &corpus{fleet: f, members: map[string]*fleet.Member{}, used: map[string]bool{}}
	for _, member := range f.Members() {
		name := member.Cluster.Name()
		c.members[name] = member
		place := corpusFleet[name]
		labels, none := map[string]any{}, map[string]any{}
		for _, label := range strings.Split(place.labels, ",") {
			key, value, _ := strings.Cut(label, "=")
			labels[key], none[key] = value, nil
		}
		t.Cleanup(func() {
			c.change(t, name, map[string]any{"metadata": map[string]any{"labels": none},
				"spec": map[string]any{"provider": nil, "region": nil, "zones": nil, "taints": nil}})
		})
		c.change(t, name, map[string]any{"metadata": map[string]any{"labels": labels},
			"spec": map[string]any{"provider": place.provider, "region": place.region, "zones": strings.Split(place.zones, ",")}})
	}
	third, spare := corpusFleet["member3"], f.Spare(t)
	agent := attachable(t, f, spare, "member3", f.Token(t, "member3"),
		"--provider="+third.provider, "--region="+third.region, "--zones="+third.zones, "--labels="+third.labels)
	if err := agent.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.members["member3"] = spare
	for name := range corpusFleet {
		f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("Ready", "True"), fleet.ConditionIs("CompleteAPIEnablements", "True"))
	}
	return c
}

// change merges a patch into a MemberCluster, also when the test is over.
func (c *corpus) change(t *testing.T, cluster string, patch map[string]any) {
	t.Helper()
	raw, err := json.Marshal(patch)
	if err == nil {
		resource := c.fleet.Hub().Resource(t, fleet.Cluster(cluster))
		_, err = resource.Patch(context.Background(), cluster, types.MergePatchType, raw, metav1.PatchOptions{})
	}
	if err != nil {
		t.Errorf("changing MemberCluster %s: %v", cluster, err)
	}
}

// runAll runs files beside each other, each to its end and all of its objects gone again.
func (c *corpus) runAll(t *testing.T, files []*corpusFile) {
	t.Helper()
	tickets := make(chan struct{}, corpusBeside)
	var group sync.WaitGroup
	for _, file := range files {
		group.Go(func() {
			tickets <- struct{}{}
			defer func() { <-tickets }()
			began := time.Now()
			c.run(t.Context(), file)
			file.took = time.Since(began)
		})
	}
	group.Wait()
}

// run carries out one file and notes what is not as it should be.
func (c *corpus) run(ctx context.Context, file *corpusFile) {
	r := &corpusRun{corpus: c, ctx: ctx, namespace: unique("corpus"), kinds: maps.Clone(hubKinds)}
	c.mutex.Lock()
	c.used[r.namespace] = true
	c.mutex.Unlock()
	if file.alone {
		file.note("waiting for members without the other files' pods", eventually(ctx, r.membersAreIdle))
	}
	file.note("making its namespace", r.apply(&unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": r.namespace},
	}}))
	for i := range file.steps {
		if len(file.failures) == 0 {
			r.step(file, i)
		}
	}
	file.note("cleaning up", r.cleanUp())
	if file.alone {
		file.note("taking taints back", r.untaint())
	}
}

func (file *corpusFile) note(what string, err error) {
	if err != nil {
		file.failures = append(file.failures, fmt.Sprintf("%s: %v", what, err))
	}
}

// A corpusRun is one file in its namespace.
type corpusRun struct {
	*corpus
	ctx       context.Context
	namespace string
	kinds     map[string]string // apiVersion by kind: the hub's own, and those of the file
	applied   []fleet.Object
}

// hubKinds are kinds that a file may speak of without having one.
var hubKinds = map[string]string{
	"PropagationBinding": "work.karmada.io/v1alpha1", "ClusterPropagationBinding": "work.karmada.io/v1alpha1",
	"PropagationWork": "work.karmada.io/v1alpha1", "MemberCluster": "cluster.karmada.io/v1alpha1",
	"Namespace": "v1", "ConfigMap": "v1", "Deployment": "apps/v1",
}

// step carries out one step of the file; after a failure there is no use in the rest of it.
func (r *corpusRun) step(file *corpusFile, number int) {
	step := file.steps[number]
	at := func(what string) string { return fmt.Sprintf("step %d, %s", number+1, what) }
	for _, command := range step.given {
		if err := r.command(command); err != nil {
			file.note(at("given"), err)
			return
		}
	}
	objects, err := corpusObjects(strings.ReplaceAll(step.manifests, "NAMESPACE", r.namespace))
	if err != nil {
		file.note(at("reading"), err)
		return
	}
	for _, object := range objects {
		r.kinds[object.GetKind()] = object.GetAPIVersion()
		if err := r.apply(object); err != nil {
			file.note(at("applying"), err)
			return
		}
	}
	for _, command := range step.do {
		if err := r.command(command); err != nil {
			file.note(at("doing"), err)
			return
		}
	}
	file.note(at("wants"), eventually(r.ctx, func() error {
		var missing []error
		for _, want := range step.wants {
			if err := r.holds(strings.ReplaceAll(want, "NAMESPACE", r.namespace)); err != nil {
				missing = append(missing, fmt.Errorf("\n\twant %s\n\t\tbut %w", want, err))
			}
		}
		return errors.Join(missing...)
	}))
}

func corpusObjects(manifests string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for _, document := range regexp.MustCompile(`(?m)^---.*$`).Split(manifests, -1) {
		object := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict([]byte(document), &object.Object); err != nil {
			return nil, err
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
	return objects, nil
}

// apply does what kubectl apply --server-side --validate=strict does for a user whose context names the file's namespace.
func (r *corpusRun) apply(object *unstructured.Unstructured) error {
	o := fleet.Object{APIVersion: object.GetAPIVersion(), Kind: object.GetKind(), Namespace: object.GetNamespace(), Name: object.GetName()}
	if o.Namespace == "" {
		o.Namespace = r.namespace
	}
	var refused error
	err := eventually(r.ctx, func() error {
		resource, namespaced, err := r.fleet.Hub().Find(o)
		if meta.IsNoMatchError(err) {
			return err // listed a moment after its definition is established
		}
		if err != nil {
			refused = err
			return nil
		}
		if !namespaced {
			o.Namespace = ""
		}
		object.SetNamespace(o.Namespace)
		raw, err := object.MarshalJSON()
		if err == nil {
			force := true
			_, err = resource.Patch(r.ctx, o.Name, types.ApplyPatchType, raw,
				metav1.PatchOptions{FieldManager: "kubectl", Force: &force, FieldValidation: metav1.FieldValidationStrict})
		}
		refused = err
		return nil
	})
	if err = errors.Join(err, refused); err != nil {
		return fmt.Errorf("%s: %w", o, err)
	}
	r.applied = append(r.applied, o)
	return nil
}

// A corpusCommand is one command line, on the hub or in a member.
type corpusCommand struct{ where, line string }

func (r *corpusRun) command(command corpusCommand) error {
	words, err := wordsOf(strings.ReplaceAll(command.line, "NAMESPACE", r.namespace))
	if err != nil {
		return err
	}
	words = append(words, "--namespace="+r.namespace)
	if command.where != "hub" {
		words = append(words, "--kubeconfig="+r.members[command.where].Cluster.Kubeconfig())
	}
	_, err = r.fleet.Hub().CLI(r.ctx, words...)
	return err
}

// wordsOf splits a command line as a shell does, with quotes and without anything else.
func wordsOf(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote rune
	begun := false
	for _, letter := range line {
		switch {
		case quote != 0 && letter == quote:
			quote = 0
		case quote == 0 && (letter == '\'' || letter == '"'):
			quote, begun = letter, true
		case quote == 0 && letter == ' ':
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(letter)
			begun = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("the quote %c has no end in: %s", quote, line)
	}
	if begun {
		words = append(words, word.String())
	}
	return words, nil
}

// api is the hub's or a member's, by the word that a want begins with.
func (r *corpusRun) api(where string) *fleet.API {
	if where == "hub" {
		return r.fleet.Hub().API
	}
	if member := r.members[where]; member != nil {
		return member.API
	}
	return nil
}

// holds says what is not yet as a want says.
func (r *corpusRun) holds(want string) error {
	where, rest, _ := strings.Cut(want, " ")
	if r.api(where) == nil {
		return r.isPlaced(want)
	}
	kind, rest, _ := strings.Cut(rest, " ")
	name, rest, _ := strings.Cut(rest, " ")
	object, err := r.read(where, kind, name)
	switch {
	case rest == "absent" && apierrors.IsNotFound(err):
		return nil
	case rest == "absent" && err == nil:
		return errors.New("it is there")
	case err != nil:
		return err
	case rest == "is there":
		return nil
	case strings.HasPrefix(rest, "."):
		return hasValue(object, rest)
	}
	if match := conditionWant.FindStringSubmatch(rest); match != nil {
		return hasCondition(object, match[1], match[2], match[3], match[4])
	}
	return fmt.Errorf("nobody knows what %q means", rest)
}

// read returns an object of the file's namespace, or of another that stands before the name.
func (r *corpusRun) read(where, kind, name string) (*unstructured.Unstructured, error) {
	o := fleet.Object{APIVersion: r.kinds[kind], Kind: kind, Namespace: r.namespace, Name: name}
	if o.APIVersion == "" {
		return nil, fmt.Errorf("nobody knows the group of %s", kind)
	}
	if namespace, name, found := strings.Cut(name, "/"); found {
		o.Namespace, o.Name = namespace, name
	}
	resource, _, err := r.api(where).Find(o)
	if meta.IsNoMatchError(err) {
		return nil, apierrors.NewNotFound(metav1.SchemeGroupVersion.WithResource(kind).GroupResource(), name)
	}
	if err != nil {
		return nil, err
	}
	return resource.Get(r.ctx, o.Name, metav1.GetOptions{})
}

var placedWant = regexp.MustCompile(`^(\w+) (\S+):((?: \w+=\S+)+)$`)

// isPlaced compares where an object is, on the hub and in the members, with a line such as
// "Deployment web: member1=2 member3=- clusters=2".
func (r *corpusRun) isPlaced(want string) error {
	match := placedWant.FindStringSubmatch(want)
	if match == nil {
		return fmt.Errorf("nobody knows what %q means", want)
	}
	kind, name := match[1], match[2]
	placed, err := r.placed(kind, name)
	if err != nil {
		return err
	}
	found, sum := map[string]string{}, 0
	for member := range r.members {
		if found[member], err = r.replicasIn(member, kind, name); err != nil {
			return err
		}
		if n, err := strconv.Atoi(found[member]); err == nil {
			sum += n
		}
		if there := found[member] != "-"; there != placed[member] {
			return fmt.Errorf("the binding has the clusters %v, and the members have %v", slices.Sorted(maps.Keys(placed)), found)
		}
	}
	for _, part := range strings.Fields(match[3]) {
		key, value, _ := strings.Cut(part, "=")
		var got string
		switch key {
		case "clusters":
			got = strconv.Itoa(len(placed))
		case "replicas":
			got = strconv.Itoa(sum)
		default:
			if got = found[key]; value == "*" && got != "-" && got != "" {
				got = "*"
			}
		}
		if got != value {
			return fmt.Errorf("%s=%s: members have %v, the binding has the clusters %v", key, got, found, slices.Sorted(maps.Keys(placed)))
		}
	}
	return nil
}

// placed are the clusters of an object's binding; without a binding there are none.
func (r *corpusRun) placed(kind, name string) (map[string]bool, error) {
	_, namespaced, err := r.fleet.Hub().Find(fleet.Object{APIVersion: r.kinds[kind], Kind: kind})
	if err != nil {
		return nil, err
	}
	bindings := "ClusterPropagationBinding"
	if namespaced {
		bindings = "PropagationBinding"
	}
	binding, err := r.read("hub", bindings, name+"-"+strings.ToLower(kind))
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	clusters, _, err := unstructured.NestedSlice(binding.Object, "spec", "clusters")
	placed := map[string]bool{}
	for _, cluster := range clusters {
		name, _, _ := unstructured.NestedString(cluster.(map[string]any), "name")
		placed[name] = true
	}
	return placed, err
}

// replicasIn says how many replicas an object has in a member, * where it has no such number, or - where it is not.
func (r *corpusRun) replicasIn(member, kind, name string) (string, error) {
	object, err := r.read(member, kind, name)
	if apierrors.IsNotFound(err) || err == nil && object.GetDeletionTimestamp() != nil {
		return "-", nil
	}
	if err != nil {
		return "", err
	}
	for _, field := range []string{"replicas", "parallelism"} {
		if n, found, _ := unstructured.NestedInt64(object.Object, "spec", field); found {
			return strconv.FormatInt(n, 10), nil
		}
	}
	return "*", nil
}

var (
	valueWant     = regexp.MustCompile(`^(\.\S*) (absent|= .*|contains ".*")$`)
	conditionWant = regexp.MustCompile(`^condition (\w+)=(\w+)(?: reason (\w+))?(?: message "(.*)")?$`)
	pathStep      = regexp.MustCompile(`^(?:\.([\w-]+)|\[(\d+)\]|\["([^"]+)"\])`)
)

// hasValue checks ".path = value", ".path contains "text"" and ".path absent".
func hasValue(object *unstructured.Unstructured, want string) error {
	match := valueWant.FindStringSubmatch(want)
	if match == nil {
		return fmt.Errorf("nobody knows what %q means", want)
	}
	value, found, err := at(object.Object, match[1])
	if err != nil {
		return err
	}
	if match[2] == "absent" {
		if found {
			return fmt.Errorf("it is %v", value)
		}
		return nil
	}
	if text, contains := strings.CutPrefix(match[2], "contains "); contains {
		if said := fmt.Sprint(value); !strings.Contains(said, strings.Trim(text, `"`)) {
			return fmt.Errorf("it is %q", said)
		}
		return nil
	}
	var wanted any
	if err := yaml.Unmarshal([]byte(strings.TrimPrefix(match[2], "= ")), &wanted); err != nil {
		return err
	}
	got, _ := json.Marshal(value)
	expected, _ := json.Marshal(wanted)
	if string(got) != string(expected) {
		return fmt.Errorf("it is %s", got)
	}
	return nil
}

// at follows a path such as .spec.containers[0].image or .data["app.yaml"].
func at(value any, path string) (any, bool, error) {
	for path != "" {
		step := pathStep.FindStringSubmatch(path)
		if step == nil {
			return nil, false, fmt.Errorf("nobody knows the way %q", path)
		}
		path = path[len(step[0]):]
		if step[2] != "" {
			list, _ := value.([]any)
			index, err := strconv.Atoi(step[2])
			if err != nil || index >= len(list) {
				return nil, false, err
			}
			value = list[index]
			continue
		}
		next, found := map[string]any(nil), false
		if next, _ = value.(map[string]any); next != nil {
			value, found = next[step[1]+step[3]]
		}
		if !found {
			return nil, false, nil
		}
	}
	return value, true, nil
}

func hasCondition(object *unstructured.Unstructured, kind, status, reason, message string) error {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, item := range conditions {
		condition, _ := item.(map[string]any)
		if condition["type"] != kind {
			continue
		}
		said, _ := condition["message"].(string)
		if condition["status"] != status || reason != "" && condition["reason"] != reason || !strings.Contains(said, message) {
			return fmt.Errorf("it is %s=%v, %v: %s", kind, condition["status"], condition["reason"], said)
		}
		return nil
	}
	return fmt.Errorf("it has no condition %s", kind)
}

// membersAreIdle says which pod of another file still takes room in a member.
func (r *corpusRun) membersAreIdle() error {
	for name, member := range r.members {
		resource, _, err := member.Find(fleet.Object{APIVersion: "v1", Kind: "Pod"})
		if err != nil {
			return err
		}
		pods, err := resource.List(r.ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, pod := range pods.Items {
			r.mutex.Lock()
			used := r.used[pod.GetNamespace()]
			r.mutex.Unlock()
			if used {
				return fmt.Errorf("%s still runs pod %s/%s", name, pod.GetNamespace(), pod.GetName())
			}
		}
	}
	return nil
}

// untaint takes every taint from the clusters but the hub's own, which it would set again.
func (r *corpusRun) untaint() error {
	var failures []error
	for name := range r.members {
		resource, _, err := r.fleet.Hub().Find(fleet.Cluster(name))
		if err == nil {
			_, err = resource.Patch(r.ctx, name, types.MergePatchType, []byte(`{"spec":{"taints":null}}`), metav1.PatchOptions{})
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

// cleanUp deletes what was applied, the last first, and what a file may leave in members on purpose, and waits
// until the hub has nothing of it any more; of namespaces it knows that they take their time.
func (r *corpusRun) cleanUp() error {
	var failures []error
	background := metav1.DeletePropagationBackground
	for _, o := range slices.Backward(r.applied) {
		resource, _, err := r.fleet.Hub().Find(o)
		if err == nil {
			err = resource.Delete(r.ctx, o.Name, metav1.DeleteOptions{PropagationPolicy: &background})
		}
		if err != nil && !apierrors.IsNotFound(err) && !meta.IsNoMatchError(err) {
			failures = append(failures, fmt.Errorf("deleting %s: %w", o, err))
		}
	}
	failures = append(failures, eventually(r.ctx, func() error {
		for _, o := range r.applied {
			resource, _, err := r.fleet.Hub().Find(o)
			if meta.IsNoMatchError(err) || o.Kind == "Namespace" {
				continue
			}
			if err == nil {
				_, err = resource.Get(r.ctx, o.Name, metav1.GetOptions{})
			}
			if err == nil {
				return fmt.Errorf("%s is still there", o)
			}
			if !apierrors.IsNotFound(err) {
				return err
			}
		}
		return nil
	}))
	for _, member := range r.members {
		resource, _, err := member.Find(fleet.Object{APIVersion: "v1", Kind: "Namespace"})
		if err == nil {
			err = resource.Delete(r.ctx, r.namespace, metav1.DeleteOptions{})
		}
		if err != nil && !apierrors.IsNotFound(err) {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

// A corpusFile is one file, read, and what was not as it says.
type corpusFile struct {
	name     string
	alone    bool
	took     time.Duration
	steps    []corpusStep
	failures []string
}

type corpusStep struct {
	manifests string
	given, do []corpusCommand
	wants     []string
}

func readCorpus(t *testing.T) []*corpusFile {
	t.Helper()
	only := os.Getenv("WINDLASS_E2E_CORPUS")
	paths, err := filepath.Glob(filepath.Join("testdata", "corpus", cmp.Or(only, "*")+".yaml"))
	if err != nil || only == "" && len(paths) < 60 {
		t.Fatalf("found %d files: %v", len(paths), err)
	}
	var files []*corpusFile
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parseCorpusFile(strings.TrimSuffix(filepath.Base(path), ".yaml"), string(content))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		files = append(files, file)
	}
	return files
}

var directive = regexp.MustCompile(`^# (alone|given|do|want|then)(?: (member\d))?: (.*)$`)

func parseCorpusFile(name, content string) (*corpusFile, error) {
	file := &corpusFile{name: name, steps: make([]corpusStep, 1)}
	if !strings.HasPrefix(content, "# ") {
		return nil, errors.New("the first line does not say what it teaches")
	}
	for line := range strings.Lines(content) {
		match := directive.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		step := &file.steps[len(file.steps)-1]
		if match == nil {
			step.manifests += line
			continue
		}
		where := match[2]
		if where == "" {
			where = "hub"
		}
		switch match[1] {
		case "alone":
			file.alone = true
		case "given":
			step.given = append(step.given, corpusCommand{where, match[3]})
		case "do":
			step.do = append(step.do, corpusCommand{where, match[3]})
		case "want":
			step.wants = append(step.wants, match[3])
		case "then":
			file.steps = append(file.steps, corpusStep{})
		}
	}
	for i, step := range file.steps {
		if len(step.wants) == 0 {
			return nil, fmt.Errorf("step %d wants nothing", i+1)
		}
		if _, err := corpusObjects(step.manifests); err != nil {
			return nil, fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return file, nil
}
