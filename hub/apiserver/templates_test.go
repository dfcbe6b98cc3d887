package apiserver_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/yaml"

	"windlass.dev/windlass/hub/templates"
)

const templatesNamespace = "templates"

// addedInAClusterOnly are the fields that would be filled in, were the hub a cluster, by kind and name.
var addedInAClusterOnly = map[string][][]string{
	"Pod t": {
		{"spec", "serviceAccountName"}, {"spec", "tolerations"}, {"spec", "priority"}, {"spec", "preemptionPolicy"}, {"spec", "volumes"},
	},
	"Pod t-of-a-member":       {{"spec", "tolerations"}, {"spec", "priority"}, {"spec", "overhead"}, {"spec", "volumes"}},
	"PersistentVolumeClaim t": {{"spec", "storageClassName"}, {"metadata", "finalizers"}},
	"PersistentVolume t":      {{"metadata", "finalizers"}},
	"Ingress t":               {{"spec", "ingressClassName"}},
	"Node t":                  {{"spec", "taints"}},
}

func TestEveryNativeKindIsStoredAsWrittenAndCanBeDeleted(t *testing.T) {
	makeNamespace(t, templatesNamespace)
	templates := readTemplates(t)
	mapper := newMapper(t)
	for _, template := range templates {
		create(t, mapper, template)
	}
	for _, template := range slices.Backward(templates) {
		t.Run(identity(template), func(t *testing.T) { deleteAndWait(t, clientFor(t, mapper, template), template.GetName()) })
	}
}

func create(t *testing.T, mapper meta.RESTMapper, template *unstructured.Unstructured) {
	t.Run(identity(template), func(t *testing.T) {
		stored, err := clientFor(t, mapper, template).Create(t.Context(), template, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, difference := range missing(template.Object, stored.Object, "") {
			t.Errorf("not stored as written: %s", difference)
		}
		for _, path := range addedInAClusterOnly[identity(template)] {
			if value, found, _ := unstructured.NestedFieldNoCopy(stored.Object, path...); found {
				t.Errorf("%s was filled in with %v", strings.Join(path, "."), value)
			}
		}
	})
}

func deleteAndWait(t *testing.T, client dynamic.ResourceInterface, name string) {
	t.Helper()
	if err := client.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, name+" is gone", func(ctx context.Context) (bool, error) {
		_, err := client.Get(ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
}

func TestTheServerTellsWhenItsKindsChange(t *testing.T) {
	definitions := hub.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	told := func(what string, do func() error) {
		t.Helper()
		before := kindsChanged.Load()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the server tells of "+what, func(context.Context) (bool, error) { return kindsChanged.Load() > before, nil })
	}
	told("a new definition", func() error {
		_, err := definitions.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
			"metadata": map[string]any{"name": "gadgets.told.example.com"},
			"spec": map[string]any{
				"group": "told.example.com", "scope": "Namespaced",
				"names": map[string]any{"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"},
				"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{
					"openAPIV3Schema": map[string]any{"type": "object"},
				}}},
			},
		}}, metav1.CreateOptions{})
		return err
	})
	eventually(t, "it is served", func(context.Context) (bool, error) {
		_, err := hub.client.Discovery().ServerResourcesForGroupVersion("told.example.com/v1")
		return err == nil, nil
	})
	told("its end", func() error {
		return definitions.Delete(t.Context(), "gadgets.told.example.com", metav1.DeleteOptions{})
	})
}

// askForSomething are the native kinds that can be created and say nothing about a workload.
var askForSomething = []string{"certificatesigningrequests.certificates.k8s.io", "podcertificaterequests.certificates.k8s.io"}

func TestTheTemplatesCoverEveryNativeKind(t *testing.T) {
	covered := map[schema.GroupResource]bool{}
	mapper := newMapper(t)
	for _, template := range readTemplates(t) {
		covered[mappingOf(t, mapper, template).Resource.GroupResource()] = true
	}
	_, lists, err := hub.client.Discovery().ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, resource := range list.APIResources {
			named := schema.GroupResource{Group: version.Group, Resource: resource.Name}
			native := !strings.HasSuffix(version.Group, "karmada.io") && version.Group != "windlass.dev" && !strings.HasSuffix(version.Group, "example.com")
			isObject := !strings.Contains(resource.Name, "/") && slices.Contains(resource.Verbs, "create") && slices.Contains(resource.Verbs, "delete")
			if native && isObject && !covered[named] && !slices.Contains(askForSomething, named.String()) {
				t.Errorf("testdata/templates.yaml has no %s (%s)", resource.Kind, named)
			}
		}
	}
}

func TestTheServerSaysWhatATemplateWasAtAResourceVersion(t *testing.T) {
	makeNamespace(t, "past")
	watcher := templates.New(templates.Config{Dynamic: hub.dynamic, Discovery: hub.client, Log: slog.New(slog.DiscardHandler)})
	write := func(name, value string) *corev1.ConfigMap {
		t.Helper()
		wanted := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "past", Name: name}, Data: map[string]string{"value": value}}
		maps := hub.client.CoreV1().ConfigMaps("past")
		stored, err := maps.Create(t.Context(), wanted, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			stored, err = maps.Update(t.Context(), wanted, metav1.UpdateOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
		return stored
	}
	earlier := write("other", "1").ResourceVersion
	first := write("settings", "1").ResourceVersion
	between := write("other", "2").ResourceVersion
	second := write("settings", "2").ResourceVersion
	key := templates.Key{GroupVersionKind: corev1.SchemeGroupVersion.WithKind("ConfigMap"), NamespacedName: types.NamespacedName{Namespace: "past", Name: "settings"}}
	for _, test := range []struct{ reason, at, want string }{
		{"before it was made", earlier, ""}, {"when it was made", first, "1"}, {"when something else was written", between, "1"}, {"when it was changed", second, "2"},
	} {
		was, err := watcher.At(t.Context(), key, test.at)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if was != nil {
			got, _, _ = unstructured.NestedString(was.Object, "data", "value")
			if was.GetKind() != "ConfigMap" || was.GetAPIVersion() != "v1" {
				t.Errorf("%s it is a %s of %s", test.reason, was.GetKind(), was.GetAPIVersion())
			}
		}
		if got != test.want {
			t.Errorf("%s it has %q, want %q", test.reason, got, test.want)
		}
	}
}

func readTemplates(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	content, err := os.ReadFile("testdata/templates.yaml")
	if err != nil {
		t.Fatal(err)
	}
	quoted := fmt.Sprintf("%q", selfSigned(t))
	var templates []*unstructured.Unstructured
	for _, document := range strings.Split(strings.ReplaceAll(string(content), "${CERTIFICATE}", quoted), "\n---\n") {
		template := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &template.Object); err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		templates = append(templates, template)
	}
	return templates
}

func selfSigned(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "a test"}, BasicConstraintsValid: true, IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func newMapper(t *testing.T) meta.RESTMapper {
	t.Helper()
	groups, err := restmapper.GetAPIGroupResources(hub.client.Discovery())
	if err != nil {
		t.Fatal(err)
	}
	return restmapper.NewDiscoveryRESTMapper(groups)
}

func mappingOf(t *testing.T, mapper meta.RESTMapper, object *unstructured.Unstructured) *meta.RESTMapping {
	t.Helper()
	kind := object.GroupVersionKind()
	mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		t.Fatal(err)
	}
	return mapping
}

func clientFor(t *testing.T, mapper meta.RESTMapper, object *unstructured.Unstructured) dynamic.ResourceInterface {
	t.Helper()
	mapping := mappingOf(t, mapper, object)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		return hub.dynamic.Resource(mapping.Resource).Namespace(templatesNamespace)
	}
	return hub.dynamic.Resource(mapping.Resource)
}

func identity(object *unstructured.Unstructured) string {
	return object.GetKind() + " " + object.GetName()
}

// missing tells what of written is not in stored. Secrets move stringData into data.
func missing(written, stored any, path string) []string {
	switch written := written.(type) {
	case map[string]any:
		object, ok := stored.(map[string]any)
		if !ok {
			return []string{path + " is no object"}
		}
		var all []string
		for key, value := range written {
			if key == "stringData" {
				all = append(all, missingData(value, object["data"])...)
				continue
			}
			all = append(all, missing(value, object[key], path+"."+key)...)
		}
		return all
	case []any:
		list, ok := stored.([]any)
		if len(written) == 0 {
			return nil
		}
		if !ok || len(list) != len(written) {
			return []string{fmt.Sprintf("%s is %v", path, stored)}
		}
		var all []string
		for i := range written {
			all = append(all, missing(written[i], list[i], fmt.Sprintf("%s[%d]", path, i))...)
		}
		return all
	default:
		if fmt.Sprint(written) != fmt.Sprint(stored) {
			return []string{fmt.Sprintf("%s is %v, not %v", path, stored, written)}
		}
		return nil
	}
}

func missingData(written, stored any) []string {
	data, _ := stored.(map[string]any)
	for key, value := range written.(map[string]any) {
		if data[key] != base64.StdEncoding.EncodeToString([]byte(value.(string))) {
			return []string{"data." + key}
		}
	}
	return nil
}
