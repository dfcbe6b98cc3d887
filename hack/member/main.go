// Command member is every process of a member cluster for tests and the quickstart in one
// binary: etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kwok, each the real
// one. One binary links once and shares its pages between the processes.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kwokconfig "sigs.k8s.io/kwok/pkg/config"
	kwok "sigs.k8s.io/kwok/pkg/kwok/cmd"
	kwoklog "sigs.k8s.io/kwok/pkg/log"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: member etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kwok [flags]")
		os.Exit(2)
	}
	component := os.Args[1]
	os.Args = os.Args[1:]
	if component == "etcd" {
		etcdmain.Main(os.Args)
		return
	}
	command, ok := map[string]func() *cobra.Command{
		"kube-apiserver":          apiserver.NewAPIServerCommand,
		"kube-controller-manager": controllermanager.NewControllerManagerCommand,
		"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
		"kwok":                    newKwokCommand,
	}[component]
	if !ok {
		fmt.Fprintf(os.Stderr, "member: no component %q\n", component)
		os.Exit(2)
	}
	os.Exit(cli.Run(command()))
}

// newKwokCommand reads the files of --config before the command is made: kwok takes its stages
// from the context and not from a flag of its own.
func newKwokCommand() *cobra.Command {
	flags := pflag.NewFlagSet("kwok", pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	flags.Usage = func() {}
	ctx, _ := kwoklog.InitFlags(context.Background(), flags)
	ctx, err := kwokconfig.InitFlags(ctx, flags)
	if err != nil {
		fmt.Fprintf(os.Stderr, "member kwok: reading --config: %v\n", err)
		os.Exit(1)
	}
	command := kwok.NewCommand(ctx)
	command.PersistentFlags().AddFlagSet(flags)
	command.SetContext(ctx)
	// cobra's own --version clashes with the one that the Kubernetes components register for the whole program.
	command.Version = ""
	return command
}
