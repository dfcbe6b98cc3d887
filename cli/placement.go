package cli

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/cli/status"
	"windlass.dev/windlass/pkg/policy"
	"windlass.dev/windlass/pkg/render"
)

type placementOptions struct {
	namespace string
	cluster   string
	output    string
}

func newPlacement(c *connection, streams Streams) *cobra.Command {
	options := placementOptions{output: "text"}
	command := &cobra.Command{
		Use:   "placement KIND/NAME",
		Short: "Explain where an object goes, and for every other cluster why not there",
		Long: `Explain where an object on the hub goes: to which clusters, with how many replicas, and for every other cluster
which rule refuses it. The hub's scheduler decides anew to answer, by what is the case now; nothing is changed by that.
KIND may be a binding, too.

In a large fleet clusters of which the same is true share a row: --cluster asks about one, and -o wide has a row for each.`,
		Example: `  windlass placement deployment/web -n shop
  windlass placement deployment/web -n shop --cluster edge-17   # why is it not there?
  windlass placement clusterrole/reader -o wide                 # a row for each cluster`,
		Args: exactly(1, "KIND/NAME, such as deployment/web"),
		RunE: func(command *cobra.Command, args []string) error {
			if err := oneOf("-o", options.output, "text", "wide", "json"); err != nil {
				return err
			}
			kind, name, ok := strings.Cut(args[0], "/")
			if !ok || kind == "" || name == "" {
				return usage(fmt.Errorf("expected KIND/NAME, such as deployment/web, got %q", args[0]))
			}
			h, err := c.dial()
			if err != nil {
				return err
			}
			namespace, err := c.namespace(options.namespace)
			if err != nil {
				return err
			}
			return showPlacement(command.Context(), h, streams, kind, types.NamespacedName{Namespace: namespace, Name: name}, options)
		},
	}
	flags := command.Flags()
	flags.StringVarP(&options.namespace, "namespace", "n", "", "namespace of the object (default: the context's)")
	flags.StringVar(&options.cluster, "cluster", "", "tell of this cluster only")
	flags.StringVarP(&options.output, "output", "o", options.output, "text, wide or json")
	return command
}

// namespace is the one that was given, or the context's.
func (c *connection) namespace(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	namespace, _, err := c.loader().Namespace()
	if err != nil {
		return "", usage(fmt.Errorf("reading the namespace of the kubeconfig's context: %w", err))
	}
	return cmp.Or(namespace, metav1.NamespaceDefault), nil
}

func showPlacement(ctx context.Context, h *hub, streams Streams, kind string, key types.NamespacedName, options placementOptions) error {
	mapping, err := h.kind(kind)
	if err != nil {
		return err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		key.Namespace = ""
	}
	explanation, err := h.placementOf(ctx, mapping, key)
	if err != nil {
		return err
	}
	by, err := h.policyBehind(ctx, explanation)
	if err != nil {
		return err
	}
	if options.cluster != "" && explanation.Reason != reasonNoBinding {
		found := false
		if explanation, found = explanation.Only(options.cluster); !found {
			return h.whyNothingOf(ctx, options.cluster)
		}
	}
	switch {
	case options.output == "json":
		err = printJSON(streams.Out, placed{explanation, by})
	case explanation.Reason == reasonNoBinding:
		_, err = fmt.Fprintln(streams.Out, explanation.Message)
	default:
		err = placed{explanation, by}.text(streams.Out, options.output == "wide")
	}
	if err != nil {
		return fmt.Errorf("writing the placement: %w", err)
	}
	return nil
}

// placed is an explanation with the policy whose placement it is about; none of what no policy claims any more, or whose binding the
// user may not read.
type placed struct {
	status.Explanation
	Policy *decidingPolicy `json:"policy,omitempty"`
}

type decidingPolicy struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// text is the explanation's, with the policy in a line of its own after the verdict.
func (p placed) text(out io.Writer, wide bool) error {
	var text bytes.Buffer
	if err := p.Explanation.Text(&text, wide); err != nil {
		return err
	}
	verdict, rest, _ := strings.Cut(text.String(), "\n")
	by := ""
	if p.Policy != nil {
		by = fmt.Sprintf("by %s %s\n", p.Policy.Kind, strings.TrimPrefix(p.Policy.Namespace+"/"+p.Policy.Name, "/"))
	}
	_, err := fmt.Fprint(out, verdict, "\n", by, rest)
	return err
}

// policyBehind reads from a binding which policy claims its template. A user may have the right to ask for the placement and none to read
// the binding, or the binding be gone since: then it is not told.
func (h *hub) policyBehind(ctx context.Context, explanation status.Explanation) (*decidingPolicy, error) {
	if explanation.Reason == reasonNoBinding {
		return nil, nil
	}
	resource := namespacedBindings
	if explanation.Namespace == "" {
		resource = clusterBindings
	}
	client, err := metadata.NewForConfig(rest.CopyConfig(h.config))
	if err != nil {
		return nil, usage(fmt.Errorf("the kubeconfig can't be used: %w", err))
	}
	binding, err := client.Resource(resource).Namespace(explanation.Namespace).Get(ctx, explanation.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err), apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, h.describe(fmt.Errorf("reading binding %s: %w", strings.TrimPrefix(explanation.Namespace+"/"+explanation.Name, "/"), err))
	}
	claim := policy.ClaimOf(binding.Labels, binding.Annotations)
	switch {
	case claim.Policy.Name != "":
		return &decidingPolicy{Kind: "PropagationPolicy", Namespace: claim.Policy.Namespace, Name: claim.Policy.Name}, nil
	case claim.ClusterPolicy.Name != "":
		return &decidingPolicy{Kind: "ClusterPropagationPolicy", Name: claim.ClusterPolicy.Name}, nil
	}
	return nil, nil
}

// whyNothingOf says why nothing is told of a cluster: most often for a slip in its name.
func (h *hub) whyNothingOf(ctx context.Context, cluster string) error {
	known, err := list(ctx, h, "", clusterv1alpha1.SchemeGroupVersion.WithResource("memberclusters"), func(l *clusterv1alpha1.MemberClusterList) []string {
		names := make([]string, len(l.Items))
		for i := range l.Items {
			names[i] = l.Items[i].Name
		}
		return names
	})
	switch {
	case apierrors.IsForbidden(err):
		err = fmt.Errorf("nothing is said of a cluster %s, and you may not list the clusters of the hub; without --cluster those are told that were looked at", cluster)
	case err != nil:
		return err
	case slices.Contains(known, cluster):
		err = fmt.Errorf("nothing is said of the cluster %s; without --cluster those are told that were looked at", cluster)
	case len(known) == 0:
		err = fmt.Errorf("the hub has no cluster %s; it has none at all", cluster)
	default:
		err = fmt.Errorf("the hub has no cluster %s; it has: %s", cluster, closest(known, cluster))
	}
	return &Failure{Code: CodeNotFound, Err: err}
}

// namedClusters is how many clusters a message names.
const namedClusters = 5

// closest names the clusters that are written most like the one that was meant, and counts the others.
func closest(known []string, meant string) string {
	names := slices.Clone(known)
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(sameEnds(b, meant), sameEnds(a, meant)) })
	said := strings.Join(names[:min(len(names), namedClusters)], ", ")
	if more := len(names) - namedClusters; more > 0 {
		said += fmt.Sprintf(" and %d more", more)
	}
	return said
}

// sameEnds is how many bytes two names have in common from their start and from their end: most of them, whatever the one slip between.
func sameEnds(a, b string) int {
	shorter, start, end := min(len(a), len(b)), 0, 0
	for start < shorter && a[start] == b[start] {
		start++
	}
	for end < shorter-start && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	return start + end
}

// kind finds what a person calls a kind: by its name, its plural or a short name, with or without its group.
func (h *hub) kind(called string) (*meta.RESTMapping, error) {
	client, err := discovery.NewDiscoveryClientForConfig(rest.CopyConfig(h.config))
	if err != nil {
		return nil, usage(fmt.Errorf("the kubeconfig can't be used: %w", err))
	}
	cached := memory.NewMemCacheClient(client)
	mapper := restmapper.NewShortcutExpander(restmapper.NewDeferredDiscoveryRESTMapper(cached), cached, nil)
	if _, err := mapper.KindFor(namespacedBindings); meta.IsNoMatchError(err) {
		return nil, h.isNoHub(err) // whose objects, and kinds that it lacks, are nothing of a hub's
	}
	versioned, resource := schema.ParseResourceArg(strings.ToLower(called))
	candidates := []schema.GroupVersionResource{resource.WithVersion("")}
	if versioned != nil {
		candidates = append([]schema.GroupVersionResource{*versioned}, candidates...)
	}
	for _, candidate := range candidates {
		kind, err := mapper.KindFor(candidate)
		if meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return nil, h.describe(fmt.Errorf("finding the kind %q: %w", called, err))
		}
		return mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	return nil, &Failure{Code: CodeNotFound, Err: fmt.Errorf("the hub at %s has no kind %q; `windlass kubectl api-resources` lists those that it has", h.where, called)}
}

func isBinding(mapping *meta.RESTMapping) bool {
	kind := mapping.GroupVersionKind.GroupKind()
	return kind == workv1alpha1.Kind("PropagationBinding") || kind == workv1alpha1.Kind("ClusterPropagationBinding")
}

// placementOf asks about an object, or about a binding itself. The binding of an object has one of two names, of which the second is
// for what shares the first with another object.
func (h *hub) placementOf(ctx context.Context, mapping *meta.RESTMapping, key types.NamespacedName) (status.Explanation, error) {
	if isBinding(mapping) {
		answer, err := h.placement(ctx, key)
		if err != nil {
			return status.Explanation{}, err
		}
		return status.Explain(answer), nil
	}
	template := &unstructured.Unstructured{}
	template.SetGroupVersionKind(mapping.GroupVersionKind)
	template.SetNamespace(key.Namespace)
	template.SetName(key.Name)
	for _, name := range []string{render.BindingName(template), render.BindingNameHashed(template)} {
		answer, err := h.placement(ctx, types.NamespacedName{Namespace: key.Namespace, Name: name})
		switch {
		case apierrors.IsNotFound(err) && !noSuchResource(err):
			continue
		case err != nil:
			return status.Explanation{}, err
		}
		of := answer.Resource
		if schema.FromAPIVersionAndKind(of.APIVersion, of.Kind).GroupKind() == mapping.GroupVersionKind.GroupKind() && of.Name == key.Name {
			return status.Explain(answer), nil
		}
	}
	return h.whyNoBinding(ctx, mapping, key)
}

var (
	namespacedBindings = workv1alpha1.SchemeGroupVersion.WithResource("propagationbindings")
	clusterBindings    = workv1alpha1.SchemeGroupVersion.WithResource("clusterpropagationbindings")
)

// reasonNoBinding is the reason in the explanation of an object that has no binding. Its message names the object, and says why.
const reasonNoBinding = "NoBinding"

// whyNoBinding explains an object that has no binding, and so is in no cluster. That is an answer; that the object is not there is none.
func (h *hub) whyNoBinding(ctx context.Context, mapping *meta.RESTMapping, template types.NamespacedName) (status.Explanation, error) {
	client, err := metadata.NewForConfig(rest.CopyConfig(h.config))
	if err != nil {
		return status.Explanation{}, usage(fmt.Errorf("the kubeconfig can't be used: %w", err))
	}
	object, err := client.Resource(mapping.Resource).Namespace(template.Namespace).Get(ctx, template.Name, metav1.GetOptions{})
	kind := mapping.GroupVersionKind
	called := status.Template{APIVersion: kind.GroupVersion().String(), Kind: kind.Kind, Namespace: template.Namespace, Name: template.Name}
	switch {
	case apierrors.IsNotFound(err):
		return status.Explanation{}, &Failure{Code: CodeNotFound, Err: fmt.Errorf("the hub has no %s", called)}
	case err != nil:
		return status.Explanation{}, h.describe(fmt.Errorf("reading %s: %w", called, err))
	}
	unplaced := status.Unplaced{Object: object, Kind: kind}
	if err := h.policiesFor(ctx, &unplaced); err != nil {
		return status.Explanation{}, err
	}
	return status.Explanation{
		APIVersion: outputVersion, Kind: "Placement", Template: called,
		Reason: reasonNoBinding, Message: unplaced.Why(), Clusters: []status.Chosen{}, Refusals: []status.Refusal{},
	}, nil
}

// policiesFor reads the policies that could claim an object, as far as the user may.
func (h *hub) policiesFor(ctx context.Context, unplaced *status.Unplaced) error {
	read := func(resource schema.GroupVersionResource, err error) error {
		if apierrors.IsForbidden(err) {
			unplaced.Unread = append(unplaced.Unread, resource.GroupResource().String())
			return nil
		}
		return err
	}
	if namespace := unplaced.Object.GetNamespace(); namespace != "" {
		resource := policyv1alpha1.SchemeGroupVersion.WithResource("propagationpolicies")
		policies, err := list(ctx, h, namespace, resource, func(l *policyv1alpha1.PropagationPolicyList) []policyv1alpha1.PropagationPolicy { return l.Items })
		if err := read(resource, err); err != nil {
			return err
		}
		for i := range policies {
			unplaced.Policies = append(unplaced.Policies, &policies[i])
		}
	}
	resource := policyv1alpha1.SchemeGroupVersion.WithResource("clusterpropagationpolicies")
	policies, err := list(ctx, h, "", resource, func(l *policyv1alpha1.ClusterPropagationPolicyList) []policyv1alpha1.ClusterPropagationPolicy {
		return l.Items
	})
	if err := read(resource, err); err != nil {
		return err
	}
	for i := range policies {
		unplaced.Policies = append(unplaced.Policies, &policies[i])
	}
	return nil
}

// placement asks the hub's scheduler about a binding.
func (h *hub) placement(ctx context.Context, binding types.NamespacedName) (*workv1alpha1.BindingPlacement, error) {
	client, err := h.client(workv1alpha1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	resource := namespacedBindings.Resource
	if binding.Namespace == "" {
		resource = clusterBindings.Resource
	}
	answer := &workv1alpha1.BindingPlacement{}
	err = client.Get().NamespaceIfScoped(binding.Namespace, binding.Namespace != "").Resource(resource).Name(binding.Name).SubResource("placement").Do(ctx).Into(answer)
	if err != nil {
		err = fmt.Errorf("asking for the placement of binding %s: %w", strings.TrimPrefix(binding.String(), "/"), err)
		return nil, h.describe(toAsk(err, binding.Namespace))
	}
	return answer, nil
}

// toAsk adds to the error of a user who may not ask for placements what it takes, and how it is given. No role of Kubernetes' own has
// this right but cluster-admin.
func toAsk(err error, namespace string) error {
	if !apierrors.IsForbidden(err) {
		return err
	}
	resource, giving := namespacedBindings.Resource, "rolebinding placement-readers -n "+namespace
	if namespace == "" {
		resource, giving = clusterBindings.Resource, "clusterrolebinding placement-readers"
	}
	placements := resource + "." + workv1alpha1.GroupName + "/placement"
	return fmt.Errorf("%w; it takes the right to get %s, which an administrator of the hub gives by `windlass kubectl create clusterrole placement-reader --verb=get --resource=%s` "+
		"and `windlass kubectl create %s --clusterrole=placement-reader --user=NAME`", err, placements, placements, giving)
}
