package apiserver

import (
	"context"
	"fmt"
	"net"
	"strings"

	apiextensionsapiserver "k8s.io/apiextensions-apiserver/pkg/apiserver"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/version"
	genericapifilters "k8s.io/apiserver/pkg/endpoints/filters"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/util/notfoundhandler"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	aggregatorapiserver "k8s.io/kube-aggregator/pkg/apiserver"
	aggregatorscheme "k8s.io/kube-aggregator/pkg/apiserver/scheme"
	"k8s.io/kube-openapi/pkg/common"
	openapiutil "k8s.io/kube-openapi/pkg/util"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/controlplane"
	controlplaneapiserver "k8s.io/kubernetes/pkg/controlplane/apiserver"
	kubeopenapi "k8s.io/kubernetes/pkg/generated/openapi"

	appsv1alpha1 "windlass.dev/windlass/api/apps/v1alpha1"
	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	windlassv1alpha1 "windlass.dev/windlass/api/windlass/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/apiserver/openapi"
	"windlass.dev/windlass/hub/pki"
)

// The hub's kinds join the scheme of the native ones before any option is completed: the store's
// encodings, its encryption and the API's negotiation are all derived from that scheme.
func init() {
	for _, add := range []func(*runtime.Scheme) error{
		policyv1alpha1.AddToScheme, workv1alpha1.AddToScheme, clusterv1alpha1.AddToScheme, windlassv1alpha1.AddToScheme, appsv1alpha1.AddToScheme,
	} {
		utilruntime.Must(add(legacyscheme.Scheme))
	}
}

// configs are the parts of the chain before they are completed.
type configs struct {
	extensions *apiextensionsapiserver.Config
	kube       *controlplane.Config
	aggregator *aggregatorapiserver.Config
}

// build makes the chain of servers: the aggregator delegates to kube, which serves the hub's kinds
// too, and kube delegates to the one for CRDs.
func build(c Config, listener net.Listener) (*Server, error) {
	claims := newClaims()
	opts, err := newOptions(c, listener, claims)
	if err != nil {
		return nil, err
	}
	if err := removeFormerEncryptionConfig(c.PKI); err != nil {
		return nil, err
	}
	parts, err := newEncryptedConfigs(opts, c.PKI)
	if err != nil {
		return nil, err
	}
	if err := parts.inProcess(c.Store, *opts.Etcd); err != nil {
		return nil, err
	}
	// No component warns itself about the versions it uses.
	rest.SetDefaultWarningHandler(rest.NoWarnings{})

	extensionsConfig := parts.extensions.Complete()
	kubeConfig := parts.kube.Complete()
	aggregatorConfig := parts.aggregator.Complete()

	notFound := notfoundhandler.New(kubeConfig.ControlPlane.Generic.Serializer, genericapifilters.NoMuxAndDiscoveryIncompleteKey)
	extensions, err := extensionsConfig.New(genericapiserver.NewEmptyDelegateWithCustomHandler(notFound))
	if err != nil {
		return nil, err
	}
	kube, err := kubeConfig.New(extensions.GenericAPIServer)
	if err != nil {
		return nil, err
	}
	generic := kube.ControlPlane.GenericAPIServer
	stores, err := installOwnKinds(generic, kube.ControlPlane.RESTOptionsGetter)
	if err != nil {
		return nil, err
	}
	aggregator, err := controlplaneapiserver.CreateAggregatorServer(aggregatorConfig, generic,
		extensions.Informers.Apiextensions().V1().CustomResourceDefinitions(), true, priorities(generic.ListedPaths()))
	if err != nil {
		return nil, err
	}
	aggregator.GenericAPIServer.ShutdownTimeout = shutdownTimeout

	serving := make(chan struct{})
	loopback := directly(generic.LoopbackClientConfig, aggregator.GenericAPIServer.Handler, serving)
	client, err := kubernetes.NewForConfig(loopback)
	if err != nil {
		return nil, fmt.Errorf("making a client of the server itself: %w", err)
	}
	s := &Server{
		Loopback: loopback, Stores: stores, Informers: kube.ControlPlane.VersionedInformers,
		kinds: []cache.SharedIndexInformer{
			extensions.Informers.Apiextensions().V1().CustomResourceDefinitions().Informer(),
			aggregator.APIRegistrationInformers.Apiregistration().V1().APIServices().Informer(),
		},
		client: client, aggregator: aggregator, claims: claims, serving: serving, listener: listener, pki: c.PKI, log: c.Log,
	}
	stores.Works.Guard(s.namespaceIsActive)
	return s, nil
}

// newEncryptedConfigs lends the key of the store for as long as the configurations are made.
func newEncryptedConfigs(opts options.CompletedOptions, set *pki.Set) (*configs, error) {
	key, path, err := openEncryptionConfig(set)
	if err != nil {
		return nil, err
	}
	defer key.Close()
	opts.Etcd.EncryptionProviderConfigFilepath = path
	return newConfigs(opts)
}

// newConfigs is what kube-apiserver's own NewConfig does, with the schemas of the hub's kinds added
// before anything is derived from them.
func newConfigs(opts options.CompletedOptions) (*configs, error) {
	generic, kubeInformers, storageFactory, err := controlplaneapiserver.BuildGenericConfig(
		opts.CompletedOptions,
		[]*runtime.Scheme{legacyscheme.Scheme, apiextensionsapiserver.Scheme, aggregatorscheme.Scheme},
		controlplane.DefaultAPIResourceConfigSource(),
		definitions,
		opts.InformerName,
	)
	if err != nil {
		return nil, err
	}
	generic.EffectiveVersion = moduleVersion{generic.EffectiveVersion}
	kube, serviceResolver, initializers, err := app.CreateKubeAPIServerConfig(opts, generic, kubeInformers, storageFactory)
	if err != nil {
		return nil, err
	}
	controlPlane := &kube.ControlPlane
	resolver := webhook.NewDefaultAuthenticationInfoResolverWrapper(controlPlane.ProxyTransport,
		controlPlane.Generic.EgressSelector, controlPlane.Generic.LoopbackClientConfig, controlPlane.Generic.TracerProvider)
	extensions, err := controlplaneapiserver.CreateAPIExtensionsConfig(*controlPlane.Generic, controlPlane.VersionedInformers,
		initializers, opts.CompletedOptions, opts.MasterCount, serviceResolver, resolver)
	if err != nil {
		return nil, err
	}
	aggregator, err := controlplaneapiserver.CreateAggregatorConfig(*controlPlane.Generic, opts.CompletedOptions,
		controlPlane.VersionedInformers, serviceResolver, controlPlane.ProxyTransport, controlPlane.Extra.PeerProxy, initializers)
	if err != nil {
		return nil, err
	}
	return &configs{extensions: extensions, kube: kube, aggregator: aggregator}, nil
}

// definitions are the OpenAPI schemas of the native kinds and of the hub's own.
func definitions(ref common.ReferenceCallback) map[string]common.OpenAPIDefinition {
	all := kubeopenapi.GetOpenAPIDefinitions(ref)
	own := openapi.GetOpenAPIDefinitions(func(name string) spec.Ref { return ref(modelName(name)) })
	for name, definition := range own {
		for i := range definition.Dependencies {
			definition.Dependencies[i] = modelName(definition.Dependencies[i])
		}
		all[name] = definition
	}
	return all
}

// modelName is what the native schemas call a type. The generated schemas of the hub's kinds name
// the native types that they refer to by their Go paths.
func modelName(name string) string {
	if !strings.Contains(name, "/") {
		return name
	}
	return openapiutil.ToRESTFriendlyName(name)
}

// workloadGroups are the native groups that kube-apiserver ranks by hand and shows first; those of
// the generic control plane have ranks of their own.
var workloadGroups = []string{
	"apps", "autoscaling", "batch", "networking.k8s.io", "policy", "storage.k8s.io",
	"scheduling.k8s.io", "node.k8s.io", "resource.k8s.io", "lifecycle.k8s.io",
}

const (
	coreRank     = 18000
	workloadRank = 17800
	ownRank      = 15000
)

// priorities ranks every group version that is served at paths, so that each gets an APIService and
// a place in discovery. Versions rank by how stable they are.
func priorities(paths []string) map[schema.GroupVersion]controlplaneapiserver.APIServicePriority {
	ranks := controlplaneapiserver.DefaultGenericAPIServicePriorities()
	ranks[schema.GroupVersion{Version: "v1"}] = controlplaneapiserver.APIServicePriority{Group: coreRank, Version: 1}
	groups := map[string]int32{}
	for i, group := range workloadGroups {
		groups[group] = workloadRank - int32(i)*100
	}
	for _, path := range paths {
		parts := strings.Split(path, "/")
		if len(parts) != 4 || parts[1] != "apis" {
			continue
		}
		gv := schema.GroupVersion{Group: parts[2], Version: parts[3]}
		if _, ranked := ranks[gv]; ranked {
			continue
		}
		group, ok := groups[gv.Group]
		if !ok {
			group = ownRank
		}
		ranks[gv] = controlplaneapiserver.APIServicePriority{Group: group, Version: versionRank(gv.Version)}
	}
	return ranks
}

// versionRank is higher for the more stable and newer version: v2 before v1 before v1beta2.
func versionRank(v string) int32 {
	rank := int32(1)
	for _, older := range []string{"v1alpha1", "v1alpha2", "v1alpha3", "v1beta1", "v1beta2", "v1beta3", "v1", "v2"} {
		if version.CompareKubeAwareVersionStrings(v, older) > 0 {
			rank += 3
		}
	}
	return rank
}

// namespaceIsActive refuses what is created in process in a namespace that is missing or going.
// Requests from outside meet the NamespaceLifecycle plugin, which says the same.
func (s *Server) namespaceIsActive(_ context.Context, work *workv1alpha1.PropagationWork) error {
	return activeNamespace(s.Informers.Core().V1().Namespaces().Lister(), work)
}
