package cli

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/cli/status"
	"windlass.dev/windlass/pkg/render"
)

// discoverable makes a fake hub answer what kinds it has: Deployments and bindings.
func discoverable(hub *fakeHub) {
	groups := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIGroupList"}}
	for _, gv := range []string{"apps/v1", "work.karmada.io/v1alpha1"} {
		group, version, _ := strings.Cut(gv, "/")
		one := metav1.GroupVersionForDiscovery{GroupVersion: gv, Version: version}
		groups.Groups = append(groups.Groups, metav1.APIGroup{Name: group, Versions: []metav1.GroupVersionForDiscovery{one}, PreferredVersion: one})
	}
	resources := func(gv string, all ...metav1.APIResource) metav1.APIResourceList {
		return metav1.APIResourceList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIResourceList"}, GroupVersion: gv, APIResources: all}
	}
	hub.objects = map[string]any{
		"/api":          metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}},
		"/apis":         groups,
		"/apis/apps/v1": resources("apps/v1", metav1.APIResource{Name: "deployments", SingularName: "deployment", ShortNames: []string{"deploy"}, Kind: "Deployment", Namespaced: true}),
		"/apis/work.karmada.io/v1alpha1": resources("work.karmada.io/v1alpha1",
			metav1.APIResource{Name: "propagationbindings", SingularName: "propagationbinding", ShortNames: []string{"pb"}, Kind: "PropagationBinding", Namespaced: true},
			metav1.APIResource{Name: "clusterpropagationbindings", SingularName: "clusterpropagationbinding", ShortNames: []string{"cpb"}, Kind: "ClusterPropagationBinding"}),
	}
}

func TestThePlacementOfAnObjectIsThatOfItsBinding(t *testing.T) {
	hub := startFakeHub(t)
	discoverable(hub)
	bindings := "/apis/work.karmada.io/v1alpha1/namespaces/shop/propagationbindings/"
	placed := func(name, template, message string) {
		hub.objects[bindings+name+"/placement"] = workv1alpha1.BindingPlacement{TypeMeta: metav1.TypeMeta{APIVersion: "work.karmada.io/v1alpha1", Kind: "BindingPlacement"},
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Reason: "NoClusterFit", Message: message,
			Resource: workv1alpha1.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: template},
			Refusals: []workv1alpha1.PlacementRefusal{{Rule: "ClusterDeleting", Message: "is being removed", Clusters: []string{"a"}}},
		}
	}
	placed("web-deployment", "web", "0 of 1 cluster fits: 1 is being removed")
	second := &unstructured.Unstructured{}
	second.SetGroupVersionKind(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"})
	second.SetNamespace("shop")
	second.SetName("second")
	placed("second-deployment", "other", "of another object")
	placed(render.BindingNameHashed(second), "second", "of the one that is asked about")
	objects := func(name string, labels map[string]string) metav1.PartialObjectMetadata {
		return metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"},
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: labels}}
	}
	hub.objects["/apis/apps/v1/namespaces/shop/deployments/free"] = objects("free", nil)
	hub.objects["/apis/apps/v1/namespaces/shop/deployments/new"] = objects("new", map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "id"})
	late := policyv1alpha1.PropagationPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "late"}}
	late.Spec.ResourceSelectors = []policyv1alpha1.ResourceSelector{{APIVersion: "apps/v1", Kind: "Deployment", Name: "new"}}
	late.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: metav1.ConditionFalse, Reason: "PriorityClassNotFound", Message: "The hub has no PriorityClass urgent."}}
	policies := "/apis/policy.karmada.io/v1alpha1/"
	hub.objects[policies+"namespaces/shop/propagationpolicies"] = policyv1alpha1.PropagationPolicyList{
		TypeMeta: metav1.TypeMeta{APIVersion: "policy.karmada.io/v1alpha1", Kind: "PropagationPolicyList"}, Items: []policyv1alpha1.PropagationPolicy{late}}
	hub.objects[policies+"clusterpropagationpolicies"] = policyv1alpha1.ClusterPropagationPolicyList{
		TypeMeta: metav1.TypeMeta{APIVersion: "policy.karmada.io/v1alpha1", Kind: "ClusterPropagationPolicyList"}}
	config := hub.kubeconfig(t)

	for _, called := range []string{"deployment/web", "deploy/web", "Deployment/web", "deployments.apps/web", "deployments.v1.apps/web", "pb/web-deployment"} {
		r := windlass(t, "placement", called, "-n", "shop", "--kubeconfig", config)
		r.want(t, CodeFine)
		if !strings.HasPrefix(r.Out, "Deployment shop/web: not scheduled: 0 of 1 cluster fits") || !strings.Contains(r.Out, "ClusterDeleting") {
			t.Errorf("the placement of %s is:\n%s", called, r.Out)
		}
	}
	r := windlass(t, "placement", "deploy/web", "-n", "shop", "-o", "json", "--kubeconfig", config)
	r.want(t, CodeFine)
	var explained status.Explanation
	if err := json.Unmarshal([]byte(r.Out), &explained); err != nil || explained.Kind != "Placement" || len(explained.Refusals) != 1 {
		t.Errorf("as JSON it is %+v, %v", explained, err)
	}

	if r := windlass(t, "placement", "deploy/second", "-n", "shop", "--kubeconfig", config); !strings.Contains(r.Out, "of the one that is asked about") {
		t.Errorf("where the first name of a binding is another object's, it is said:\n%s", r.Out)
	}

	for _, test := range []struct {
		reason string
		args   []string
		code   int
		want   string
	}{
		{"a slip in the name", []string{"deploy/wbe", "-n", "shop"}, CodeNotFound, "the hub has no Deployment shop/wbe"},
		{"a slip in the kind", []string{"deployer/web", "-n", "shop"}, CodeNotFound, `no kind "deployer"`},
		{"a binding that is not there", []string{"pb/web", "-n", "shop"}, CodeNotFound, "binding shop/web"},
		{"no name", []string{"deploy"}, CodeUsage, `expected KIND/NAME, such as deployment/web, got "deploy"`},
		{"nothing at all", nil, CodeUsage, "expected KIND/NAME"},
		{"an output that there is not", []string{"deploy/web", "-o", "yaml"}, CodeUsage, "text, wide, json"},
	} {
		r := windlass(t, append([]string{"placement", "--kubeconfig", config}, test.args...)...)
		t.Run(test.reason, func(t *testing.T) { r.want(t, test.code, test.want) })
	}

	for _, test := range []struct {
		reason, called, forbidden, want string
	}{
		{"nobody wants it anywhere", "deploy/free", "", "Deployment shop/free is in no cluster: none of the PropagationPolicies in namespace shop (1) and"},
		{"its policy lacks something", "deploy/new", "", "PropagationPolicy shop/late selects it, and is not Ready: PriorityClassNotFound: The hub has no PriorityClass urgent."},
		{"nor may the user know why", "deploy/free", policies + "clusterpropagationpolicies", "no policy claims it; to be told why it takes the right to list clusterpropagationpolicies.policy.karmada.io"},
	} {
		hub.forbidden = test.forbidden
		for _, more := range [][]string{nil, {"--cluster", "a"}, {"-o", "wide"}} {
			r := windlass(t, append([]string{"placement", test.called, "-n", "shop", "--kubeconfig", config}, more...)...)
			r.want(t, CodeFine)
			if !strings.Contains(r.Out, test.want) || strings.Count(r.Out, "\n") != 1 || r.Err != "" {
				t.Errorf("that an object is nowhere because %s is an answer: %q is told %q, and as an error %q", test.reason, more, r.Out, r.Err)
			}
		}
	}
	hub.forbidden = ""
	r = windlass(t, "placement", "deploy/free", "-n", "shop", "-o", "json", "--kubeconfig", config)
	r.want(t, CodeFine)
	free := status.Explanation{Scheduled: true}
	if err := json.Unmarshal([]byte(r.Out), &free); err != nil {
		t.Errorf("that an object is nowhere is no JSON: %v\n%s", err, r.Out)
	}
	if !strings.HasPrefix(free.Message, "Deployment shop/free is in no cluster: none of") {
		t.Errorf("its message is %q", free.Message)
	}
	free.Message = ""
	if diff := cmp.Diff(status.Explanation{APIVersion: outputVersion, Kind: "Placement", Reason: "NoBinding", Clusters: []status.Chosen{}, Refusals: []status.Refusal{},
		Template: status.Template{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: "free"}}, free); diff != "" {
		t.Errorf("an object that is nowhere as JSON (-want +got):\n%s", diff)
	}

	r = windlass(t, "placement", "deploy/web", "-n", "shop", "--cluster", "a", "--kubeconfig", config)
	r.want(t, CodeFine)
	if !strings.Contains(r.Out, "ClusterDeleting") {
		t.Errorf("of the cluster is said:\n%s", r.Out)
	}
}

func TestAClusterOfWhichNothingIsSaidIsMostOftenASlipInItsName(t *testing.T) {
	hub := startFakeHub(t)
	discoverable(hub)
	hub.objects["/apis/work.karmada.io/v1alpha1/namespaces/shop/propagationbindings/web-deployment/placement"] = workv1alpha1.BindingPlacement{
		TypeMeta: metav1.TypeMeta{APIVersion: "work.karmada.io/v1alpha1", Kind: "BindingPlacement"}, ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-deployment"},
		Resource: workv1alpha1.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: "web"}}
	config := hub.kubeconfig(t)
	has := func(names ...string) {
		clusters := clusterv1alpha1.MemberClusterList{TypeMeta: metav1.TypeMeta{APIVersion: "cluster.karmada.io/v1alpha1", Kind: "MemberClusterList"}}
		for _, name := range names {
			clusters.Items = append(clusters.Items, clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}})
		}
		hub.objects[clustersPath] = clusters
	}
	for _, test := range []struct {
		reason, cluster string
		known           []string
		want            string
	}{
		{"the hub has no such cluster", "member2", []string{"member1"}, "the hub has no cluster member2; it has: member1\n"},
		{"of many the first are those that are written alike", "fra-02", []string{"ams-01", "ams-02", "eu-01", "eu-02", "far-01", "far-02", "fra-20", "us-01"},
			"it has: far-02, fra-20, ams-02, eu-02, far-01 and 3 more\n"},
		{"it has none", "member2", nil, "the hub has no cluster member2; it has none at all\n"},
		{"it has the cluster, which was not looked at", "member1", []string{"member1"}, "nothing is said of the cluster member1; without --cluster"},
	} {
		has(test.known...)
		r := windlass(t, "placement", "deploy/web", "-n", "shop", "--cluster", test.cluster, "--kubeconfig", config)
		t.Run(test.reason, func(t *testing.T) { r.want(t, CodeNotFound, test.want) })
	}
	hub.forbidden = clustersPath
	windlass(t, "placement", "deploy/web", "-n", "shop", "--cluster", "b", "--kubeconfig", config).want(t, CodeNotFound, "nothing is said of a cluster b, and you may not list")
}

func TestWhoMayNotAskForAPlacementIsToldWhichRightItTakesAndHowToGiveIt(t *testing.T) {
	hub := startFakeHub(t)
	discoverable(hub)
	hub.refuse = http.StatusForbidden
	for _, called := range []string{"deploy/web", "pb/web-deployment"} {
		windlass(t, "placement", called, "-n", "shop", "--kubeconfig", hub.kubeconfig(t)).want(t, CodeNotAllowed,
			"it takes the right to get propagationbindings.work.karmada.io/placement",
			"`windlass kubectl create clusterrole placement-reader --verb=get --resource=propagationbindings.work.karmada.io/placement`",
			"`windlass kubectl create rolebinding placement-readers -n shop --clusterrole=placement-reader --user=NAME`")
	}
	windlass(t, "placement", "cpb/reader-clusterrole", "--kubeconfig", hub.kubeconfig(t)).want(t, CodeNotAllowed,
		"get clusterpropagationbindings.work.karmada.io/placement", "create clusterrolebinding placement-readers --clusterrole=placement-reader")
}

func TestAPlacementSaysWhichPolicyDecides(t *testing.T) {
	hub := startFakeHub(t)
	discoverable(hub)
	namespaced, cluster := "/apis/work.karmada.io/v1alpha1/namespaces/shop/propagationbindings/web-deployment", "/apis/work.karmada.io/v1alpha1/clusterpropagationbindings/reader-clusterrole"
	placed := func(path, namespace, name string, of workv1alpha1.ObjectReference) {
		hub.objects[path+"/placement"] = workv1alpha1.BindingPlacement{TypeMeta: metav1.TypeMeta{APIVersion: "work.karmada.io/v1alpha1", Kind: "BindingPlacement"},
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Resource: of, Scheduled: true, Message: "goes to 1 cluster", Clusters: []workv1alpha1.TargetCluster{{Name: "a"}}}
	}
	placed(namespaced, "shop", "web-deployment", workv1alpha1.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: "web"})
	placed(cluster, "", "reader-clusterrole", workv1alpha1.ObjectReference{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole", Name: "reader"})
	bound := func(path string, labels, annotations map[string]string) {
		hub.objects[path] = metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"},
			ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations}}
	}
	bound(namespaced, map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "id"},
		map[string]string{workv1alpha1.PropagationPolicyNamespaceAnnotation: "shop", workv1alpha1.PropagationPolicyNameAnnotation: "shops"})
	bound(cluster, map[string]string{workv1alpha1.ClusterPropagationPolicyPermanentIDLabel: "id"}, map[string]string{workv1alpha1.ClusterPropagationPolicyNameAnnotation: "all"})
	config := hub.kubeconfig(t)
	says := func(reason, called, text, policy string) {
		t.Helper()
		r := windlass(t, "placement", called, "-n", "shop", "--kubeconfig", config)
		r.want(t, CodeFine)
		if !strings.HasPrefix(r.Out, text+"\nCLUSTER\n") {
			t.Errorf("%s: it says\n%s", reason, r.Out)
		}
		r = windlass(t, "placement", called, "-n", "shop", "-o", "json", "--kubeconfig", config)
		r.want(t, CodeFine)
		got := struct {
			Kind   string
			Policy json.RawMessage
		}{}
		if err := json.Unmarshal([]byte(r.Out), &got); err != nil || got.Kind != "Placement" {
			t.Errorf("%s: %v\n%s", reason, err, r.Out)
		}
		if said := strings.Join(strings.Fields(string(got.Policy)), ""); said != policy {
			t.Errorf("%s: as JSON the policy is %s, want %s", reason, said, policy)
		}
	}
	says("a policy of its namespace", "deploy/web", "Deployment shop/web: goes to 1 cluster\nby PropagationPolicy shop/shops\n", `{"kind":"PropagationPolicy","namespace":"shop","name":"shops"}`)
	says("a policy of the hub", "cpb/reader-clusterrole", "ClusterRole reader: goes to 1 cluster\nby ClusterPropagationPolicy all\n", `{"kind":"ClusterPropagationPolicy","name":"all"}`)
	hub.forbidden = namespaced
	says("who may ask for the placement may not read the binding", "deploy/web", "Deployment shop/web: goes to 1 cluster\n", "")
	hub.forbidden = ""
	bound(namespaced, nil, nil)
	says("no policy claims it any more", "deploy/web", "Deployment shop/web: goes to 1 cluster\n", "")
}

func TestAClusterThatIsNoHubHasNoPlacements(t *testing.T) {
	ordinary := startFakeHub(t)
	discoverable(ordinary)
	groups := ordinary.objects["/apis"].(metav1.APIGroupList)
	groups.Groups = groups.Groups[:1] // apps
	ordinary.objects["/apis"] = groups
	for _, called := range []string{"deploy/web", "pb/web-deployment", "deployer/web"} {
		windlass(t, "placement", called, "-n", "shop", "--kubeconfig", ordinary.kubeconfig(t)).want(t, CodeUnreachable, "is not a Windlass hub", "--context")
	}
}
