package member

import (
	"context"
	"fmt"
	"net/http"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// The kinds that the agent reads and writes for itself. client-go's own clients know those of all of Kubernetes, and a
// program that has them in it holds half as much memory again.
var (
	scheme         = runtime.NewScheme()
	codecs         = serializer.NewCodecFactory(scheme)
	parameterCodec = runtime.NewParameterCodec(scheme)
)

func init() {
	utilruntime.Must(corev1.AddToScheme(scheme))
	utilruntime.Must(coordinationv1.AddToScheme(scheme))
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"}) // what API servers say of failures
}

// Core reads and writes some resources as their own types, as protobuf. It may be used concurrently.
type Core struct {
	core, coordination rest.Interface
}

// NewCore makes a client with connections of its own. It does not talk to the API server.
func NewCore(config *rest.Config) (*Core, error) {
	config = near(config)
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for the member's API server: %w", err)
	}
	return newCore(config, client)
}

func newCore(config *rest.Config, client *http.Client) (*Core, error) {
	c := &Core{}
	var err error
	if c.core, err = groupClient(config, client, "/api", corev1.SchemeGroupVersion); err != nil {
		return nil, err
	}
	c.coordination, err = groupClient(config, client, "/apis", coordinationv1.SchemeGroupVersion)
	return c, err
}

func groupClient(config *rest.Config, client *http.Client, path string, version schema.GroupVersion) (rest.Interface, error) {
	config = rest.CopyConfig(config)
	config.APIPath, config.GroupVersion, config.NegotiatedSerializer = path, &version, codecs.WithoutConversion()
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	group, err := rest.RESTClientForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("making a client for %s of the member's API server: %w", version, err)
	}
	return group, nil
}

// Secrets are those of a namespace.
func (c *Core) Secrets(namespace string) *Objects[*corev1.Secret, *corev1.SecretList] {
	return objects(c.core, "secrets", namespace, func() *corev1.Secret { return &corev1.Secret{} }, func() *corev1.SecretList { return &corev1.SecretList{} })
}

// Namespaces are all of them.
func (c *Core) Namespaces() *Objects[*corev1.Namespace, *corev1.NamespaceList] {
	return objects(c.core, "namespaces", "", func() *corev1.Namespace { return &corev1.Namespace{} }, func() *corev1.NamespaceList { return &corev1.NamespaceList{} })
}

// Nodes are all of them.
func (c *Core) Nodes() *Objects[*corev1.Node, *corev1.NodeList] {
	return objects(c.core, "nodes", "", func() *corev1.Node { return &corev1.Node{} }, func() *corev1.NodeList { return &corev1.NodeList{} })
}

// Pods are those of a namespace, and those of all namespaces when that is empty.
func (c *Core) Pods(namespace string) *Objects[*corev1.Pod, *corev1.PodList] {
	return objects(c.core, "pods", namespace, func() *corev1.Pod { return &corev1.Pod{} }, func() *corev1.PodList { return &corev1.PodList{} })
}

// Leases are those of a namespace.
func (c *Core) Leases(namespace string) *Objects[*coordinationv1.Lease, *coordinationv1.LeaseList] {
	return objects(c.coordination, "leases", namespace, func() *coordinationv1.Lease { return &coordinationv1.Lease{} }, func() *coordinationv1.LeaseList { return &coordinationv1.LeaseList{} })
}

// Objects are the requests for one resource, in one namespace if there is one. Its methods are those of client-go's own
// clients, and so are their errors.
type Objects[T, L runtime.Object] struct {
	client              rest.Interface
	resource, namespace string
	object              func() T
	list                func() L
}

func objects[T, L runtime.Object](client rest.Interface, resource, namespace string, object func() T, list func() L) *Objects[T, L] {
	return &Objects[T, L]{client: client, resource: resource, namespace: namespace, object: object, list: list}
}

// to says where a request goes; name is empty for one to all objects.
func (o *Objects[T, L]) to(request *rest.Request, name string, options runtime.Object) *rest.Request {
	request = request.NamespaceIfScoped(o.namespace, o.namespace != "").Resource(o.resource).VersionedParams(options, parameterCodec)
	if name != "" {
		request = request.Name(name)
	}
	return request
}

// Get reads one object.
func (o *Objects[T, L]) Get(ctx context.Context, name string, options metav1.GetOptions) (T, error) {
	return answer(o.to(o.client.Get(), name, &options).Do(ctx), o.object())
}

// List reads all.
func (o *Objects[T, L]) List(ctx context.Context, options metav1.ListOptions) (L, error) {
	return answer(o.to(o.client.Get(), "", &options).Do(ctx), o.list())
}

// Watch is told of what changes.
func (o *Objects[T, L]) Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	options.Watch = true
	return o.to(o.client.Get(), "", &options).Watch(ctx)
}

// Create makes an object.
func (o *Objects[T, L]) Create(ctx context.Context, object T, options metav1.CreateOptions) (T, error) {
	return answer(o.to(o.client.Post(), "", &options).Body(object).Do(ctx), o.object())
}

// Update replaces an object.
func (o *Objects[T, L]) Update(ctx context.Context, object T, options metav1.UpdateOptions) (T, error) {
	name, err := nameOf(object)
	if err != nil {
		return object, err
	}
	return answer(o.to(o.client.Put(), name, &options).Body(object).Do(ctx), o.object())
}

// Delete deletes an object.
func (o *Objects[T, L]) Delete(ctx context.Context, name string, options metav1.DeleteOptions) error {
	return o.to(o.client.Delete(), name, &metav1.DeleteOptions{}).Body(&options).Do(ctx).Error()
}

func answer[T runtime.Object](result rest.Result, into T) (T, error) {
	return into, result.Into(into)
}

func nameOf(object runtime.Object) (string, error) {
	named, ok := object.(metav1.Object)
	if !ok {
		return "", fmt.Errorf("a %T has no name", object)
	}
	return named.GetName(), nil
}
