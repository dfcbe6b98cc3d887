// Package cli alone is responsible for the words of the command line: its commands, flags, output
// and exit codes. It talks to a hub as any user does, through a kubeconfig.
package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	"windlass.dev/windlass/pkg/version"
)

// Streams are what a command reads and writes. Results go to Out, explanations to Err.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// pluginName is the file name under which kubectl finds the command line as `kubectl windlass`.
const pluginName = "kubectl-windlass"

// Main runs the command line with the arguments of the process, its name included, and returns the
// exit code. Signals keep their usual effect: nothing here has to be tidied up.
func Main(argv []string, streams Streams) int {
	return run(context.Background(), argv, streams)
}

func run(ctx context.Context, argv []string, streams Streams) int {
	root := newRoot(streams)
	if strings.TrimSuffix(filepath.Base(argv[0]), ".exe") == pluginName {
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl windlass"}
	}
	root.SetArgs(argv[1:])
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return CodeFine
	}
	failure := explain(err)
	if failure.Err != nil {
		fmt.Fprintf(streams.Err, "Error: %v\n", failure.Err)
	}
	if failure.Code == CodeUsage {
		fmt.Fprintf(streams.Err, "Run '%s --help' for how it is used.\n", command.CommandPath())
	}
	return failure.Code
}

func newRoot(streams Streams) *cobra.Command {
	connection := &connection{warnings: streams.Err}
	root := &cobra.Command{
		Use:   "windlass",
		Short: "Manage applications over many Kubernetes clusters from one hub",
		Long: `Windlass manages applications over many Kubernetes clusters from one hub that no cluster needs to be
reachable from. This is its command line; what it does can also be done with kubectl on the hub.

Exit codes: 0 done, 1 failed, 2 used wrongly, 3 something is not fine (status --check only),
4 no such object, 5 not allowed, 6 the hub can't be reached, or is none. "windlass kubectl" keeps kubectl's own.`,
		Version:                    version.Version,
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		Args:                       noSuchCommand,
		PersistentPreRun: func(command *cobra.Command, _ []string) {
			if command.Name() != kubectlName {
				silenceLibraries()
			}
		},
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	root.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		// A flag of a command that does not exist, such as kubectl's, is not what is wrong.
		if given := command.Flags().Args(); !command.HasParent() && len(given) > 0 {
			return noSuchCommand(command, given)
		}
		return usage(err)
	})
	connection.addFlags(root.PersistentFlags())
	root.AddCommand(
		newStatus(connection, streams),
		newPlacement(connection, streams),
		newCheck(connection, streams),
		newToken(connection, streams),
		newKubectl(streams),
		newVersion(streams),
	)
	completeContexts(root, connection)
	return root
}

// silenceLibraries drops what client-go logs beside the errors that it returns: those end up in the one line that a command says. kubectl
// keeps its log, for which it has flags; where it ran before in the same process it has left a goroutine that flushes what may not be
// exchanged under it.
func silenceLibraries() {
	klog.StopFlushDaemon()
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
}

// noSuchCommand refuses arguments that are no command; cobra's own check would exit like a failure.
func noSuchCommand(command *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	message := fmt.Sprintf("%q is no command of %q", args[0], command.CommandPath())
	if !command.HasParent() && slices.Contains(nodeCommands, args[0]) {
		return usage(fmt.Errorf("%s, and of %q one for nodes; %s", message, command.CommandPath()+" kubectl", byTaints(command, args[1:])))
	}
	if !command.HasParent() && kubectlHas(args[0]) {
		return usage(fmt.Errorf("%s; try %q", message, command.CommandPath()+" kubectl "+args[0]))
	}
	if near := command.SuggestionsFor(args[0]); len(near) > 0 {
		message += fmt.Sprintf("; did you mean %s?", strings.Join(near, " or "))
	}
	return usage(fmt.Errorf("%s", message))
}

// nodeCommands are those of kubectl that are for nodes, which a hub has none of. Who types them here means a cluster.
var nodeCommands = []string{"cordon", "uncordon", "drain", "taint"}

// byTaints says how a cluster is cordoned and drained.
func byTaints(command *cobra.Command, given []string) string {
	cluster := "NAME"
	if len(given) > 0 && !strings.HasPrefix(given[0], "-") {
		cluster = given[0]
	}
	return fmt.Sprintf("a cluster is cordoned by a taint NoSchedule in its spec.taints, such as {key: %s, effect: NoSchedule}, drained by one with the effect NoExecute, and comes back "+
		"without them; try %q", clusterv1alpha1.TaintUnschedulable, command.CommandPath()+" kubectl edit membercluster "+cluster)
}

// exactly makes a wrong number of arguments a usage error that names what is expected.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return usage(fmt.Errorf("expected %s, got %d arguments", what, len(args)))
	}
}

// oneOf checks the value of an output flag.
func oneOf(flag, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return usage(fmt.Errorf("%s %q is not known; it is one of: %s", flag, value, strings.Join(allowed, ", ")))
}
