// Command node is what makes a machine a real node of a member cluster for tests: kubelet and kube-proxy, each the
// real one, and an init under which they and containerd run apart from the rest of the machine.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	kubeproxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: node init|kubelet|kube-proxy [flags]")
		os.Exit(2)
	}
	component := os.Args[1]
	os.Args = os.Args[1:]
	switch component {
	case "init":
		os.Exit(initialize(os.Args[1:]))
	case "kubelet":
		os.Exit(run(kubelet.NewKubeletCommand(context.Background())))
	case "kube-proxy":
		os.Exit(run(kubeproxy.NewProxyCommand()))
	}
	fmt.Fprintf(os.Stderr, "node: no component %q\n", component)
	os.Exit(2)
}

func run(command *cobra.Command) int { return cli.Run(command) }
