package manifest

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

func TestAGuardForbidsWhatItsRulesName(t *testing.T) {
	guard, err := NewGuard(
		[]string{"kube-system", "team-*", "*-private"},
		[]string{"Secret", "apps/Deployment", "rbac.authorization.k8s.io/*", "core/Service", "*.corp.example/*", "example.com/Widget"},
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		reason string
		id     ID
		rule   string
	}{
		{"a namespace by its name", ID{Kind: "ConfigMap", Namespace: "kube-system", Name: "c"}, `guard.namespaces "kube-system"`},
		{"a namespace by the beginning of its name", ID{Kind: "ConfigMap", Namespace: "team-a", Name: "c"}, `guard.namespaces "team-*"`},
		{"* stands for nothing, too", ID{Kind: "ConfigMap", Namespace: "team-", Name: "c"}, `guard.namespaces "team-*"`},
		{"a namespace by the end of its name", ID{Kind: "ConfigMap", Namespace: "shop-private", Name: "c"}, `guard.namespaces "*-private"`},
		{"the Namespace itself", ID{Kind: "Namespace", Name: "team-a"}, `guard.namespaces "team-*"`},
		{"a longer name is another namespace", ID{Kind: "ConfigMap", Namespace: "kube-system-2", Name: "c"}, ""},
		{"an object that is named like a namespace is none", ID{Kind: "ConfigMap", Namespace: "shop", Name: "team-a"}, ""},
		{"nor is a Namespace of another group", ID{Group: "cloud.example", Kind: "Namespace", Name: "team-a"}, ""},
		{"a kind", ID{Kind: "Secret", Namespace: "shop", Name: "s"}, `guard.kinds "Secret"`},
		{"a kind without a group is forbidden in every group", ID{Group: "vault.example", Kind: "Secret", Namespace: "shop", Name: "s"}, `guard.kinds "Secret"`},
		{"a kind of a group", ID{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "d"}, `guard.kinds "apps/Deployment"`},
		{"another group's", ID{Group: "example.com", Kind: "Deployment", Namespace: "shop", Name: "d"}, ""},
		{"a group, in a namespace", ID{Group: "rbac.authorization.k8s.io", Kind: "Role", Namespace: "shop", Name: "r"}, `guard.kinds "rbac.authorization.k8s.io/*"`},
		{"a group, in none", ID{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "r"}, `guard.kinds "rbac.authorization.k8s.io/*"`},
		{"core is the group without a name", ID{Kind: "Service", Namespace: "shop", Name: "s"}, `guard.kinds "core/Service"`},
		{"and no other", ID{Group: "serving.knative.dev", Kind: "Service", Namespace: "shop", Name: "s"}, ""},
		{"groups by a pattern", ID{Group: "db.corp.example", Kind: "Database", Namespace: "shop", Name: "d"}, `guard.kinds "*.corp.example/*"`},
		{"what no rule names", ID{Group: "apps", Kind: "StatefulSet", Namespace: "shop", Name: "s"}, ""},
	} {
		if got := guard.RuleOf(c.id); got != c.rule {
			t.Errorf("%s: %v is forbidden by %q, want %q", c.reason, c.id, got, c.rule)
		}
		if got := (Guard{}).RuleOf(c.id); got != "" {
			t.Errorf("%s: a guard without rules forbids %v by %q", c.reason, c.id, got)
		}
	}

	definition := func(group, kind string) string {
		return "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: x." + group + "}\nspec: {group: " + group + ", names: {kind: " + kind + "}}"
	}
	for text, rule := range map[string]string{
		definition("example.com", "Widget"):                                  `guard.kinds "example.com/Widget"`,
		definition("example.com", "Gadget"):                                  "",
		definition("db.corp.example", "Whoever"):                             `guard.kinds "*.corp.example/*"`,
		"apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}": `guard.kinds "Secret"`,
	} {
		if got := guard.Rule(parse(t, text)); got != rule {
			t.Errorf("%q is forbidden by %q, want %q", text, got, rule)
		}
	}
}

func TestAStarGuardsEverything(t *testing.T) {
	namespaces, err := NewGuard([]string{"*"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	kinds, err := NewGuard(nil, []string{"*"})
	if err != nil {
		t.Fatal(err)
	}
	object, clusterWide := ID{Kind: "Secret", Namespace: "shop", Name: "s"}, ID{Group: "example.com", Kind: "Widget", Name: "w"}
	if namespaces.RuleOf(object) == "" || namespaces.RuleOf(clusterWide) != "" {
		t.Error("namespaces * must forbid what lies in a namespace, and nothing else")
	}
	if kinds.RuleOf(object) == "" || kinds.RuleOf(clusterWide) == "" {
		t.Error("kinds * must forbid everything")
	}
}

func TestARuleThatWouldGuardNothingIsRefused(t *testing.T) {
	for _, c := range []struct {
		reason, namespace, kind, want string
	}{
		{"an empty namespace", "", "Secret", `namespaces[0]: "" is no namespace`},
		{"capital letters", "Team-*", "Secret", "namespaces[0]"},
		{"an exception", "!shop", "Secret", "namespaces[0]"},
		{"a regular expression", "team-.*", "Secret", "namespaces[0]"},
		{"an empty kind", "shop", "", `kinds[0]: "" is not KIND, GROUP/KIND or GROUP/*`},
		{"a resource", "shop", "secrets", "kinds[0]"},
		{"a resource with its group", "shop", "deployments.apps", "kinds[0]"},
		{"a kind with its group behind it", "shop", "Deployment.apps", "kinds[0]"},
		{"an apiVersion and a kind", "shop", "apps/v1/Deployment", "in every version: write apps/Deployment"},
		{"the same of the core group", "shop", "v1/Secret", "in every version: write Secret"},
		{"a version alone", "shop", "v1/*", "in every version: write *"},
		{"half a group", "shop", "rbac/ClusterRole", `there is no API group "rbac"`},
		{"an empty group", "shop", "/Secret", `there is no API group ""`},
		{"too many parts", "shop", "a.b/c/Secret", "kinds[0]"},
		{"a group alone", "shop", "apps/", "kinds[0]"},
	} {
		_, err := NewGuard([]string{c.namespace}, []string{c.kind})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with %q in it", c.reason, err, c.want)
		}
	}
}

func TestPatternsMatchAsRegularExpressionsWould(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	draw := func(letters string, most int) string {
		text := make([]byte, random.IntN(most+1))
		for i := range text {
			text[i] = letters[random.IntN(len(letters))]
		}
		return string(text)
	}
	for range 20_000 {
		pattern, text := draw("ab*", 6), draw("ab", 8)
		slow := regexp.MustCompile("^" + strings.ReplaceAll(pattern, "*", ".*") + "$").MatchString(text)
		if matches(pattern, text) != slow {
			t.Fatalf("matches(%q, %q) is %t", pattern, text, !slow)
		}
	}
}
