package claim

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	leaseResource = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}
	errDown       = errors.New("the member's API server does not answer")
)

// fakeLeases behave as an API server does. Each agent has its own, on one store.
type fakeLeases struct {
	store *leaseStore
	// down makes requests fail; lost lets them succeed and loses the answers.
	down, lost atomic.Bool
	anew       atomic.Int32
	troubles   []error
}

type leaseStore struct {
	mu      sync.Mutex
	lease   *coordinationv1.Lease
	version int
	// homeless: the namespace is gone. refusal, if set, is the answer to every write.
	homeless bool
	refusal  error
	requests int
}

func (f *fakeLeases) makeNamespace(context.Context) error {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	f.store.homeless = false
	return nil
}

func (f *fakeLeases) Get(context.Context, string, metav1.GetOptions) (*coordinationv1.Lease, error) {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	switch {
	case f.down.Load():
		return nil, errDown
	case f.store.lease == nil:
		return nil, apierrors.NewNotFound(leaseResource, LeaseName)
	}
	return f.store.lease.DeepCopy(), nil
}

func (f *fakeLeases) Create(_ context.Context, lease *coordinationv1.Lease, _ metav1.CreateOptions) (*coordinationv1.Lease, error) {
	return f.write(lease, func(held *coordinationv1.Lease) error {
		if f.store.homeless {
			return apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "windlass-system")
		}
		if held != nil {
			return apierrors.NewAlreadyExists(leaseResource, LeaseName)
		}
		return nil
	})
}

func (f *fakeLeases) Update(_ context.Context, lease *coordinationv1.Lease, _ metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	return f.write(lease, func(held *coordinationv1.Lease) error {
		switch {
		case held == nil:
			return apierrors.NewNotFound(leaseResource, LeaseName)
		case held.ResourceVersion != lease.ResourceVersion:
			return apierrors.NewConflict(leaseResource, LeaseName, errors.New("it has changed"))
		}
		return nil
	})
}

func (f *fakeLeases) write(lease *coordinationv1.Lease, refuse func(held *coordinationv1.Lease) error) (*coordinationv1.Lease, error) {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	if f.down.Load() {
		return nil, errDown
	}
	f.store.requests++
	if f.store.refusal != nil {
		return nil, f.store.refusal
	}
	if err := refuse(f.store.lease); err != nil {
		return nil, err
	}
	f.store.version++
	f.store.lease = lease.DeepCopy()
	f.store.lease.ResourceVersion = strconv.Itoa(f.store.version)
	if f.lost.Load() {
		return nil, errDown
	}
	return f.store.lease.DeepCopy(), nil
}

func (f *fakeLeases) trouble(problem error) {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	f.troubles = append(f.troubles, problem)
}

// told are the troubles that were told so far.
func (f *fakeLeases) told() []error {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	return slices.Clone(f.troubles)
}

// agent is one agent's claim, with its own way to the member.
type agent struct {
	*Claim
	leases *fakeLeases
}

// newAgent makes an agent; at place "here" no process but 1 runs.
func newAgent(store *leaseStore, name string, id int, place string) agent {
	leases := &fakeLeases{store: store}
	return agent{leases: leases, Claim: New(Config{
		Leases: leases, Self: Process{Name: name, ID: id, Place: place}, Gone: func(pid int) bool { return pid != 1 },
		Namespace: "windlass-system", MakeNamespace: leases.makeNamespace, Anew: func() { leases.anew.Add(1) },
		Trouble: leases.trouble,
		Logger:  slog.New(slog.DiscardHandler), Now: time.Now,
	})}
}

// acquire acquires in the background; the channel has how long that took.
func (a agent) acquire(t *testing.T) (took <-chan time.Duration, waited *[]string) {
	began, result := time.Now(), make(chan time.Duration, 1)
	waited = &[]string{}
	go func() {
		if err := a.Acquire(t.Context(), func(h Holder) { *waited = append(*waited, h.Name) }); err == nil {
			result <- time.Since(began)
		}
	}()
	synctest.Wait()
	return result, waited
}

func mustAcquire(t *testing.T, a agent) {
	t.Helper()
	if err := a.Acquire(t.Context(), func(h Holder) { t.Errorf("it waits for %s", h) }); err != nil {
		t.Fatal(err)
	}
}

func TestASecondAgentWaitsUntilTheFirstGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &leaseStore{}
		first, second := newAgent(store, "first", 1, "here"), newAgent(store, "second", 2, "there")
		mustAcquire(t, first)
		ctx, end := context.WithCancel(t.Context())
		go func() { _ = first.Keep(ctx) }()
		took, waited := second.acquire(t)
		time.Sleep(time.Hour)
		if len(took) > 0 || len(*waited) != 1 || (*waited)[0] != "first" {
			t.Fatalf("the second has the claim: %t; it was told to wait for %q, want first once", len(took) > 0, *waited)
		}
		if err := second.Check(t.Context()); !errors.Is(err, errNotHeld) {
			t.Errorf("the second may write: %v", err)
		}
		end()
		if err := first.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := first.Check(t.Context()); err == nil {
			t.Error("the first may write after it has given up")
		}
		time.Sleep(2 * lookEvery)
		if len(took) == 0 || second.Check(t.Context()) != nil {
			t.Error("the second does not act although the first has given up")
		}
	})
}

func TestHowLongAnAgentWaitsForOneThatIsGone(t *testing.T) {
	cases := map[string]struct {
		reason string
		id     int
		place  string
		want   time.Duration
	}{
		"another machine": {"nothing is known of a process there: its claim has to run out", 7, "there", Duration},
		"here":            {"no such process is there any more", 7, "here", 0},
		"here and runs":   {"a process with its number is there, perhaps another one", 1, "here", Duration},
		"my number":       {"this process has its number: it can't be there any more", 5, "here", 0},
		"nowhere":         {"where it ran is not known", 7, "", Duration},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &leaseStore{}
				mustAcquire(t, newAgent(store, "gone", c.id, c.place))
				place := "here"
				if c.place == "" {
					place = ""
				}
				took, _ := newAgent(store, "next", 5, place).acquire(t)
				if got := <-took; got != c.want {
					t.Errorf("it waited for %s, want %s: %s", got, c.want, c.reason)
				}
			})
		})
	}
}

func TestAnAgentThatCouldNotReachTheMemberStopsWritingBeforeAnotherBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &leaseStore{}
		first, second := newAgent(store, "first", 1, "here"), newAgent(store, "second", 2, "there")
		mustAcquire(t, first)
		ended := make(chan error, 1)
		go func() { ended <- first.Keep(t.Context()) }()
		took, _ := second.acquire(t)
		first.leases.down.Store(true)
		time.Sleep(trusted)
		if err := first.Check(t.Context()); !errors.Is(err, errDown) || len(took) > 0 {
			t.Errorf("the first may write: %v; the second acts: %t", err, len(took) > 0)
		}
		<-took
		first.leases.down.Store(false)
		var lost *LostError
		if err := first.Check(t.Context()); !errors.As(err, &lost) || lost.To.Name != "second" || lost.To.Since.IsZero() {
			t.Errorf("the first may write: %v", err)
		}
		if err := <-ended; !errors.As(err, &lost) {
			t.Errorf("the first goes on: %v", err)
		}
		if err := second.Check(t.Context()); err != nil {
			t.Errorf("the second may not write: %v", err)
		}
	})
}

func TestAnAgentKeepsItsClaim(t *testing.T) {
	cases := map[string]struct {
		reason string
		during func(a agent)
	}{
		"the member did not answer": {"nobody else wants it", func(a agent) {
			a.leases.down.Store(true)
			time.Sleep(time.Hour)
			a.leases.down.Store(false)
		}},
		"an answer was lost": {"the Lease bears its own name", func(a agent) {
			a.leases.lost.Store(true)
			time.Sleep(2 * renewEvery)
			a.leases.lost.Store(false)
		}},
		"the Lease was deleted": {"it makes it anew", func(a agent) {
			a.leases.store.mu.Lock()
			defer a.leases.store.mu.Unlock()
			a.leases.store.lease = nil
		}},
		"its namespace was deleted": {"it makes that anew, too", func(a agent) {
			a.leases.store.mu.Lock()
			defer a.leases.store.mu.Unlock()
			a.leases.store.lease, a.leases.store.homeless = nil, true
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAgent(&leaseStore{}, "first", 1, "here")
				mustAcquire(t, a)
				ended := make(chan error, 1)
				go func() { ended <- a.Keep(t.Context()) }()
				c.during(a)
				time.Sleep(2 * trusted)
				if err := a.Check(t.Context()); err != nil || len(ended) > 0 {
					t.Errorf("it has lost its claim: %v, although %s", err, c.reason)
				}
				if holder, held := a.Holder(t.Context()); !held || holder.Name != "first" {
					t.Errorf("the Lease is of %v", holder)
				}
			})
		})
	}
}

func TestThatTheLeaseWasGoneIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(&leaseStore{}, "first", 1, "here")
		mustAcquire(t, a)
		go func() { _ = a.Keep(t.Context()) }()
		time.Sleep(time.Minute)
		if told := a.leases.anew.Load(); told != 0 {
			t.Fatalf("told %d times although the Lease is there", told)
		}
		a.leases.store.mu.Lock()
		a.leases.store.lease, a.leases.store.homeless = nil, true
		a.leases.store.mu.Unlock()
		time.Sleep(time.Minute)
		if told := a.leases.anew.Load(); told != 1 {
			t.Errorf("told %d times, want once", told)
		}
	})
}

func TestWhyNothingIsWrittenIsToldWithWhatToDo(t *testing.T) {
	terminating := apierrors.NewForbidden(leaseResource, LeaseName, errors.New("because it is being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	cases := map[string]struct {
		answer error
		says   string
	}{
		"no right":             {apierrors.NewForbidden(leaseResource, LeaseName, errors.New("no")), "forbidden: the agent needs get, create and update on leases (coordination.k8s.io) in that namespace"},
		"no right to its home": {apierrors.NewForbidden(schema.GroupResource{Resource: "namespaces"}, "windlass-system", errors.New("no")), "allow the agent get and create on namespaces"},
		"being deleted":        {terminating, "the namespace is being deleted; the agent makes it again"},
		"it comes and goes":    {apierrors.NewNotFound(leaseResource, LeaseName), "not found"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAgent(&leaseStore{}, "first", 1, "here")
				mustAcquire(t, a)
				refuse := func(answer error) {
					a.leases.store.mu.Lock()
					defer a.leases.store.mu.Unlock()
					a.leases.store.refusal, a.leases.store.requests = answer, 0
				}
				go func() { _ = a.Keep(t.Context()) }()
				refuse(c.answer)
				time.Sleep(renewEvery)
				if synctest.Wait(); len(a.leases.told()) > 0 {
					t.Errorf("told %v while what was written last is still trusted", a.leases.told())
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if len(a.leases.told()) == 0 || !strings.Contains(a.leases.told()[0].Error(), c.says) || !strings.Contains(a.leases.told()[0].Error(), "windlass-system") {
					t.Fatalf("told %v, want %q", a.leases.told(), c.says)
				}
				a.leases.store.mu.Lock()
				requests := a.leases.store.requests
				a.leases.store.mu.Unlock()
				if most := mostWrites * 2 * int(time.Minute/lookEvery); requests > most {
					t.Errorf("%d writes in a minute", requests)
				}
				_, err := a.Guard(nil).RoundTrip((&http.Request{Method: "DELETE"}).WithContext(t.Context()))
				var withheld *WithheldError
				if !errors.As(err, &withheld) || apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
					t.Errorf("a write is answered with %v, which is not told from the API's answer to it", err)
				}
				refuse(nil)
				time.Sleep(2 * renewEvery)
				synctest.Wait()
				if last := a.leases.told()[len(a.leases.told())-1]; last != nil {
					t.Errorf("told last: %v although it acts again", last)
				}
			})
		})
	}
}

func TestOnlyWritesAreGuarded(t *testing.T) {
	a := newAgent(&leaseStore{}, "first", 1, "here")
	passed := 0
	guard := a.Guard(roundTripper(func(*http.Request) (*http.Response, error) { passed++; return &http.Response{}, nil }))
	do := func(method string) error {
		request, err := http.NewRequestWithContext(t.Context(), method, "https://member.test", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = guard.RoundTrip(request)
		return err
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		if err := do(method); !errors.Is(err, errNotHeld) {
			t.Errorf("%s passes without a claim: %v", method, err)
		}
	}
	if err := do("GET"); err != nil || passed != 1 {
		t.Errorf("what reads does not pass: %v", err)
	}
	mustAcquire(t, a)
	if err := do("PATCH"); err != nil || passed != 2 {
		t.Errorf("who acts may not write: %v", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestNeverDoTwoAgentsWrite has three agents whose ways to the member break and mend, and that end and begin anew.
func TestNeverDoTwoAgentsWrite(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 7))
			store := &leaseStore{}
			ctx, end := context.WithCancel(t.Context())
			var running sync.WaitGroup
			defer running.Wait()
			defer end()
			agents := make([]agent, 3)
			for i := range agents {
				agents[i] = newAgent(store, strconv.Itoa(i), 1, strconv.Itoa(i))
				running.Go(func() {
					for ctx.Err() == nil {
						if agents[i].Acquire(ctx, func(Holder) {}) != nil {
							time.Sleep(lookEvery)
							continue
						}
						_ = agents[i].Keep(ctx)
						agents[i].forget()
					}
				})
			}
			wrote := 0
			for range 3000 {
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
				if random.IntN(40) == 0 {
					leases := agents[random.IntN(len(agents))].leases
					leases.store.mu.Lock()
					leases.down.Store(random.IntN(2) == 0)
					leases.lost.Store(random.IntN(4) == 0)
					leases.store.mu.Unlock()
				}
				writers := 0
				for _, a := range agents {
					if a.Check(t.Context()) == nil {
						writers++
					}
				}
				if writers > 1 {
					t.Fatalf("seed %d: %d agents may write", seed, writers)
				}
				wrote += writers
			}
			if wrote == 0 {
				t.Errorf("seed %d: nobody ever could write", seed)
			}
		})
	}
}

// forget makes the claim as new, as an agent that begins anew has it.
func (a agent) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lease, a.lost = nil, nil
}
