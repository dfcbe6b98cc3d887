package agenttest

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	linkv1 "windlass.dev/windlass/api/link/v1"

	"windlass.dev/windlass/agent/member"
)

// limit makes the agent somebody who may do everything in the test's namespace, keep its own Secrets, read which kinds are
// served, and nothing else, as the chart's preset namespaced has it.
func (r *rig) limit(byNamespace bool) {
	r.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", theMember.Kubeconfig())
	if err != nil {
		r.Fatal(err)
	}
	admin, err := kubernetes.NewForConfig(config)
	if err != nil {
		r.Fatal(err)
	}
	name := "agent-of-" + r.namespace
	if _, err := admin.CoreV1().Namespaces().Create(r.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: r.namespace}}, metav1.CreateOptions{}); err != nil {
		r.Fatal(err)
	}
	everything := []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}}
	subjects := []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}}
	for _, namespace := range []string{r.namespace, r.ownState} {
		if _, err := admin.RbacV1().Roles(namespace).Create(r.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: everything}, metav1.CreateOptions{}); err != nil {
			r.Fatal(err)
		}
		if _, err := admin.RbacV1().RoleBindings(namespace).Create(r.Context(), &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		}, metav1.CreateOptions{}); err != nil {
			r.Fatal(err)
		}
	}
	reading := []rbacv1.PolicyRule{
		{APIGroups: []string{"apiextensions.k8s.io"}, Resources: []string{"customresourcedefinitions"}, Verbs: []string{"list", "watch"}},
		{APIGroups: []string{"apiregistration.k8s.io"}, Resources: []string{"apiservices"}, Verbs: []string{"list", "watch"}},
		{APIGroups: []string{"autoscaling"}, Resources: []string{"horizontalpodautoscalers"}, Verbs: []string{"list", "watch"}},
		{NonResourceURLs: []string{"/api", "/api/*", "/apis", "/apis/*", "/openapi/*", "/version"}, Verbs: []string{"get"}},
	}
	if _, err := admin.RbacV1().ClusterRoles().Create(r.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: reading}, metav1.CreateOptions{}); err != nil {
		r.Fatal(err)
	}
	if _, err := admin.RbacV1().ClusterRoleBindings().Create(r.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
	}, metav1.CreateOptions{}); err != nil {
		r.Fatal(err)
	}
	config.Impersonate.UserName = name
	if r.limited, err = member.Connect(config); err != nil {
		r.Fatal(err)
	}
	r.byNamespace = byNamespace
	r.end()
	r.start()
}

func TestAnAgentWithRightsInOneNamespaceFollowsWhatIsThereAndPutsItRight(t *testing.T) {
	r := newRig(t)
	r.limit(true)
	// A Secret, of which the agent could not read those of all namespaces.
	secret := map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"namespace": r.namespace, "name": "key"}, "stringData": map[string]any{"a": "1"},
	}
	elsewhere := r.configMap("c", map[string]any{"a": "1"})
	elsewhere["metadata"].(map[string]any)["namespace"] = "default"
	r.put(work("key", 1, secret))
	r.put(work("web", 1, r.deployment("web", 1)))
	r.put(work("elsewhere", 1, elsewhere))
	r.applied("key", 1)
	r.reported("web", "a healthy report", func(report *linkv1.Report) bool { return report.Health == linkv1.Health_HEALTH_HEALTHY })
	r.refused("elsewhere", "Forbidden")

	if err := r.client(secrets).Delete(t.Context(), "key", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.until("the deleted Secret to be made again", func() error {
		_, err := r.client(secrets).Get(t.Context(), "key", metav1.GetOptions{})
		return err
	})
	r.byHand(deployments, "web", `{"spec":{"replicas":3}}`)
	r.until("the replicas to be put right", func() error {
		if replicas := text(r.get(deployments, "web"), "spec", "replicas"); replicas != "1" {
			return fmt.Errorf("there are %s", replicas)
		}
		return nil
	})
	if _, err := r.limited.Core.Secrets(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("if the agent may read all Secrets, the rest proves nothing: %v", err)
	}
}

func TestOfWhatMayNotBeWatchedNobodySaysThatItIsHealthy(t *testing.T) {
	r := newRig(t)
	r.limit(false)
	r.put(work("c", 1, r.configMap("c", map[string]any{"a": "1"})))
	r.applied("c", 1)
	report := r.reported("c", "a report without a health", func(report *linkv1.Report) bool { return report.Health == linkv1.Health_HEALTH_UNKNOWN })
	if !strings.Contains(report.HealthMessage, "may not watch") || !strings.Contains(report.HealthMessage, "configmaps") {
		t.Errorf("it says %q", report.HealthMessage)
	}
}
