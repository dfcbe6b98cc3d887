package main

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/kubernetes/scheme"

	linkv1 "windlass.dev/windlass/api/link/v1"
)

// facts are those of a cluster in which nothing happens: said once in every session, and never again. They take the
// place of agent/facts.
type facts struct{ said *linkv1.ClusterFacts }

func newFacts() facts {
	return facts{&linkv1.ClusterFacts{
		ObservedAt: timestamppb.Now(), KubernetesVersion: "v1.37.2", ApiReady: true, ApiReason: "APIServerReady",
		Apis: servedAPIs(), ApisComplete: true, NodesTotal: 3, NodesReady: 3,
		Allocatable: map[string]string{"cpu": "12", "memory": "48Gi", "ephemeral-storage": "300Gi", "pods": "330"},
		Allocated:   map[string]string{"cpu": "1500m", "memory": "2Gi", "pods": "20"},
	}}
}

// Dirty is of link.Facts.
func (facts) Dirty() <-chan struct{} { return nil }

// Facts is of link.Facts.
func (f facts) Facts() *linkv1.ClusterFacts { return f.said }

var (
	stable        = regexp.MustCompile(`^v[0-9]+$`)
	notServed     = regexp.MustCompile(`(List|Options|Status|Review|Event|Scale|Eviction|Binding|TokenRequest|RangeAllocation|APIGroup|APIVersions)$`)
	clusterScoped = []string{
		"Namespace", "Node", "PersistentVolume", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicy",
		"ValidatingAdmissionPolicyBinding", "CertificateSigningRequest", "FlowSchema", "PriorityLevelConfiguration", "IngressClass", "RuntimeClass",
		"ClusterRole", "ClusterRoleBinding", "PriorityClass", "CSIDriver", "CSINode", "StorageClass", "VolumeAttachment", "DeviceClass",
	}
)

// servedAPIs are Kubernetes' own stable kinds, about as many as a member without custom ones serves.
func servedAPIs() []*linkv1.ServedAPI {
	var apis []*linkv1.ServedAPI
	for kind := range scheme.Scheme.AllKnownTypes() {
		if !stable.MatchString(kind.Version) || kind.Group == "" && kind.Version != "v1" || strings.HasPrefix(kind.Group, "__") || notServed.MatchString(kind.Kind) {
			continue
		}
		plural, _ := meta.UnsafeGuessKindToResource(kind)
		apis = append(apis, &linkv1.ServedAPI{
			Group: kind.Group, Version: kind.Version, Resource: plural.Resource, Kind: kind.Kind, Namespaced: !slices.Contains(clusterScoped, kind.Kind),
		})
	}
	slices.SortFunc(apis, func(a, b *linkv1.ServedAPI) int {
		return strings.Compare(a.Group+"/"+a.Version+"/"+a.Kind, b.Group+"/"+b.Version+"/"+b.Kind)
	})
	return apis
}

// room is what every member answers when it is asked for how many replicas there is room: always the same.
const room = 100

// answer answers questions about capacity, as agent/facts does.
func answer(_ context.Context, q *linkv1.Question) *linkv1.Answer {
	if q.GetKind() != linkv1.QuestionCapacity {
		return &linkv1.Answer{UnknownKind: true}
	}
	var asked linkv1.CapacityQuestion
	if err := proto.Unmarshal(q.GetBody(), &asked); err != nil {
		return &linkv1.Answer{Error: err.Error()}
	}
	said := &linkv1.CapacityAnswer{ObservedAt: timestamppb.Now()}
	for range asked.GetRequirements() {
		said.Rooms = append(said.Rooms, &linkv1.Room{Replicas: room, Slots: room})
	}
	body, err := proto.Marshal(said)
	if err != nil {
		return &linkv1.Answer{Error: err.Error()}
	}
	return &linkv1.Answer{Body: body}
}
