package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/cli/status"
)

// watchInterval is how often `status --watch` asks again.
const watchInterval = 2 * time.Second

type statusOptions struct {
	output string
	watch  bool
	check  bool
}

func newStatus(c *connection, streams Streams) *cobra.Command {
	options := statusOptions{output: "text"}
	command := &cobra.Command{
		Use:   "status",
		Short: "Show what is not fine, the clusters, the bindings, and where the replicas are",
		Long: `Show the state of a hub: first what is not fine, if anything; then the clusters, the bindings, and for
every workload how many replicas are wanted and ready in each cluster.`,
		Example: `  windlass status
  windlass status --watch
  windlass status --check   # for scripts: exit code 3 when something is not fine`,
		Args: exactly(0, "no arguments"),
		RunE: func(command *cobra.Command, _ []string) error {
			if err := oneOf("-o", options.output, "text", "wide", "json"); err != nil {
				return err
			}
			if options.watch && (options.check || options.output == "json") {
				return usage(fmt.Errorf("--watch goes with neither --check nor -o json"))
			}
			h, err := c.dial()
			if err != nil {
				return err
			}
			if options.watch {
				return watchStatus(command.Context(), h, streams, options)
			}
			return showStatus(command.Context(), h, streams.Out, options)
		},
	}
	flags := command.Flags()
	flags.StringVarP(&options.output, "output", "o", options.output, "text, wide or json")
	flags.BoolVarP(&options.watch, "watch", "w", false, "show it again every two seconds until interrupted")
	flags.BoolVar(&options.check, "check", false, "end with exit code 3 when something is not fine")
	return command
}

func showStatus(ctx context.Context, h *hub, out io.Writer, options statusOptions) error {
	facts, err := gatherStatus(ctx, h)
	if err != nil {
		return err
	}
	report := status.Make(facts)
	if options.output == "json" {
		err = printJSON(out, report)
	} else {
		err = report.Text(out, facts.Now, options.output == "wide")
	}
	if err != nil {
		return fmt.Errorf("writing the status: %w", err)
	}
	if options.check && !report.Fine {
		return &Failure{Code: CodeNotFine}
	}
	return nil
}

// watchStatus shows the status until ctx ends. A hub that does not answer, breaks off, or answers that it can't at present, is
// shown as such and asked again: watching a restart, or an etcd that is away, is what this is for.
func watchStatus(ctx context.Context, h *hub, streams Streams, options statusOptions) error {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		var screen bytes.Buffer
		if err := showStatus(ctx, h, &screen, options); err != nil {
			failure := explain(err)
			if failure.Code == CodeUsage || failure.Code == CodeNotAllowed || noSuchResource(err) {
				return err // to ask again does not help
			}
			fmt.Fprintf(&screen, "%v\n", failure)
		}
		if _, err := io.WriteString(streams.Out, separator(streams.Out)+screen.String()); err != nil {
			return fmt.Errorf("writing the status: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// separator clears a terminal; elsewhere it parts one report from the next.
func separator(out io.Writer) string {
	if file, ok := out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return "\x1b[H\x1b[2J"
	}
	return "\n--- " + time.Now().Format(time.TimeOnly) + "\n"
}

// gatherStatus reads everything that a report is made of.
func gatherStatus(ctx context.Context, h *hub) (status.Facts, error) {
	var facts status.Facts
	group, ctx := errgroup.WithContext(ctx)
	fill(ctx, group, h, clusterv1alpha1.SchemeGroupVersion.WithResource("memberclusters"), &facts.Clusters,
		func(l *clusterv1alpha1.MemberClusterList) []clusterv1alpha1.MemberCluster { return l.Items })
	fill(ctx, group, h, policyv1alpha1.SchemeGroupVersion.WithResource("propagationpolicies"), &facts.Policies,
		func(l *policyv1alpha1.PropagationPolicyList) []policyv1alpha1.PropagationPolicy { return l.Items })
	fill(ctx, group, h, policyv1alpha1.SchemeGroupVersion.WithResource("clusterpropagationpolicies"), &facts.ClusterPolicies,
		func(l *policyv1alpha1.ClusterPropagationPolicyList) []policyv1alpha1.ClusterPropagationPolicy {
			return l.Items
		})
	fill(ctx, group, h, policyv1alpha1.SchemeGroupVersion.WithResource("overridepolicies"), &facts.Overrides,
		func(l *policyv1alpha1.OverridePolicyList) []policyv1alpha1.OverridePolicy { return l.Items })
	fill(ctx, group, h, policyv1alpha1.SchemeGroupVersion.WithResource("clusteroverridepolicies"), &facts.ClusterOverrides,
		func(l *policyv1alpha1.ClusterOverridePolicyList) []policyv1alpha1.ClusterOverridePolicy {
			return l.Items
		})
	fill(ctx, group, h, workv1alpha1.SchemeGroupVersion.WithResource("propagationbindings"), &facts.Bindings,
		func(l *workv1alpha1.PropagationBindingList) []workv1alpha1.PropagationBinding { return l.Items })
	fill(ctx, group, h, workv1alpha1.SchemeGroupVersion.WithResource("clusterpropagationbindings"), &facts.ClusterBindings,
		func(l *workv1alpha1.ClusterPropagationBindingList) []workv1alpha1.ClusterPropagationBinding {
			return l.Items
		})
	fill(ctx, group, h, workv1alpha1.SchemeGroupVersion.WithResource("propagationworks"), &facts.Works, worksWithoutManifests)
	group.Go(func() (err error) {
		facts.Unclaimed, err = unclaimed(ctx, h)
		return err
	})
	if err := group.Wait(); err != nil {
		return status.Facts{}, err
	}
	facts.Now = h.clock.Now()
	return facts, nil
}

// fill reads one resource into the facts, beside the others.
func fill[T, L any, P interface {
	*L
	runtime.Object
	metav1.ListInterface
}](ctx context.Context, group *errgroup.Group, h *hub, resource schema.GroupVersionResource, into *[]T, items func(P) []T) {
	group.Go(func() (err error) {
		*into, err = list(ctx, h, "", resource, items)
		return err
	})
}

// worksWithoutManifests drops what most of a work's size is, and what is not shown: all manifests that are as
// the binding says.
func worksWithoutManifests(l *workv1alpha1.PropagationWorkList) []workv1alpha1.PropagationWork {
	for i := range l.Items {
		if !status.Overridden(&l.Items[i]) {
			l.Items[i].Spec.Workload = workv1alpha1.WorkloadTemplate{}
		}
	}
	return l.Items
}
