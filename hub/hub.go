// Package hub is one hub process: it alone knows all parts of a hub, makes them, and starts and
// stops them in order.
package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/apiserver"
	"windlass.dev/windlass/hub/capacity"
	"windlass.dev/windlass/hub/controller/binding"
	"windlass.dev/windlass/hub/controller/cluster"
	"windlass.dev/windlass/hub/controller/eviction"
	"windlass.dev/windlass/hub/controller/policy"
	"windlass.dev/windlass/hub/controller/rebalance"
	"windlass.dev/windlass/hub/controller/scheduler"
	"windlass.dev/windlass/hub/controller/status"
	"windlass.dev/windlass/hub/etcd"
	"windlass.dev/windlass/hub/garbage"
	"windlass.dev/windlass/hub/handout"
	"windlass.dev/windlass/hub/incarnation"
	"windlass.dev/windlass/hub/pki"
	"windlass.dev/windlass/hub/roster"
	"windlass.dev/windlass/hub/settings"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/hub/templates"
	"windlass.dev/windlass/hub/works"
	"windlass.dev/windlass/pkg/decode"
)

// Run is a hub from its start until the context ends. Every error is one line that says what to
// mend.
func Run(ctx context.Context, config settings.Config, log *slog.Logger) error {
	if err := config.Complete(); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { log.Info("the hub is stopping") })()
	h := &hub{config: config, log: log, process: uuid.NewString(), garbage: garbage.Gather(ctx, os.Getenv)}
	err := h.open(ctx)
	if err == nil {
		err = h.serve(ctx)
	} else if ctx.Err() != nil {
		err = nil // whoever ends a hub that is starting has nothing to mend
	}
	h.close()
	if err == nil {
		log.Info("the hub has stopped")
	}
	return err
}

// storeTimeout bounds the wait for a store that does not answer at the start.
const storeTimeout = 30 * time.Second

// apiStops bounds how long the API server may take to stop. It lets requests that are under way come to their end, which takes a few
// seconds; but one that waits for a webhook or for an aggregated API that does not answer would hold it up for a minute.
const apiStops = 10 * time.Second

// otherProcessTimeout bounds the wait for the end of another process of this hub: several times what one takes to end, or to
// be taken for dead.
const otherProcessTimeout = time.Minute

// statusGather is how long a binding waits for what else is said of it before it is summed up.
const statusGather = 5 * time.Millisecond

// hub is a running hub. Its fields are written by open and not after, but for the last.
type hub struct {
	config  settings.Config
	log     *slog.Logger
	process string // names this process to others that share the store
	garbage *garbage.Gatherer

	pki       *pki.Set
	store     *etcd.Etcd
	history   *incarnation.Keeper
	api       *apiserver.Server
	kube      kubernetes.Interface
	kinds     *kinds
	templates *templates.Watcher
	roster    *roster.Roster
	view      *works.View
	accepting *cluster.Accepting
	capacity  *capacity.Gatherer
	rush      store.Rush
	agents    *linkAgents
	metrics   *prometheus.Registry
	handout   *handout.Config // nil when the kubeconfig stays in the data directory

	// serving is true while controllers and link run.
	serving atomic.Bool

	storeClient  *clientv3.Client
	linkListener net.Listener
	events       record.EventRecorder
	stopEvents   func()

	// cutOff is set when the API server was not waited for any longer.
	cutOff bool
}

// open makes everything that can fail because of the machine: directories, keys, ports.
func (h *hub) open(ctx context.Context) (err error) {
	if err := h.openHandout(); err != nil {
		return err
	}
	if h.linkListener, err = h.openLink(); err != nil {
		return err
	}
	if h.pki, err = pki.LoadOrCreate(h.config.PKIDir, time.Now()); err != nil {
		return err
	}
	// The keys may come from a Secret or a read-only disk.
	h.pki.Derived = filepath.Join(h.config.DataDir, "pki")
	if err := os.MkdirAll(h.pki.Derived, 0o700); err != nil {
		return fmt.Errorf("making the data directory: %w", err)
	}
	h.store, err = etcd.Start(ctx, etcd.Config{
		DataDir: h.config.DataDir, Servers: h.config.Etcd.Servers,
		CAFile: h.config.Etcd.CAFile, CertFile: h.config.Etcd.CertFile, KeyFile: h.config.Etcd.KeyFile,
		QuotaBytes: int64(h.config.Etcd.QuotaGiB) << 30,
		Log:        h.log.With("part", "etcd"),
	})
	if err != nil {
		return err
	}
	h.api, err = apiserver.New(ctx, apiserver.Config{
		Store: h.store, PKI: h.pki, Listen: h.config.APIListen,
		AdvertiseAddress: h.config.AdvertiseAddress, ServingNames: h.config.TLSSANs,
		Flags: h.config.APIServerFlags,
		Log:   h.log.With("part", "api"), LogLevel: slog.LevelWarn,
	})
	if err != nil {
		return err
	}
	err = h.api.AddReadyCheck(apiserver.OwnReadyCheck, func() error {
		if !h.serving.Load() {
			return errors.New("the controllers and the link have not started yet")
		}
		return nil
	})
	if err != nil {
		return err
	}
	if h.kube, err = kubernetes.NewForConfig(h.api.Loopback); err != nil {
		return err
	}
	if err := h.makeControllerParts(); err != nil {
		return err
	}
	if h.events, h.stopEvents, err = newEvents(h.kube); err != nil {
		return err
	}
	return h.pki.KeepAdminKubeconfig(ctx, h.adminKubeconfig(), h.apiURL(), h.log.With("part", "pki"))
}

// newDynamic makes client-go's dynamic client with decoders that read an object once: every change of a template comes as JSON.
func newDynamic(config *rest.Config) (dynamic.Interface, error) {
	config = dynamic.ConfigFor(config)
	config.GroupVersion, config.APIPath = nil, "/unused" // every request has its own
	config.NegotiatedSerializer = decode.Once(config.NegotiatedSerializer)
	client, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for templates: %w", err)
	}
	return dynamic.New(client), nil
}

func (h *hub) makeControllerParts() error {
	dynamicClient, err := newDynamic(h.api.Loopback)
	if err != nil {
		return err
	}
	h.kinds = newKinds(h.api.Stores)
	h.templates = templates.New(templates.Config{
		Dynamic: dynamicClient, Discovery: h.kube, Log: h.log.With("part", "templates"),
		RetryFirst: h.config.Controllers.KindRetryInterval.Duration, RetryMost: h.config.Controllers.KindRetryMost.Duration,
	})
	if err := h.api.OnKindsChanged(h.templates.LookAgain); err != nil {
		return err
	}
	h.roster = roster.New(time.Now)
	h.accepting = &cluster.Accepting{}
	h.metrics = prometheus.NewRegistry()
	if err := h.makeCapacity(); err != nil {
		return err
	}
	h.view, err = works.New(works.Config{
		Works: h.kinds.works,
		Revisions: func(ctx context.Context, namespace string) (map[string]int64, int64, error) {
			return etcd.Revisions(ctx, h.storeClient, h.api.Stores.Works.Keys(namespace))
		},
		Live: h.api.Stores.Works.Get, FirstListed: h.kinds.worksListed.Load, Now: time.Now,
	})
	return err
}

// apiURL is what users dial.
func (h *hub) apiURL() string {
	return "https://" + net.JoinHostPort(h.config.AdvertiseAddress, strconv.Itoa(h.api.Port()))
}

func (h *hub) adminKubeconfig() string { return filepath.Join(h.config.DataDir, "admin.kubeconfig") }

// openHandout finds the cluster in which the admin kubeconfig is handed out, if it is.
func (h *hub) openHandout() error {
	secret := h.config.KubeconfigSecret
	if secret.Name == "" {
		return nil
	}
	client, namespace, err := handout.Local()
	if err != nil {
		return fmt.Errorf("kubeconfigSecret.name is for a hub that runs as a pod: %w", err)
	}
	h.handout = &handout.Config{
		Namespace: namespace, Name: secret.Name, Server: secret.Server, CAFile: secret.CAFile, Path: h.adminKubeconfig(), Client: client,
		Log: h.log.With("part", "handout"), Retry: 10 * time.Second, Interval: 5 * time.Minute,
	}
	return nil
}

// serve runs all parts. They stop in the reverse order of their start: the link says goodbye to the
// agents first, the API server ends last, when nobody of the hub writes any more.
func (h *hub) serve(ctx context.Context) error {
	apiContext, stopAPI := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAPI()
	failed, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	lost := make(chan error, 1)
	revisions, err := h.holdStore(ctx, func(err error) { lost <- err })
	if err != nil {
		return ignoreCancelled(ctx, err)
	}
	if err := h.beginEra(ctx, revisions, fail); err != nil {
		return ignoreCancelled(ctx, err)
	}
	go endWithStore(failed, lost, h.history.Look, fail)

	apiDone := make(chan struct{})
	var apiErr error
	go func() {
		defer close(apiDone)
		if apiErr = h.api.Run(apiContext); apiErr == nil && apiContext.Err() == nil {
			apiErr = errors.New("the API server stopped by itself")
		}
		fail(apiErr)
	}()
	if h.store.Err() != nil {
		go func() {
			select {
			case err := <-h.store.Err():
				fail(fmt.Errorf("etcd: %w", err))
			case <-apiDone:
			}
		}()
	}
	err = h.serveControllers(failed)
	if cause := context.Cause(failed); cause != nil && ctx.Err() == nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	stopAPI()
	select {
	case <-apiDone:
	case <-time.After(apiStops):
		h.cutOff = true
		h.log.Warn("requests to the API that have not come to their end are cut off: a webhook or an aggregated API may not answer them", "after", apiStops)
		return err
	}
	if err == nil && apiErr != nil {
		err = apiErr
	}
	return err
}

// holdStore waits until no other process of this hub uses the store. Lost is told, once, when another may.
func (h *hub) holdStore(ctx context.Context, lost func(error)) (revisions int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, otherProcessTimeout)
	defer cancel()
	return h.store.Hold(ctx, lost)
}

// endWithStore ends this process when another may use the store. What looks like that may be a store that was restored from a backup, in
// which nobody has heard of this process: the next one can't tell any more, so that is written down first, and said.
func endWithStore(ctx context.Context, lost <-chan error, look func(context.Context) error, fail func(error)) {
	select {
	case <-ctx.Done():
	case err := <-lost:
		looking, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		_ = look(looking) // which fails with the better reason, if there is one
		fail(err)
	}
}

// beginEra begins an era of the store's history, when nothing can refuse the start any more and before
// the API server writes anything.
func (h *hub) beginEra(ctx context.Context, held int64, fail func(error)) (err error) {
	if h.storeClient, err = h.store.Client(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	h.history, err = incarnation.Begin(ctx, h.storeClient, held, fail)
	return err
}

// leaveRemoved makes up for a process that ended between the removal of a cluster and the end of its restore mode: nobody
// else would end that, and a store that this cluster alone has shown to be cut back would be doubted for ever. There is no
// link yet, so nobody joins.
func (h *hub) leaveRemoved(ctx context.Context) error {
	clusters, _, err := h.api.Stores.MemberClusters.List(ctx, apiserver.ListOptions{})
	if err != nil {
		return fmt.Errorf("finding out which clusters there are: %w", err)
	}
	ids := make([]string, 0, len(clusters))
	for _, cluster := range clusters {
		ids = append(ids, cluster.Spec.ID)
	}
	return h.history.RetainRestoring(ctx, ids)
}

// serveControllers runs everything that stands on the API, until the context ends.
func (h *hub) serveControllers(ctx context.Context) error {
	if err := h.api.WaitReady(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // whoever ends a hub that is starting has nothing to mend, and serve knows any other reason
		}
		return err
	}
	if err := h.history.TakeOverFormer(ctx, h.kube); err != nil {
		return ignoreCancelled(ctx, err)
	}
	if err := h.leaveRemoved(ctx); err != nil {
		return ignoreCancelled(ctx, err)
	}
	link, err := h.makeLink(ctx)
	if err != nil {
		return ignoreCancelled(ctx, err)
	}
	h.agents.link = link
	mgr, deciders, ready, err := h.makeControllers(&holds{link: link, history: h.history})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, informer := range h.kinds.informers {
		go informer.RunWithContext(ctx)
	}
	if !cache.WaitForCacheSync(ctx.Done(), ready) {
		return nil
	}
	deciders.stand()
	agentsFirst := headStart(len(h.kinds.clusters.List()))
	store.LetStandingWait(time.Now().Add(agentsFirst))
	time.AfterFunc(agentsFirst, h.garbage.Started)
	h.api.Stores.PlaceBy(deciders.place)
	h.api.Stores.ExplainBy(deciders.explain)
	h.api.ClaimBy(deciders.claim)
	if err := h.publish(ctx); err != nil {
		return ignoreCancelled(ctx, err)
	}
	h.metrics.MustRegister(newMetrics(h.kinds, h.roster)...)
	h.api.AddCollectors(h.metrics, controllerMetrics())
	if err := h.putNamespacesPolicy(ctx); err != nil {
		return ignoreCancelled(ctx, err)
	}
	h.capacity.Expect(h.kinds.clusters.List())
	group.Go(func() error { return h.templates.Run(ctx) })
	group.Go(func() error { return h.api.RunControllers(ctx) })
	group.Go(func() error { return mgr.Start(ctx) })
	group.Go(func() error { return link.Run(ctx) })
	group.Go(func() error { return h.capacity.Run(ctx) })
	group.Go(func() error { return h.store.WatchRoom(ctx) })
	if h.handout != nil {
		go handout.Keep(ctx, *h.handout)
	}
	h.serving.Store(true)
	h.log.Info("the hub is ready", "api", h.api.Address(), "link", h.linkListener.Addr(),
		"kubeconfig", h.adminKubeconfig())
	return ignoreCancelled(ctx, group.Wait())
}

// headStart is how long agents that come back to a new process have the processors before everything that stands in the
// store is looked at once more: what it takes to let each of them in, and some more.
func headStart(agents int) time.Duration {
	return min(5*time.Second, time.Duration(agents)*5*time.Millisecond)
}

func ignoreCancelled(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// deciders are the controllers' decisions that are part of the writes of others.
type deciders struct {
	place   apiserver.Placer
	explain apiserver.Explainer
	claim   apiserver.Claimer
	// stand is called once, before the controllers start.
	stand func()
}

// makeControllers makes all controllers. They may start, and the deciders may be asked, when ready says so.
func (h *hub) makeControllers(holds *holds) (mgr manager.Manager, asked deciders, ready func() bool, err error) {
	ctrl.SetLogger(logr.FromSlogHandler(from(slog.LevelWarn, h.log.With("part", "controllers").Handler())))
	mgr, err = ctrl.NewManager(h.api.Loopback, manager.Options{
		Scheme:                 runtime.NewScheme(),
		Metrics:                metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress: "0",
	})
	if err != nil {
		return nil, asked, nil, fmt.Errorf("making the controllers: %w", err)
	}
	settings := h.config.Controllers
	classes := priorityClasses{h.api.Informers.Scheduling().V1().PriorityClasses()}
	policies := &policy.Reconciler{
		Templates: h.templates, Classes: classes, Policies: h.kinds.policies, Stored: h.storedPolicy, Overrides: h.kinds.overrides, Bindings: h.kinds.bindings,
		Workers: settings.Workers, Log: h.log, Events: h.events,
	}
	placing := &scheduler.Reconciler{Bindings: h.kinds.bindings, Clusters: h.kinds.clusters, Works: h.kinds.works, Templates: h.templates, Workers: settings.Workers, KeepEmpty: settings.KeepEmptyWorkloads, Room: h.capacity, Now: time.Now}
	bindings := &binding.Reconciler{
		Bindings: h.kinds.bindings, Works: h.kinds.works, Templates: h.templates, Policies: h.kinds.policies,
		Overrides: h.kinds.overrides, Clusters: h.kinds.clusters, Accepts: h.accepting.Accepts,
		Terminating: h.terminating, Rush: &h.rush, Workers: settings.Workers, Log: h.log, Now: time.Now,
	}
	evictions := &eviction.Reconciler{
		Bindings: h.kinds.bindings, Works: h.kinds.works, Clusters: h.kinds.clusters, Templates: h.templates, Grace: settings.EvictionGrace.Duration, Workers: settings.Workers, Now: time.Now,
	}
	rebalancers := &rebalance.Reconciler{Rebalancers: h.kinds.rebalancers, Bindings: h.kinds.bindings, Now: time.Now}
	statuses := &status.BindingReconciler{
		Bindings: h.kinds.bindings, Works: h.kinds.works, Clusters: h.kinds.clusters, Templates: h.templates,
		Workers: settings.Workers, Settle: settings.StatusSettle.Duration, Gather: statusGather, Now: time.Now, Events: h.events,
	}
	policyStatuses := &status.PolicyReconciler{
		Policies: h.kinds.policies, Overrides: h.kinds.overrides, Bindings: h.kinds.bindings, Kinds: h.templates, Classes: classes,
		Every: settings.PolicyStatusInterval.Duration, Now: time.Now,
	}
	overrideStatuses := &status.OverrideReconciler{
		Overrides: h.kinds.overrides, Clusters: h.kinds.clusters, Kinds: h.templates, Every: settings.PolicyStatusInterval.Duration, Now: time.Now,
	}
	clusters := &cluster.Reconciler{
		Clusters: h.kinds.clusters, Works: h.kinds.works, Kube: h.kube, Namespaces: h.api.Informers.Core().V1().Namespaces().Informer(), Roster: h.roster, Accepting: h.accepting, Confirm: holds.confirm, Removed: holds.removed,
		Process: h.process, Grace: settings.ClusterGrace.Duration, Lost: settings.ClusterLost.Duration, Workers: settings.Workers, Now: time.Now, Log: h.log, Events: h.events,
	}
	policiesKnown, err := policies.Setup(mgr, h.kinds.policyInformers...)
	if err != nil {
		return nil, asked, nil, err
	}
	clustersKnown, err := placing.Setup(mgr)
	if err != nil {
		return nil, asked, nil, err
	}
	wakeBinding, err := bindings.Setup(mgr)
	if err != nil {
		return nil, asked, nil, err
	}
	h.accepting.Begin = func(cluster string) {
		for _, binding := range h.kinds.bindings.List() {
			for _, target := range binding.GetSpec().Clusters {
				if target.Name == cluster {
					wakeBinding.Add(store.Key(binding), false)
				}
			}
		}
	}
	if err := errors.Join(evictions.Setup(mgr), rebalancers.Setup(mgr), statuses.Setup(mgr), policyStatuses.Setup(mgr),
		overrideStatuses.Setup(mgr), clusters.Setup(mgr), h.keepNamespacesPolicy(mgr)); err != nil {
		return nil, asked, nil, err
	}
	explain := func(ctx context.Context, binding workv1alpha1.Binding) *workv1alpha1.BindingPlacement {
		answer := placing.Explain(ctx, binding)
		bindings.Explain(binding, answer)
		return answer
	}
	return mgr, deciders{place: placing.Place, explain: explain, claim: policies.Claim, stand: clusters.Stand}, func() bool {
		for _, informer := range h.kinds.informers {
			if !informer.HasSynced() {
				return false
			}
		}
		return policiesKnown() && clustersKnown() && h.view.Synced() && clusters.Namespaces.HasSynced()
	}, nil
}

func (h *hub) close() {
	if h.stopEvents != nil {
		h.stopEvents()
	}
	if h.linkListener != nil {
		_ = h.linkListener.Close()
	}
	if h.storeClient != nil {
		_ = h.storeClient.Close()
	}
	// Requests that are cut off may be reading the store, and what reads an etcd that was closed panics. They end with the process, and
	// so does the store: what was answered is in its log, from which the next process has it.
	if h.store != nil && !h.cutOff {
		h.store.Close()
	}
}
