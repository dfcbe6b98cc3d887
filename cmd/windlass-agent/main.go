// Command windlass-agent is the agent of one member cluster: flags and a configuration file become
// an agent.Config, and that runs.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/klog/v2"

	"windlass.dev/windlass/agent"
	"windlass.dev/windlass/agent/enroll"
	"windlass.dev/windlass/pkg/memory"
	"windlass.dev/windlass/pkg/version"
)

func main() {
	// Flags that libraries declare for every program mean nothing here, and cobra would take them.
	pflag.CommandLine = pflag.NewFlagSet("windlass-agent", pflag.ContinueOnError)
	// The agent shares its node with what the cluster is there for: it collects garbage earlier than
	// Go does by default, which costs it next to nothing. GOGC and GOMEMLIMIT say otherwise.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(40)
	}
	debug.SetMemoryLimit(memory.GoLimit(os.Getenv))
	// For the same reason it takes one processor at a time: on several, Go's scheduler spends a fifth of what an agent
	// takes on looking for work that is not there. GOMAXPROCS says otherwise.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "windlass-agent: "+strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	config := agent.DefaultConfig()
	var file string
	command := &cobra.Command{
		Use:     "windlass-agent",
		Short:   "Run the agent of a member cluster: it joins a hub, applies what the hub wants, and reports",
		Version: version.Version,
		Args:    noArguments,
		// Errors are printed once, by main, and are no reason to print all flags.
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(command *cobra.Command, _ []string) error {
			config, err := resolve(command.Flags(), file)
			if err != nil {
				return err
			}
			logger := newLog(config.LogLevel)
			klog.SetSlogLogger(logger)
			slog.SetDefault(logger)
			return agent.Run(command.Context(), config, logger)
		},
	}
	command.Flags().StringVar(&file, "config", "", "YAML file with any setting; flags win over it")
	bind(command.Flags(), &config)
	command.AddCommand(newCheck())
	command.CompletionOptions.DisableDefaultCmd = true
	command.SetHelpCommand(&cobra.Command{Hidden: true})
	return command
}

// noArguments does not repeat what it was given: that may be the join token, and errors go into logs.
func noArguments(_ *cobra.Command, arguments []string) error {
	if len(arguments) == 0 {
		return nil
	}
	return fmt.Errorf("there are arguments that belong to no flag (%d, not shown, for one may be a join token): the join token goes into the environment's %s or a file named by --token-file; for the rest see --help",
		len(arguments), enroll.TokenVariable)
}

// bind declares the flags. Every other setting is in the configuration file only.
func bind(flags *pflag.FlagSet, config *agent.Config) {
	flags.StringVar(&config.Hub, "hub", config.Hub, "HOST:PORT of the hub's link")
	flags.StringVar(&config.TokenFile, "token-file", config.TokenFile, "file with the join token; the environment's WINDLASS_TOKEN may hold it instead")
	flags.StringVar(&config.ClusterName, "cluster-name", config.ClusterName, "name under which the hub knows this cluster (default the one that the token is bound to)")
	flags.StringVar(&config.Kubeconfig, "kubeconfig", config.Kubeconfig, "how this cluster's API server is reached (default as a pod of the cluster does)")
	flags.StringToStringVar(&config.Labels, "labels", config.Labels, "labels of the cluster on the hub, when it joins: key=value,…")
	flags.StringVar(&config.Provider, "provider", config.Provider, "who runs the cluster's machines, when it joins")
	flags.StringVar(&config.Region, "region", config.Region, "the cluster's region, when it joins")
	flags.StringSliceVar(&config.Zones, "zones", config.Zones, "the cluster's zones, when it joins")
	flags.StringVar(&config.StateNamespace, "state-namespace", config.StateNamespace, "namespace in this cluster for the agent's identity and the desired state")
	flags.StringVar(&config.ProxyCAFile, "proxy-ca-file", config.ProxyCAFile, "authorities of an HTTPS proxy's certificate, PEM (default those of the system)")
	flags.StringVar(&config.HealthListen, "health-listen", config.HealthListen, `address for /healthz, /readyz and /metrics; "" for none`)
	flags.StringVar(&config.LogLevel, "log-level", config.LogLevel, "the least that is logged: debug, info, warn or error")
}

// resolve lays the file over the defaults, and the flags that were given over both.
func resolve(given *pflag.FlagSet, file string) (agent.Config, error) {
	config := agent.DefaultConfig()
	if file != "" {
		if err := config.ReadFile(file); err != nil {
			return config, err
		}
	}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	bind(flags, &config)
	var err error
	given.Visit(func(flag *pflag.Flag) {
		target := flags.Lookup(flag.Name)
		if target == nil || err != nil {
			return
		}
		value := flag.Value.String()
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			err = target.Value.(pflag.SliceValue).Replace(list.GetSlice())
			return
		}
		if flag.Value.Type() == "stringToString" { // written as [a=b,c=d]; brackets of others are their own
			value = strings.TrimSuffix(strings.TrimPrefix(value, "["), "]")
		}
		err = target.Value.Set(value)
	})
	return config, err
}

func newLog(level string) *slog.Logger {
	var lowest slog.Level
	_ = lowest.UnmarshalText([]byte(level)) // Config.Validate says what is wrong with it
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: lowest}))
}
