package cli

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/pager"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/cli/status"
)

// workloads are the built-in kinds that run something. Nothing runs on the hub itself, so one of them
// that no policy claims runs nowhere, and whoever applied it most likely expects otherwise.
var workloads = []struct {
	resource schema.GroupVersionResource
	kind     string
}{
	{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, "Deployment"},
	{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}, "StatefulSet"},
	{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}, "DaemonSet"},
	{schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}, "Job"},
	{schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "cronjobs"}, "CronJob"},
}

// unclaimedSelector finds what bears no policy's mark.
const unclaimedSelector = "!" + workv1alpha1.PropagationPolicyPermanentIDLabel + ",!" + workv1alpha1.ClusterPropagationPolicyPermanentIDLabel

// unclaimed lists the workloads that no policy claims, but for those in namespaces that no policy reaches. A kind that the user may not list is left out:
// the rest of the status does not need it.
func unclaimed(ctx context.Context, h *hub) ([]status.Workload, error) {
	client, err := metadata.NewForConfig(rest.CopyConfig(h.config))
	if err != nil {
		return nil, usage(fmt.Errorf("the kubeconfig can't be used: %w", err))
	}
	found := make([][]status.Workload, len(workloads))
	var group errgroup.Group
	for i, workload := range workloads {
		group.Go(func() error {
			list := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
				return client.Resource(workload.resource).List(ctx, options)
			}
			err := pager.New(list).EachListItem(ctx, metav1.ListOptions{LabelSelector: unclaimedSelector}, func(object runtime.Object) error {
				o, ok := object.(*metav1.PartialObjectMetadata)
				if ok && o.DeletionTimestamp == nil && metav1.GetControllerOf(o) == nil && !policyv1alpha1.ReservedNamespace(o.Namespace) {
					found[i] = append(found[i], status.Workload{Labels: o.Labels, Template: status.Template{
						APIVersion: workload.resource.GroupVersion().String(), Kind: workload.kind, Namespace: o.Namespace, Name: o.Name,
					}})
				}
				return nil
			})
			if err != nil && !apierrors.IsForbidden(err) {
				return h.describe(fmt.Errorf("listing %s: %w", workload.resource.GroupResource(), err))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var all []status.Workload
	for _, templates := range found {
		all = append(all, templates...)
	}
	return all, nil
}
