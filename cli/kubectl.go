package cli

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	basecli "k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	kubectl "k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/plugin"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
)

const kubectlName = "kubectl"

// newKubectl is the whole kubectl as one command, so that a machine needs no other. Its flags,
// output and exit codes are kubectl's; flags of ours that stand before it are kubectl's as well.
func newKubectl(streams Streams) *cobra.Command {
	return &cobra.Command{
		Use:                kubectlName,
		Short:              "Run kubectl, on the hub or on any other context of the kubeconfig",
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			// kubectl's own main does this before it builds its commands, for what is logged while it does.
			if err := setVerbosity(kubectl.GetLogVerbosity(args)); err != nil {
				return usage(err)
			}
			if err := basecli.RunNoErrOutput(kubectlCommand(streams, args)); err != nil {
				kubectlutil.CheckErr(err) // prints and exits as kubectl does
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			return completeKubectl(args, toComplete)
		},
	}
}

// kubectlHas says whether a word is one of kubectl's commands.
func kubectlHas(word string) bool {
	found, _, err := kubectlCommand(Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}, nil).Find([]string{word})
	return err == nil && found.HasParent()
}

func setVerbosity(level string) error {
	if _, err := logs.GlogSetter(level); err != nil {
		return fmt.Errorf("-v %q: %w", level, err)
	}
	return nil
}

func kubectlCommand(streams Streams, args []string) *cobra.Command {
	std := genericiooptions.IOStreams{In: streams.In, Out: streams.Out, ErrOut: streams.Err}
	command := kubectl.NewDefaultKubectlCommandWithArgs(kubectl.KubectlOptions{
		PluginHandler: kubectl.NewDefaultPluginHandler(plugin.ValidPluginFilenamePrefixes),
		Arguments:     append([]string{"kubectl"}, args...),
		ConfigFlags: genericclioptions.NewConfigFlags(true).WithDeprecatedPasswordFlag().
			WithDiscoveryBurst(300).WithDiscoveryQPS(50).WithWarningPrinter(std),
		IOStreams: std,
	})
	command.SetArgs(args)
	return command
}

// completeKubectl asks kubectl's own completion.
func completeKubectl(args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	request := append(append([]string{cobra.ShellCompRequestCmd}, args...), toComplete)
	var out, discard bytes.Buffer
	command := kubectlCommand(Streams{In: strings.NewReader(""), Out: &out, Err: &discard}, request)
	command.SetOut(&out)
	command.SetErr(&discard)
	if err := command.Execute(); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return parseCompletions(out.String())
}

// parseCompletions reads what cobra prints for a shell: a line for each completion, and last a
// colon and the directive.
func parseCompletions(out string) ([]string, cobra.ShellCompDirective) {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	last := lines[len(lines)-1]
	directive, err := strconv.Atoi(strings.TrimPrefix(last, ":"))
	if !strings.HasPrefix(last, ":") || err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return lines[:len(lines)-1], cobra.ShellCompDirective(directive)
}
