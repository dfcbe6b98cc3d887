package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	windlassv1alpha1 "windlass.dev/windlass/api/windlass/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// scheme knows the kinds that the command line reads and writes.
var scheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, policyv1alpha1.AddToScheme, workv1alpha1.AddToScheme,
		clusterv1alpha1.AddToScheme, windlassv1alpha1.AddToScheme,
	} {
		if err := add(s); err != nil {
			panic(err) // two kinds of one name: a mistake in this program
		}
	}
	return s
}()

// connection is how the hub is found: the flags, and then what kubectl would use.
type connection struct {
	kubeconfig     string
	context        string
	server         string
	requestTimeout time.Duration
	warnings       io.Writer // for those that a hub sends along with an answer
}

func (c *connection) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&c.kubeconfig, "kubeconfig", "", "kubeconfig file of the hub (default: $KUBECONFIG, then ~/.kube/config)")
	flags.StringVar(&c.context, "context", "", "context of the kubeconfig to use (default: its current context)")
	flags.StringVar(&c.server, "server", "", "https://HOST:PORT of the hub's API (default: the kubeconfig's); its certificate must be for that host")
	flags.DurationVar(&c.requestTimeout, "request-timeout", 15*time.Second, "how long to wait for an answer to one request")
}

func (c *connection) loader() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{
		CurrentContext: c.context, ClusterInfo: clientcmdapi.Cluster{Server: c.server},
	})
}

// hub is a connection to one hub. Its methods may be called concurrently.
type hub struct {
	config *rest.Config
	where  string // for messages: address, context and file
	clock  *hubClock

	mu      sync.Mutex
	clients map[schema.GroupVersion]*rest.RESTClient
}

// dial reads the kubeconfig. It sends nothing.
func (c *connection) dial() (*hub, error) {
	config, contextName, err := c.restConfig()
	if err != nil {
		return nil, err
	}
	config.Timeout = c.requestTimeout
	config.UserAgent = "windlass/" + currentBuild().Version
	config.QPS = -1 // a handful of requests, in a row: nothing to hold back
	config.WarningHandler = rest.NewWarningWriter(c.warnings, rest.WarningWriterOptions{Deduplicate: true})
	clock := &hubClock{}
	config.Wrap(clock.wrap)
	where := config.Host
	if contextName != "" {
		where = fmt.Sprintf("%s (context %q)", config.Host, contextName)
	}
	return &hub{config: config, where: where, clock: clock, clients: map[schema.GroupVersion]*rest.RESTClient{}}, nil
}

// whereKubeconfigsAre says how to come by one of a hub's administrator.
const whereKubeconfigsAre = "a hub that was installed by its chart has one in Secret windlass-hub-admin-kubeconfig of its namespace, if adminKubeconfig.create is true there, and any other in admin.kubeconfig in its data directory; `make quickstart` prints where its own is"

func (c *connection) restConfig() (*rest.Config, string, error) {
	loader := c.loader()
	raw, err := loader.RawConfig()
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, "", usage(fmt.Errorf("kubeconfig %s does not exist; %s", c.kubeconfig, whereKubeconfigsAre))
		}
		return nil, "", usage(fmt.Errorf("reading the kubeconfig: %w", err))
	}
	if len(raw.Contexts) == 0 && len(raw.Clusters) == 0 {
		if config, err := rest.InClusterConfig(); err == nil && c.kubeconfig == "" && c.context == "" {
			return config, "", nil
		}
		return nil, "", usage(fmt.Errorf("no kubeconfig in %s: name one by --kubeconfig or $KUBECONFIG; %s", strings.Join(candidates(loader), ", "), whereKubeconfigsAre))
	}
	name := c.context
	if name == "" {
		name = raw.CurrentContext
	}
	if err := checkContext(raw, name); err != nil {
		return nil, "", usage(err)
	}
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, "", usage(fmt.Errorf("context %q of the kubeconfig: %w", name, err))
	}
	return config, name, nil
}

func checkContext(raw clientcmdapi.Config, name string) error {
	known := contextNames(raw)
	if name == "" {
		return fmt.Errorf("the kubeconfig has no current context; choose one by --context: %s", strings.Join(known, ", "))
	}
	entry, ok := raw.Contexts[name]
	if !ok {
		return fmt.Errorf("the kubeconfig has no context %q; it has: %s", name, strings.Join(known, ", "))
	}
	if _, ok := raw.Clusters[entry.Cluster]; !ok {
		return fmt.Errorf("context %q names cluster %q, which the kubeconfig does not have", name, entry.Cluster)
	}
	return nil
}

func contextNames(raw clientcmdapi.Config) []string {
	names := make([]string, 0, len(raw.Contexts))
	for name := range raw.Contexts {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// candidates are the files in which a kubeconfig was looked for.
func candidates(loader clientcmd.ClientConfig) []string {
	if explicit := loader.ConfigAccess().GetExplicitFile(); explicit != "" {
		return []string{explicit}
	}
	return loader.ConfigAccess().GetLoadingPrecedence()
}

func completeContexts(root *cobra.Command, c *connection) {
	err := root.RegisterFlagCompletionFunc("context", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		raw, err := c.loader().RawConfig()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return contextNames(raw), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the flag is not there: a mistake in this program
	}
}

// client is the REST client of a group and version; its types travel as protobuf where the server can.
func (h *hub) client(gv schema.GroupVersion) (*rest.RESTClient, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if client, ok := h.clients[gv]; ok {
		return client, nil
	}
	config := rest.CopyConfig(h.config)
	config.GroupVersion = &gv
	config.APIPath = "/apis"
	if gv.Group == "" {
		config.APIPath = "/api"
	}
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	config.ContentType = runtime.ContentTypeJSON
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, usage(fmt.Errorf("the kubeconfig can't be used: %w", err))
	}
	h.clients[gv] = client
	return client, nil
}

// pageSize is how many objects are asked for at once.
const pageSize = 500

// list reads all objects of a resource in a namespace, or with "" in all, page by page. Items takes them out of a page.
func list[T, L any, P interface {
	*L
	runtime.Object
	metav1.ListInterface
}](ctx context.Context, h *hub, namespace string, resource schema.GroupVersionResource, items func(P) []T) ([]T, error) {
	client, err := h.client(resource.GroupVersion())
	if err != nil {
		return nil, err
	}
	var all []T
	for next := ""; ; {
		page := P(new(L))
		request := client.Get().NamespaceIfScoped(namespace, namespace != "").Resource(resource.Resource).Param("limit", strconv.Itoa(pageSize))
		if next != "" {
			request = request.Param("continue", next)
		}
		err := request.Do(ctx).Into(page)
		if apierrors.IsResourceExpired(err) && next != "" {
			all, next = nil, "" // the pages are from a past that is gone: begin again
			continue
		}
		if err != nil {
			return nil, h.describe(fmt.Errorf("listing %s: %w", resource.GroupResource(), err))
		}
		all = append(all, items(page)...)
		if next = page.GetContinue(); next == "" {
			return all, nil
		}
	}
}

// describe adds to an error of a request which server it was sent to, and what to look at.
func (h *hub) describe(err error) error {
	switch {
	case noSuchResource(err):
		return h.isNoHub(err)
	case unreachable(err):
		message := fmt.Errorf("the hub at %s can't be reached: %w", h.where, err)
		if help := hint(err); help != "" {
			message = fmt.Errorf("%w; %s", message, help)
		}
		return &Failure{Code: CodeUnreachable, Err: message}
	}
	return err
}

// isNoHub is the failure of a server that answers, and lacks the kinds that make it a hub.
func (h *hub) isNoHub(err error) error {
	return &Failure{Code: CodeUnreachable, Err: fmt.Errorf("%s is not a Windlass hub: it does not serve our kinds; choose the hub's context by --context (%w)", h.where, err)}
}

// noSuchResource tells a server that does not have a kind from an object that is not there.
func noSuchResource(err error) bool {
	if !apierrors.IsNotFound(err) {
		return false
	}
	var status apierrors.APIStatus
	return errors.As(err, &status) && (status.Status().Details == nil || status.Status().Details.Name == "")
}

// hubClock knows the hub's time from the Date of its last answer, so that what the command line
// computes from the time does not depend on this machine's clock.
type hubClock struct {
	mu     sync.Mutex
	offset time.Duration
	known  bool
}

// Now is the hub's time; this machine's before the first answer.
func (c *hubClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

// Offset is how far the hub's clock is ahead of this machine's, in whole seconds.
func (c *hubClock) Offset() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset, c.known
}

func (c *hubClock) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(request)
		if err == nil {
			c.observe(response.Header.Get("Date"), time.Now())
		}
		return response, err
	})
}

func (c *hubClock) observe(date string, now time.Time) {
	at, err := http.ParseTime(date)
	if err != nil {
		return
	}
	offset := at.Sub(now)
	if offset.Abs() < 2*time.Second {
		offset = 0 // a Date has whole seconds, and an answer takes its time
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset, c.known = offset, true
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// authorities are the certificates by which the kubeconfig knows the hub, as PEM.
func (h *hub) authorities() ([]byte, error) {
	tls := h.config.TLSClientConfig
	if len(tls.CAData) > 0 || tls.CAFile == "" {
		return slices.Clone(tls.CAData), nil
	}
	data, err := os.ReadFile(tls.CAFile)
	if err != nil {
		return nil, fmt.Errorf("reading the hub's certificate authority, which the kubeconfig names: %w", err)
	}
	return data, nil
}
