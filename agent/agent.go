// Package agent puts the agent's parts together: it starts them in the right order, and says how
// the agent stands. What each part does is in its own package.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"

	"windlass.dev/windlass/agent/apply"
	"windlass.dev/windlass/agent/claim"
	"windlass.dev/windlass/agent/dial"
	"windlass.dev/windlass/agent/enroll"
	"windlass.dev/windlass/agent/facts"
	"windlass.dev/windlass/agent/member"
	"windlass.dev/windlass/agent/observe"
	"windlass.dev/windlass/agent/state"
	"windlass.dev/windlass/pkg/manifest"
	"windlass.dev/windlass/pkg/session"
	"windlass.dev/windlass/pkg/version"
)

// Agent is one agent.
type Agent struct {
	config   Config
	logger   *slog.Logger
	registry *prometheus.Registry
	standing standing
	// stateGone is raised when what the agent keeps in the member may be gone.
	stateGone signal
	dialer    *dial.Dialer
	rest      *rest.Config
	// claim lets one of several agents of a cluster act; plain alone reaches the member without being asked for it.
	claim   *claim.Claim
	plain   *member.Core
	clients *member.Clients
	health  *healthServer // nil when nothing is served
}

// New checks the settings, opens the port for health, and starts nothing.
func New(config Config, logger *slog.Logger) (*Agent, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	a := &Agent{config: config, logger: logger, registry: prometheus.NewRegistry(), stateGone: make(signal, 1)}
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.standing.set("starting")
	var err error
	if a.dialer, err = dial.New(dial.Config{ProxyCAFile: config.ProxyCAFile}); err != nil {
		return nil, err
	}
	if a.rest, err = restConfig(config.Kubeconfig); err != nil {
		return nil, err
	}
	if err = a.makeClaim(); err != nil {
		return nil, err
	}
	if a.clients, err = member.Connect(a.rest); err != nil {
		return nil, err
	}
	if config.HealthListen != "" {
		if a.health, err = newHealthServer(config.HealthListen, a.registry, a.standing.get); err != nil {
			return nil, err
		}
		if config.Profiling {
			a.health.serveProfiles()
		}
	}
	return a, nil
}

// makeClaim has every client that is made from here on write only while this agent acts.
func (a *Agent) makeClaim() error {
	plain, err := member.NewCore(a.rest)
	if err != nil {
		return err
	}
	self, err := claim.Self()
	if err != nil {
		return err
	}
	a.plain = plain
	a.claim = claim.New(claim.Config{
		Leases:    plain.Leases(a.config.StateNamespace),
		Namespace: a.config.StateNamespace, MakeNamespace: a.makeNamespace,
		Self: self, Gone: claim.Gone, Anew: a.stateGone.raise, Trouble: a.standing.trouble, Logger: a.logger, Now: time.Now,
	})
	a.rest.Wrap(a.claim.Guard)
	return nil
}

// A signal can be raised again and again before it is seen once.
type signal chan struct{}

func (s signal) raise() {
	select {
	case s <- struct{}{}:
	default:
	}
}

func restConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig != "" {
		config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
		if err != nil {
			return nil, fmt.Errorf("--kubeconfig: %w", err)
		}
		return config, nil
	}
	config, err := rest.InClusterConfig()
	if errors.Is(err, rest.ErrNotInCluster) {
		return nil, errors.New("--kubeconfig is not set, and this is no pod of the member: say how its API server is reached")
	}
	return config, err
}

// Run makes an agent and runs it until ctx ends, which is no error; an agent whose identity has changed
// begins anew, and so does one that another has taken over from: it waits. An error says in one line what a person has
// to do; where the settings say so, the agent stays there with it, not ready, and tries again.
func Run(ctx context.Context, config Config, logger *slog.Logger) error {
	defer context.AfterFunc(ctx, func() { logger.Info("The agent is stopping.") })()
	for {
		a, err := New(config, logger)
		if err == nil {
			err = a.Run(ctx)
		}
		var lost *claim.LostError
		switch {
		case errors.As(err, &lost):
			logger.Warn("Another agent of this cluster has taken over, for this one could not reach the member for a while: it waits until that one ends. Only one is needed: end one of the two.",
				"other", lost.To.Name, "since", lost.To.Since)
		case errors.Is(err, errStartAgain):
			logger.Info("The agent starts again: its identity has changed.")
		case err == nil:
			logger.Info("The agent has stopped; the member stays as it was last told.")
			return nil
		case config.RetryRefused.Duration > 0 && !errors.Is(err, errHealth):
			if err := stay(ctx, config, logger, err); err != nil || ctx.Err() != nil {
				return err
			}
		default:
			return err
		}
	}
}

// Run runs the agent once, until ctx ends, which is no error.
func (a *Agent) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	if a.health != nil {
		group.Go(func() error { return a.health.run(ctx) })
	}
	group.Go(func() error {
		if err := a.run(ctx, group); err != nil && ctx.Err() == nil {
			return err
		}
		return nil
	})
	err := group.Wait()
	a.release(ctx)
	var lost *claim.LostError
	if err != nil && !errors.Is(err, errStartAgain) && !errors.As(err, &lost) {
		return errors.New(oneLine(err.Error()))
	}
	return err
}

// release lets another agent act at once. Everything of this one has ended by now.
func (a *Agent) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := a.claim.Release(ctx); err != nil {
		a.logger.Warn("Another agent of this cluster will wait a while before it acts.", "error", err)
	}
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// run starts the parts one after the other: each needs what the one before it has found out.
func (a *Agent) run(ctx context.Context, group *errgroup.Group) error {
	if err := a.insist(ctx, "preparing namespace "+a.config.StateNamespace+" in the member", a.makeNamespace); err != nil {
		return err
	}
	uid, enroller, err := a.newEnroller(ctx)
	if err != nil {
		return err
	}
	if err := a.becomeTheOne(ctx, enroller); err != nil {
		return err
	}
	group.Go(func() error { return a.claim.Keep(ctx) })
	who, err := a.identity(ctx, enroller)
	if err != nil {
		return err
	}
	brake := session.NewBrake(session.BrakeSettings{
		Least: a.config.Brake.Least, Percent: a.config.Brake.Percent, Window: a.config.Brake.Window.Duration,
	})
	store, err := a.loadState(ctx, who, brake)
	if err != nil {
		return err
	}
	group.Go(func() error { return store.Run(ctx) })
	group.Go(func() error { return a.keepState(ctx, enroller, store) })
	kinds := member.NewKinds(a.clients, a.logger)
	a.logger.Info("The agent knows who it is.", "cluster", who.ClusterName, "hub", a.config.Hub, "works", len(store.Keys()))
	engine, observer, err := a.engine(who, store, kinds)
	if err != nil {
		return err
	}
	gatherer, err := facts.New(facts.Config{
		Clients: a.clients, Kinds: kinds, Logger: a.logger, Now: time.Now, Trouble: a.standing.troubled,
		Interval: a.config.Facts.Interval.Duration, Threshold: a.config.Facts.Threshold, MaxAge: a.config.Facts.MaxAge.Duration,
	})
	if err != nil {
		return err
	}
	for _, part := range []func(context.Context) error{kinds.Run, observer.Run, engine.Run, gatherer.Run} {
		group.Go(func() error { return part(ctx) })
	}
	return a.connect(ctx, parts{
		store: store, engine: engine, observer: observer, facts: gatherer, enroller: enroller, who: who, uid: uid, brake: brake,
	})
}

// insist tries until it succeeds or ctx ends: a member whose API server does not answer now will.
func (a *Agent) insist(ctx context.Context, what string, do func(context.Context) error) error {
	delay := 500 * time.Millisecond
	for {
		err := do(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if apierrors.IsForbidden(err) && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			return fmt.Errorf("%s: %w", what, err)
		}
		a.standing.set("%s: %v", what, err)
		a.logger.Warn("The member's API server does not do what the agent needs; trying again.", "what", what, "error", err, "in", delay)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(delay):
		}
		delay = min(2*delay, 15*time.Second)
	}
}

func (a *Agent) makeNamespace(ctx context.Context) error {
	name := a.config.StateNamespace
	_, err := a.plain.Namespaces().Get(ctx, name, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	_, err = a.plain.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// keepState writes the identity and the state again whenever they may have been deleted under the agent with their
// namespace. An identity that alone was deleted stays so: that is how a person makes an agent forget who it is.
func (a *Agent) keepState(ctx context.Context, enroller *enroll.Enroller, store *state.Store) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.stateGone:
		}
		err := a.restore(ctx, enroller, store)
		if err == nil || ctx.Err() != nil {
			continue
		}
		a.logger.Warn("The agent's identity was deleted in the member and could not be written again; trying again.", "error", err, "in", restoreAgain)
		time.AfterFunc(restoreAgain, a.stateGone.raise)
	}
}

// restoreAgain is the wait after an identity could not be written.
const restoreAgain = 5 * time.Second

func (a *Agent) restore(ctx context.Context, enroller *enroll.Enroller, store *state.Store) error {
	restored, err := enroller.Restore(ctx)
	if err != nil || !restored {
		return err
	}
	a.logger.Warn("The agent's identity was deleted in the member while it runs; it writes its identity and state again.", "namespace", a.config.StateNamespace)
	return store.WriteAnew(ctx)
}

func (a *Agent) stateSecrets() state.Secrets {
	return state.NewSecrets(a.clients.Core.Secrets(a.config.StateNamespace))
}

// loadState reads what the member keeps, and what it keeps of the brake.
func (a *Agent) loadState(ctx context.Context, who *enroll.Identity, brake *session.Brake) (*state.Store, error) {
	store, err := state.New(state.Config{
		Secrets: a.stateSecrets(), Logger: a.logger, Now: time.Now, Registry: a.registry,
		Counted: func() []session.Counted { return brake.Counted(time.Now()) }, Holds: brake.Holds,
	})
	if err != nil {
		return nil, err
	}
	if err := a.insist(ctx, "reading the desired state kept in the member", store.Load); err != nil {
		return nil, err
	}
	brake.Recall(store.Counted(), time.Now())
	if store.Held() {
		brake.Resume()
	}
	if before := store.Mark().HubID; before != "" && before != who.HubID {
		return nil, fmt.Errorf("namespace %s of this member holds what another hub (%.12s…) wants of it: remove the cluster there first, or delete the Secrets with the label %s to leave its objects as they are",
			a.config.StateNamespace, before, state.StateLabel)
	}
	return store, nil
}

// becomeTheOne waits until no other agent acts for this cluster. One that is set up for another cluster or hub than
// the state here does not wait: it is refused.
func (a *Agent) becomeTheOne(ctx context.Context, enroller *enroll.Enroller) error {
	var stop *enroll.StopError
	err := a.insist(ctx, "reading the agent's identity", func(ctx context.Context) error {
		err := enroller.Fits(ctx)
		if errors.As(err, &stop) {
			return nil // no use in trying again
		}
		return err
	})
	if err != nil {
		return err
	}
	if stop != nil {
		if holder, held := a.claim.Holder(ctx); held {
			return fmt.Errorf("%w (the state is in the hands of %s)", stop, holder)
		}
		return stop
	}
	return a.insist(ctx, "finding out whether another agent acts for this cluster", func(ctx context.Context) error {
		return a.claim.Acquire(ctx, func(other claim.Holder) {
			a.standing.wait("another agent acts for this cluster (%s); this one waits until that one ends", other)
			a.logger.Warn("Another agent acts for this cluster: this one waits until that one ends. Only one is needed: end one of the two.",
				"other", other.Name, "since", other.Since)
		})
	})
}

// newEnroller makes what knows who the agent is.
func (a *Agent) newEnroller(ctx context.Context) (uid string, enroller *enroll.Enroller, err error) {
	err = a.insist(ctx, "finding out which cluster this is", func(ctx context.Context) (err error) {
		uid, err = enroll.KubeSystemUID(ctx, a.clients.Core.Namespaces())
		return err
	})
	if err != nil {
		return "", nil, err
	}
	enroller, err = enroll.New(enroll.Config{
		Hub: a.config.Hub, ClusterName: a.config.ClusterName, KubeSystemUID: uid,
		Labels: a.config.Labels, Provider: a.config.Provider, Region: a.config.Region, Zones: a.config.Zones,
		AgentVersion: version.Version, Token: enroll.TokenSource{File: a.config.TokenFile},
		Store: enroll.NewSecretStore(a.clients.Core.Secrets(a.config.StateNamespace), a.clients.Core.Namespaces(), a.config.StateNamespace), Dialer: a.dialer,
		Log: a.logger, Registerer: a.registry, Now: time.Now,
		Forget: func(ctx context.Context) error { return state.Forget(ctx, a.stateSecrets()) },
		Waiting: func(problem error) {
			a.standing.set("joining the hub at %s, so far without success: %s", a.config.Hub, oneLine(problem.Error()))
		},
	})
	return uid, enroller, err
}

// identity returns who the agent is, and enrols when it is nobody yet.
func (a *Agent) identity(ctx context.Context, enroller *enroll.Enroller) (who *enroll.Identity, err error) {
	a.standing.set("joining the hub at %s", a.config.Hub)
	var stop *enroll.StopError
	err = a.insist(ctx, "joining the hub at "+a.config.Hub, func(ctx context.Context) (err error) {
		if who, err = enroller.Identity(ctx); errors.As(err, &stop) {
			return nil // no use in trying again
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case stop != nil:
		return nil, stop
	}
	return who, nil
}

func (a *Agent) engine(who *enroll.Identity, store *state.Store, kinds *member.Kinds) (*apply.Engine, *observe.Observer, error) {
	guard, err := manifest.NewGuard(a.config.Guard.Namespaces, a.config.Guard.Kinds)
	if err != nil {
		return nil, nil, err
	}
	if guarded := a.config.Guard; len(guarded.Namespaces)+len(guarded.Kinds) > 0 {
		a.logger.Info("No work may touch what the cluster's owner guards.", "namespaces", guarded.Namespaces, "kinds", guarded.Kinds)
	}
	engine, err := apply.New(apply.Config{
		Client: a.clients.Dynamic, Kinds: kinds, State: store,
		HubID: who.HubID, WorkNamespace: workv1alpha1.ExecutionNamespace(who.ClusterName),
		StateNamespace: a.config.StateNamespace, PodNamespace: podNamespace(), Guard: guard, Contents: a.clients,
		Logger: a.logger, Now: time.Now, Registry: a.registry,
		Settings: apply.Settings{
			Workers: a.config.Apply.Workers, MaxBackoff: a.config.Apply.MaxBackoff.Duration,
			FightCorrections: a.config.Apply.FightCorrections, FightWindow: a.config.Apply.FightWindow.Duration,
		},
	})
	if err != nil {
		return nil, nil, err
	}
	observer, err := observe.New(observe.Config{
		Client: a.clients.Dynamic, Logger: a.logger, Now: time.Now, Registry: a.registry,
		ByNamespace: a.config.WatchByNamespace, ReportSettle: a.config.Reports.Settle.Duration,
	}, engine.Changed)
	if err != nil {
		return nil, nil, err
	}
	engine.Observe(observer)
	return engine, observer, nil
}
