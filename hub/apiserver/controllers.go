package apiserver

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/bootstrap"
	"k8s.io/kubernetes/pkg/controller/clusterroleaggregation"
	"k8s.io/kubernetes/pkg/controller/garbagecollector"
	"k8s.io/kubernetes/pkg/controller/namespace"
	tokenscontroller "k8s.io/kubernetes/pkg/controller/serviceaccount"
	"k8s.io/kubernetes/pkg/serviceaccount"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

const (
	namespaceWorkers   = 10
	collectorWorkers   = 10
	tokenWorkers       = 2
	roleWorkers        = 2
	namespaceResync    = 5 * time.Minute
	collectorDiscovery = 30 * time.Second
)

// notCollected are the resources that the garbage collector does not look at: bindings and works, which
// are the bulk of all objects and are deleted by the controllers that made them, and what has no owners.
var notCollected = map[schema.GroupResource]struct{}{
	workv1alpha1.Resource("propagationbindings"):                {},
	workv1alpha1.Resource("clusterpropagationbindings"):         {},
	workv1alpha1.Resource("propagationworks"):                   {},
	{Group: "", Resource: "events"}:                             {},
	{Group: "events.k8s.io", Resource: "events"}:                {},
	{Group: "coordination.k8s.io", Resource: "leases"}:          {},
	{Group: "coordination.k8s.io", Resource: "leasecandidates"}: {},
}

// RunControllers runs what an API server needs of kube-controller-manager and no more: the
// namespace controller, the garbage collector, the controllers of service account tokens, of
// aggregated cluster roles and of expired bootstrap tokens; and one that ends Pods in place of the
// kubelets that do not run here. It returns when ctx is cancelled and
// all of them have stopped. The server must be ready, and of several processes on one store only
// one should run them; two do no harm but each other's work.
func (s *Server) RunControllers(ctx context.Context) error {
	s.life.until(ctx)
	var runs []func(context.Context)
	for _, controller := range []struct {
		name string
		make func(context.Context, *rest.Config, kubernetes.Interface) (func(context.Context), error)
	}{
		{"namespace-controller", s.namespaceController},
		{"generic-garbage-collector", s.garbageCollector},
		{"tokens-controller", s.tokensController},
		{"clusterrole-aggregation-controller", s.clusterRoleController},
		{"token-cleaner", s.tokenCleaner},
		{"pod-finisher", s.podFinisher},
	} {
		config := rest.AddUserAgent(rest.CopyConfig(s.Loopback), controller.name)
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			return fmt.Errorf("making a client for the %s: %w", controller.name, err)
		}
		run, err := controller.make(ctx, config, client)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("making the %s: %w", controller.name, err)
		}
		runs = append(runs, run)
	}
	// The controllers asked for informers that the API server itself may not have started.
	s.Informers.Start(ctx.Done())
	var wg sync.WaitGroup
	for _, run := range runs {
		wg.Go(func() { run(ctx) })
	}
	wg.Wait()
	return nil
}

func (s *Server) namespaceController(ctx context.Context, config *rest.Config, client kubernetes.Interface) (func(context.Context), error) {
	objects, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	controller := namespace.NewNamespaceController(ctx, client, objects, client.Discovery().ServerPreferredNamespacedResources,
		s.Informers.Core().V1().Namespaces(), namespaceResync, corev1.FinalizerKubernetes)
	return func(ctx context.Context) { controller.Run(ctx, namespaceWorkers) }, nil
}

// garbageCollector watches the metadata of every kind: whole templates are of no use to it.
func (s *Server) garbageCollector(ctx context.Context, config *rest.Config, client kubernetes.Interface) (func(context.Context), error) {
	objects, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	started := make(chan struct{})
	close(started)
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery()))
	sources := metadataInformers{namingMetadata{objects}}
	controller, err := garbagecollector.NewGarbageCollector(ctx, client, objects, mapper, notCollected, sources, started)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) {
		var wg sync.WaitGroup
		wg.Go(func() { controller.Sync(ctx, client.Discovery(), collectorDiscovery) })
		wg.Go(func() { controller.Run(ctx, collectorWorkers, collectorDiscovery) })
		wg.Wait()
	}, nil
}

// namingMetadata names the resource in its errors: of those that an informer of metadata logs, nothing
// else would say what they are about.
type namingMetadata struct{ metadata.Interface }

func (c namingMetadata) Resource(resource schema.GroupVersionResource) metadata.Getter {
	getter := c.Interface.Resource(resource)
	return namingGetter{namingLists{getter, resource}, getter}
}

type namingGetter struct {
	namingLists
	getter metadata.Getter
}

func (g namingGetter) Namespace(namespace string) metadata.ResourceInterface {
	return namingLists{g.getter.Namespace(namespace), g.resource}
}

type namingLists struct {
	metadata.ResourceInterface
	resource schema.GroupVersionResource
}

func (l namingLists) List(ctx context.Context, options metav1.ListOptions) (*metav1.PartialObjectMetadataList, error) {
	list, err := l.ResourceInterface.List(ctx, options)
	return list, l.name(err)
}

func (l namingLists) Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	events, err := l.ResourceInterface.Watch(ctx, options)
	return events, l.name(err)
}

func (l namingLists) name(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s of %s: %w", l.resource.Resource, l.resource.GroupVersion(), err)
}

// metadataInformers are the informers that the garbage collector takes, of metadata only. Nobody shares them, so each lives as
// long as the collector's monitor of the resource: those of a shared factory never end, and go on asking for a kind whose
// CustomResourceDefinition is gone.
type metadataInformers struct{ client metadata.Interface }

// ForResource never fails: metadata of any resource can be watched.
func (f metadataInformers) ForResource(resource schema.GroupVersionResource) (informers.GenericInformer, error) {
	informer := metadatainformer.NewFilteredMetadataInformer(f.client, resource, metav1.NamespaceAll, 0,
		cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}, nil)
	if err := informer.Informer().SetWatchErrorHandlerWithContext(withoutMissing); err != nil {
		return nil, err
	}
	return ownInformer{informer}, nil
}

// Start does nothing: the collector runs what it is given.
func (metadataInformers) Start(<-chan struct{}) {}

// withoutMissing leaves out that a resource is not served. The collector finds that out from the list of resources, and ends the
// informer; until then it is no error.
func withoutMissing(ctx context.Context, r *cache.Reflector, err error) {
	if !apierrors.IsNotFound(err) {
		cache.DefaultWatchErrorHandler(ctx, r, err)
	}
}

// ownInformer is run by its controller, and not by a factory.
type ownInformer struct{ informers.GenericInformer }

func (o ownInformer) Informer() cache.SharedIndexInformer {
	return selfRun{o.GenericInformer.Informer()}
}

type selfRun struct{ cache.SharedIndexInformer }

func (s selfRun) GetController() cache.Controller {
	return informerController{s.SharedIndexInformer.GetController(), s.SharedIndexInformer}
}

// informerController runs an informer; the one that the informer gives does nothing.
type informerController struct {
	cache.Controller
	informer cache.SharedIndexInformer
}

func (c informerController) Run(stop <-chan struct{}) { c.informer.Run(stop) }

func (c informerController) RunWithContext(ctx context.Context) { c.informer.RunWithContext(ctx) }

func (s *Server) tokensController(ctx context.Context, _ *rest.Config, client kubernetes.Interface) (func(context.Context), error) {
	generator, err := serviceaccount.JWTTokenGenerator(serviceaccount.LegacyIssuer, s.pki.ServiceAccountKey)
	if err != nil {
		return nil, err
	}
	controller, err := tokenscontroller.NewTokensController(klog.FromContext(ctx), s.Informers.Core().V1().ServiceAccounts(), s.Informers.Core().V1().Secrets(),
		client, tokenscontroller.TokensControllerOptions{TokenGenerator: generator, RootCA: s.pki.Hub.PEM()})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) { controller.Run(ctx, tokenWorkers) }, nil
}

func (s *Server) clusterRoleController(_ context.Context, _ *rest.Config, client kubernetes.Interface) (func(context.Context), error) {
	controller := clusterroleaggregation.NewClusterRoleAggregation(s.Informers.Rbac().V1().ClusterRoles(), client.RbacV1())
	return func(ctx context.Context) { controller.Run(ctx, roleWorkers) }, nil
}

func (s *Server) tokenCleaner(_ context.Context, _ *rest.Config, client kubernetes.Interface) (func(context.Context), error) {
	controller, err := bootstrap.NewTokenCleaner(client, s.Informers.Core().V1().Secrets(), bootstrap.DefaultTokenCleanerOptions())
	if err != nil {
		return nil, err
	}
	return controller.Run, nil
}
