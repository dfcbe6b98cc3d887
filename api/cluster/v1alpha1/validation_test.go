package v1alpha1

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// expectErrors asks that every error has one expected beginning, and the other way round.
func expectErrors(t *testing.T, errs field.ErrorList, expected ...string) {
	t.Helper()
	var unexpected []string
	missing := append([]string(nil), expected...)
	for _, err := range errs {
		found := false
		for i, text := range missing {
			if strings.HasPrefix(err.Error(), text) {
				missing = append(missing[:i], missing[i+1:]...)
				found = true
				break
			}
		}
		if !found {
			unexpected = append(unexpected, err.Error())
		}
	}
	for _, text := range missing {
		t.Errorf("no error begins with: %s", text)
	}
	for _, text := range unexpected {
		t.Errorf("unexpected error: %s", text)
	}
}

func validCluster() *MemberCluster {
	cluster := &MemberCluster{
		ObjectMeta: metav1.ObjectMeta{Name: "member1", Labels: map[string]string{"environment": "production"}},
		Spec: ClusterSpec{
			ID: "0b1f6a52-40f2-4d0a-8f5c-1f4f0a6d1c11", Provider: "hetzner", Region: "eu-central", Zones: []string{"fsn1", "nbg1"},
			Taints: []corev1.Taint{
				{Key: TaintUnschedulable, Effect: corev1.TaintEffectNoSchedule},
				{Key: TaintNotReady, Effect: corev1.TaintEffectNoSchedule},
				{Key: "accelerator", Value: "gpu", Effect: corev1.TaintEffectNoSchedule},
				{Key: "drained", Effect: corev1.TaintEffectNoExecute},
			},
		},
	}
	defaultCluster(cluster)
	return cluster
}

func TestClusters(t *testing.T) {
	dials := "the hub never dials a member, an agent in the member dials the hub: remove this field"
	tests := []struct {
		reason string
		change func(*MemberCluster)
		want   []string
	}{
		{reason: "one that joined", change: func(*MemberCluster) {}},
		{reason: "one that was only named", change: func(c *MemberCluster) { c.Spec = ClusterSpec{SyncMode: Pull} }},
		{reason: "the longest name", change: func(c *MemberCluster) { c.Name = strings.Repeat("a", 48) }},
		{"a longer one", func(c *MemberCluster) { c.Name = strings.Repeat("a", 49) }, []string{"metadata.name: Invalid value: \"" + strings.Repeat("a", 49) + "\": must be at most 48 characters"}},
		{"no name", func(c *MemberCluster) { c.Name = "" }, []string{"metadata.name: Required value"}},
		{"a name with dots", func(c *MemberCluster) { c.Name = "member.one" }, []string{`metadata.name: Invalid value: "member.one": must not contain dots`}},
		{"a name with capitals", func(c *MemberCluster) { c.Name = "Member" }, []string{`metadata.name: Invalid value: "Member": a lowercase RFC 1123 label`}},
		{"labels", func(c *MemberCluster) { c.Labels["environment"] = "not valid" }, []string{`metadata.labels: Invalid value: "not valid"`}},
		{"push mode", func(c *MemberCluster) { c.Spec.SyncMode = Push }, []string{
			`spec.syncMode: Unsupported value: "Push": supported values: "Pull"; the hub never dials a member, an agent in the member dials the hub: use Pull, and start windlass-agent there with a join token`}},
		{"a mode that is none", func(c *MemberCluster) { c.Spec.SyncMode = "Carry" }, []string{`spec.syncMode: Unsupported value: "Carry": supported values: "Pull"`}},
		{"what only a hub that dials would need", func(c *MemberCluster) {
			c.Spec.APIEndpoint, c.Spec.SecretRef, c.Spec.ImpersonatorSecretRef = "https://192.0.2.1:6443", &LocalSecretReference{}, &LocalSecretReference{}
			c.Spec.InsecureSkipTLSVerification, c.Spec.ProxyURL, c.Spec.ProxyHeader = true, "socks5://192.0.2.1", map[string]string{"a": "b"}
		}, []string{"spec.apiEndpoint: Forbidden: " + dials, "spec.secretRef: Forbidden: " + dials, "spec.impersonatorSecretRef: Forbidden: " + dials,
			"spec.insecureSkipTLSVerification: Forbidden: " + dials, "spec.proxyURL: Forbidden: " + dials, "spec.proxyHeader: Forbidden: " + dials}},
		{"an id that can't stand in a certificate", func(c *MemberCluster) { c.Spec.ID = "spiffe://x" }, []string{`spec.id: Invalid value: "spiffe://x"`}},
		{"spaces that nobody sees", func(c *MemberCluster) { c.Spec.Provider, c.Spec.Region = " aws", "eu " }, []string{
			`spec.provider: Invalid value: " aws": must not begin or end with a space`, `spec.region: Invalid value: "eu "`}},
		{"zones", func(c *MemberCluster) { c.Spec.Zones = []string{"a", "", "a", strings.Repeat("z", 254)} }, []string{
			"spec.zones[1]: Required value", `spec.zones[2]: Duplicate value: "a"`, "spec.zones[3]: Too long"}},
		{"the former zone beside zones", func(c *MemberCluster) { c.Spec.Zone = "a" }, []string{"spec.zone: Forbidden: can't stand beside zones"}},
		{"taints", func(c *MemberCluster) {
			c.Spec.Taints = []corev1.Taint{{Key: "a/b/c", Effect: corev1.TaintEffectNoSchedule}, {Key: "a", Value: "not valid", Effect: corev1.TaintEffectNoSchedule},
				{Key: "a", Effect: corev1.TaintEffectNoSchedule}, {Key: "a"}, {Key: "b", Effect: corev1.TaintEffectPreferNoSchedule},
				{Key: "c", Effect: corev1.TaintEffectNoExecute}, {Effect: corev1.TaintEffectNoSchedule}}
		}, []string{`spec.taints[0].key: Invalid value: "a/b/c"`, `spec.taints[1].value: Invalid value: "not valid"`, `spec.taints[2]: Duplicate value: "a:NoSchedule"`,
			`spec.taints[3].effect: Unsupported value: ""`, "spec.taints[4].effect: Forbidden: PreferNoSchedule is not supported yet",
			`spec.taints[6].key: Invalid value: ""`, `spec.taints[6].key: Invalid value: ""`}},
		{"models of nodes", func(c *MemberCluster) { c.Spec.ResourceModels = []ResourceModel{{}} }, []string{"spec.resourceModels: Forbidden: is not supported yet"}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			cluster := validCluster()
			test.change(cluster)
			expectErrors(t, ValidateMemberCluster(cluster), test.want...)
		})
	}
}

func TestUpdatesOfACluster(t *testing.T) {
	tests := []struct {
		reason   string
		old, new func(*MemberCluster)
		want     []string
	}{
		{reason: "it is cordoned", new: func(c *MemberCluster) { c.Spec.Taints = c.Spec.Taints[:1] }},
		{reason: "it joins", old: func(c *MemberCluster) { c.Spec.ID = "" }, new: func(c *MemberCluster) { c.Spec.ID = "first" }},
		{reason: "its id stays", old: func(c *MemberCluster) { c.Spec.ID = "first" }, new: func(c *MemberCluster) { c.Spec.ID = "second" },
			want: []string{`spec.id: Invalid value: "second": can't be changed or removed: it stands in the certificate of the cluster's agent; set it back to "first"`}},
		{reason: "even when somebody replaces the object", new: func(c *MemberCluster) { c.Spec.ID = "" }, want: []string{`spec.id: Invalid value: ""`}},
		{reason: "a change for the worse", new: func(c *MemberCluster) { c.Spec.SyncMode = Push }, want: []string{"spec.syncMode: Unsupported value"}},
		{reason: "one stored under older rules can lose its finalizer", old: func(c *MemberCluster) { c.Spec.SyncMode = Push }, new: func(c *MemberCluster) { c.Finalizers = nil }},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			old := validCluster()
			if test.old != nil {
				test.old(old)
			}
			cluster := old.DeepCopy()
			test.new(cluster)
			expectErrors(t, ValidateMemberClusterUpdate(cluster, old), test.want...)
		})
	}
}

func TestStatusOfACluster(t *testing.T) {
	old := validCluster()
	old.Status.Session = &SessionStatus{Process: "hub-a", Epoch: 7}
	cluster := old.DeepCopy()
	cluster.Status.Conditions = []metav1.Condition{{Type: ClusterJoined}, {Type: ClusterReady}}
	cluster.Status.Session.Epoch = 8
	expectErrors(t, ValidateMemberClusterStatusUpdate(cluster, old))
	cluster.Status.Conditions[1].Type = ClusterJoined
	cluster.Status.Session.Epoch = 6
	expectErrors(t, ValidateMemberClusterStatusUpdate(cluster, old),
		`status.conditions[1].type: Duplicate value: "Joined"`, "status.session.epoch: Forbidden: must not fall below 7: reports of older sessions would count again")
	cluster.Status = ClusterStatus{}
	expectErrors(t, ValidateMemberClusterStatusUpdate(cluster, old), "status.session.epoch: Forbidden: must not fall below 7")
}
