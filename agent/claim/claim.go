// Package claim decides which of several agents of one cluster acts: the one that is named in a Lease beside the state.
// The others wait until it has ended, or has not been heard of for Duration. Nothing is written to the member past
// Guard, which lets writes through only while the claim is known to be this agent's.
package claim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// LeaseName is the Lease in the agent's state namespace.
	LeaseName = "windlass-agent"
	// Duration is how long a claim stands that its holder does not renew.
	Duration = 15 * time.Second
	// trusted is how long the holder relies on its last renewal. It is shorter than Duration by more than a request
	// takes that was begun at its end.
	trusted    = 10 * time.Second
	renewEvery = 5 * time.Second
	// renewTimeout bounds what those wait for who would write.
	renewTimeout = 5 * time.Second
	lookEvery    = time.Second

	placeAnnotation   = "windlass.dev/agent-place"
	processAnnotation = "windlass.dev/agent-process"
)

// Leases reads and writes the Leases of the agent's namespace in the member. Errors are those of an API server.
type Leases interface {
	Get(ctx context.Context, name string, options metav1.GetOptions) (*coordinationv1.Lease, error)
	Create(ctx context.Context, lease *coordinationv1.Lease, options metav1.CreateOptions) (*coordinationv1.Lease, error)
	Update(ctx context.Context, lease *coordinationv1.Lease, options metav1.UpdateOptions) (*coordinationv1.Lease, error)
}

// Config of a Claim. Everything is needed.
type Config struct {
	// Leases must not go through Guard.
	Leases Leases
	// Namespace is where they are; MakeNamespace makes it when it is missing, and must not go through Guard either.
	Namespace     string
	MakeNamespace func(ctx context.Context) error
	Self          Process
	// Gone says of a process at Self's place that it has ended for sure.
	Gone func(pid int) bool
	// Anew is told that the Lease of a claim that is held was gone, and is there again: what was beside it may be gone,
	// too. Trouble is told why nothing can be written to the member for longer than a moment, and nil when it can be
	// again. Neither must block.
	Anew    func()
	Trouble func(problem error)
	Logger  *slog.Logger
	Now     func() time.Time
}

// A Holder is the agent that acts.
type Holder struct {
	Name  string
	Since time.Time
}

// String names the agent and says since when it acts.
func (h Holder) String() string {
	return fmt.Sprintf("agent %s, since %s", h.Name, h.Since.UTC().Format(time.RFC3339))
}

// LostError says that another agent acts now.
type LostError struct{ To Holder }

// Error says who acts.
func (e *LostError) Error() string { return "another agent has taken over: " + e.To.String() }

// A WithheldError is what a write is answered with that was not sent.
type WithheldError struct{ cause error }

// Error says why.
func (e *WithheldError) Error() string { return "nothing is written to the member: " + e.cause.Error() }

// Is finds what the cause is, and there is no Unwrap: what the member's API answered of the Lease must not be taken for
// its answer to the write, such as that the object to be deleted is not found.
func (e *WithheldError) Is(target error) bool { return errors.Is(e.cause, target) }

// errNotHeld is what a write is refused with before the claim is made, and after it was given back.
var errNotHeld = errors.New("this agent does not act for the cluster")

// A Claim is one agent's. Safe for concurrent use.
type Claim struct {
	config Config

	// renewing is held by the one who renews or releases; mu never while the member is asked.
	renewing sync.Mutex
	mu       sync.Mutex // guards lease, renewed, lost, failed and failure
	// lease is the claim as it was last written by this agent; nil when it is not this agent's.
	lease   *coordinationv1.Lease
	renewed time.Time // when the request of the last renewal began
	lost    *LostError
	// failure is why the claim could not be renewed at the last attempt, which ended at failed.
	failure error
	failed  time.Time

	troubled bool // Trouble was told; used by Keep alone
	// What Acquire saw last of another's claim, and since when.
	seen      string
	seenSince time.Time
}

// New makes a claim that is not held.
func New(config Config) *Claim { return &Claim{config: config} }

// Acquire waits until the claim is this agent's. Waiting is told for whom it waits, once for each. An error is one of
// the member's API or of ctx, and the call may be repeated.
func (c *Claim) Acquire(ctx context.Context, waiting func(Holder)) error {
	var told Holder
	for {
		taken, holder, err := c.try(ctx)
		if err != nil || taken {
			return err
		}
		if holder != told {
			waiting(holder)
			told = holder
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookEvery):
		}
	}
}

// Holder returns who holds the claim, be it alive or not; false when nobody does.
func (c *Claim) Holder(ctx context.Context) (Holder, bool) {
	lease, err := c.config.Leases.Get(ctx, LeaseName, metav1.GetOptions{})
	if err != nil || holderOf(lease).Name == "" {
		return Holder{}, false
	}
	return holderOf(lease), true
}

// try takes the claim if it is free. Of several that try at once the member's API lets one succeed.
func (c *Claim) try(ctx context.Context) (taken bool, holder Holder, err error) {
	began := c.config.Now()
	lease, err := c.config.Leases.Get(ctx, LeaseName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: LeaseName}}
	case err != nil:
		return false, holder, c.explain("reading", err)
	case !c.free(lease):
		return false, holderOf(lease), nil
	}
	written, err := c.write(ctx, c.taken(lease))
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return false, holderOf(lease), nil // somebody was faster, or it was our own write whose answer was lost
	}
	if err != nil {
		return false, holder, c.explain("writing", err)
	}
	c.set(written, began)
	return true, holder, nil
}

// free says whether a claim may be taken: nobody holds it, its holder has ended, or has not renewed it for Duration. That
// is measured by this agent's clock alone, from when it saw the claim first.
func (c *Claim) free(lease *coordinationv1.Lease) bool {
	holder := holderOf(lease).Name
	if holder == "" || holder == c.config.Self.Name || c.ended(lease) {
		return true
	}
	now := c.config.Now()
	if c.seen != lease.ResourceVersion {
		c.seen, c.seenSince = lease.ResourceVersion, now
	}
	return now.Sub(c.seenSince) >= Duration
}

// ended says whether the holder was a process beside this one, and is not there any more.
func (c *Claim) ended(lease *coordinationv1.Lease) bool {
	place := lease.Annotations[placeAnnotation]
	pid, err := strconv.Atoi(lease.Annotations[processAnnotation])
	return err == nil && place != "" && place == c.config.Self.Place && (pid == c.config.Self.ID || c.config.Gone(pid))
}

// taken is a Lease as it is when this agent takes it.
func (c *Claim) taken(before *coordinationv1.Lease) *coordinationv1.Lease {
	lease := before.DeepCopy()
	now, seconds, transitions := metav1.NewMicroTime(c.config.Now()), int32(Duration/time.Second), int32(0)
	if before.Spec.LeaseTransitions != nil {
		transitions = *before.Spec.LeaseTransitions + 1
	}
	lease.Spec.HolderIdentity, lease.Spec.AcquireTime, lease.Spec.RenewTime = &c.config.Self.Name, &now, &now
	lease.Spec.LeaseDurationSeconds, lease.Spec.LeaseTransitions = &seconds, &transitions
	if lease.Annotations == nil {
		lease.Annotations = map[string]string{}
	}
	lease.Annotations[placeAnnotation], lease.Annotations[processAnnotation] = c.config.Self.Place, strconv.Itoa(c.config.Self.ID)
	return lease
}

// write writes a Lease, and makes the namespace when it is gone: it is the agent's own.
func (c *Claim) write(ctx context.Context, lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	if lease.ResourceVersion != "" {
		return c.config.Leases.Update(ctx, lease, metav1.UpdateOptions{})
	}
	written, err := c.config.Leases.Create(ctx, lease, metav1.CreateOptions{})
	if !apierrors.IsNotFound(err) {
		return written, err
	}
	if err := c.config.MakeNamespace(ctx); err != nil {
		return nil, err
	}
	return c.config.Leases.Create(ctx, lease, metav1.CreateOptions{})
}

// explain says what a person has to do about an error of the member's API, if there is something.
func (c *Claim) explain(doing string, err error) error {
	what := fmt.Sprintf("%s Lease %s in namespace %s", doing, LeaseName, c.config.Namespace)
	var status apierrors.APIStatus
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return fmt.Errorf("%s: the namespace is being deleted; the agent makes it again when it is gone: %w", what, err)
	case apierrors.IsForbidden(err) && errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Kind == "namespaces":
		return fmt.Errorf("%s: the namespace is gone, and making it is forbidden: make it, or allow the agent get and create on namespaces: %w", what, err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s: forbidden: the agent needs get, create and update on leases (coordination.k8s.io) in that namespace: %w", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Keep renews the claim until ctx ends, or it is another agent's: then it returns a *LostError. A member whose API does
// not answer is waited for: as long as nothing can be written, nothing has to be given up.
func (c *Claim) Keep(ctx context.Context) error {
	pause := renewEvery
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		err := c.renew(ctx, c.config.Now())
		var lost *LostError
		switch {
		case errors.As(err, &lost):
			return lost
		case err != nil && ctx.Err() == nil:
			c.config.Logger.Debug("The agent's claim on the cluster could not be renewed; trying again.", "error", err)
			c.tell(err)
			pause = lookEvery
		default:
			c.tell(nil)
			pause = renewEvery
		}
	}
}

// tell tells of a claim that could not be renewed for so long that nothing is written any more, and of its end.
func (c *Claim) tell(problem error) {
	switch {
	case problem == nil && c.troubled:
		c.config.Logger.Info("The agent's claim on the cluster is renewed: it acts again.")
	case problem == nil, !c.troubled && c.config.Now().Sub(c.lastRenewed()) < trusted:
		return
	case !c.troubled:
		c.config.Logger.Warn("Nothing is written to the member: the agent's claim on the cluster cannot be renewed. It goes on trying.", "problem", problem)
	}
	c.troubled = problem != nil
	c.config.Trouble(problem)
}

func (c *Claim) lastRenewed() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.renewed
}

// Check returns nil while this agent acts. A claim that was not renewed for a while is renewed first.
func (c *Claim) Check(ctx context.Context) error {
	return c.renew(ctx, c.config.Now().Add(-trusted))
}

// renew renews the claim unless that was done after a time. Those who ask meanwhile share the answer.
func (c *Claim) renew(ctx context.Context, unlessAfter time.Time) error {
	if decided, err := c.standing(unlessAfter); decided {
		return err
	}
	asked := c.config.Now()
	c.renewing.Lock()
	defer c.renewing.Unlock()
	if failure := c.failedAfter(asked); failure != nil {
		return failure
	}
	err := c.renewNow(ctx, unlessAfter)
	if ctx.Err() == nil {
		c.mu.Lock()
		c.failure, c.failed = err, c.config.Now()
		c.mu.Unlock()
	}
	return err
}

// failedAfter returns why an attempt failed that ended after a time.
func (c *Claim) failedAfter(asked time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed.After(asked) {
		return c.failure
	}
	return nil
}

// mostWrites bounds the writes of one renewal. Two are needed when the Lease is gone.
const mostWrites = 4

// renewNow is renew for the one whose turn it is.
func (c *Claim) renewNow(ctx context.Context, unlessAfter time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	var problem error
	for range mostWrites {
		if decided, err := c.standing(unlessAfter); decided {
			return err
		}
		began := c.config.Now()
		renewed := c.held().DeepCopy()
		renewed.Spec.RenewTime = &metav1.MicroTime{Time: began}
		written, err := c.write(ctx, renewed)
		switch {
		case err == nil:
			c.set(written, began)
			if renewed.ResourceVersion == "" {
				c.config.Logger.Warn("Somebody has deleted the Lease that says which agent acts; the agent has made it again.", "namespace", c.config.Namespace, "lease", LeaseName)
				c.config.Anew()
			}
			return nil
		case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
			if err := c.lookAgain(ctx); err != nil {
				return err
			}
			problem = err
		default:
			return c.explain("renewing", err)
		}
	}
	return c.explain("renewing", problem)
}

// standing says how the claim stands, unless it has to be renewed to know that.
func (c *Claim) standing(unlessAfter time.Time) (decided bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.lost != nil:
		return true, c.lost
	case c.lease == nil:
		return true, errNotHeld
	}
	// By both clocks: one can be set back, and the other stands still while the machine sleeps.
	return c.renewed.After(unlessAfter) && c.renewed.Round(0).After(unlessAfter.Round(0)), nil
}

// lookAgain finds out what became of the Lease: this agent has written it and the answer was lost, or another one has,
// or somebody has deleted it, and who makes it anew first has it.
func (c *Claim) lookAgain(ctx context.Context) error {
	found, err := c.config.Leases.Get(ctx, LeaseName, metav1.GetOptions{})
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case apierrors.IsNotFound(err):
		c.lease = c.lease.DeepCopy()
		c.lease.ObjectMeta = metav1.ObjectMeta{Name: LeaseName, Annotations: c.lease.Annotations}
	case err != nil:
		return c.explain("reading", err)
	case holderOf(found).Name != c.config.Self.Name:
		c.lease, c.lost = nil, &LostError{To: holderOf(found)}
	default:
		c.lease = found
	}
	return nil
}

func (c *Claim) held() *coordinationv1.Lease {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lease
}

func (c *Claim) set(lease *coordinationv1.Lease, renewed time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lease, c.renewed = lease, renewed
}

// Release gives the claim back, so that who waits for it need not wait for its end. Nothing can be written after it.
func (c *Claim) Release(ctx context.Context) error {
	c.renewing.Lock()
	defer c.renewing.Unlock()
	lease := c.held()
	if lease == nil {
		return nil
	}
	c.set(nil, time.Time{})
	released := lease.DeepCopy()
	released.Spec.HolderIdentity = nil
	if _, err := c.config.Leases.Update(ctx, released, metav1.UpdateOptions{}); err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return fmt.Errorf("giving Lease %s back: %w", LeaseName, err)
	}
	return nil
}

// Guard lets requests that write through only while this agent acts.
func (c *Claim) Guard(next http.RoundTripper) http.RoundTripper { return guarded{claim: c, next: next} }

type guarded struct {
	claim *Claim
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (g guarded) RoundTrip(request *http.Request) (*http.Response, error) {
	switch request.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return g.next.RoundTrip(request)
	}
	if err := g.claim.Check(request.Context()); err != nil {
		if request.Body != nil {
			_ = request.Body.Close()
		}
		return nil, &WithheldError{cause: err}
	}
	return g.next.RoundTrip(request)
}

func holderOf(lease *coordinationv1.Lease) Holder {
	holder := Holder{}
	if lease.Spec.HolderIdentity != nil {
		holder.Name = *lease.Spec.HolderIdentity
	}
	if lease.Spec.AcquireTime != nil {
		holder.Since = lease.Spec.AcquireTime.Time
	}
	return holder
}
