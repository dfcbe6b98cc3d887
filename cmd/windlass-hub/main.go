// Command windlass-hub is the hub: flags and a configuration file become a settings.Config, and that runs.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"windlass.dev/windlass/hub"
	"windlass.dev/windlass/hub/settings"
	"windlass.dev/windlass/hub/stray"
	"windlass.dev/windlass/pkg/memory"
	"windlass.dev/windlass/pkg/version"
)

func main() {
	debug.SetMemoryLimit(memory.GoLimit(os.Getenv))
	stderr := stray.Stderr()
	// Flags that libraries declare for every program, such as the API server's own --version, mean
	// nothing here, and cobra would take them.
	pflag.CommandLine = pflag.NewFlagSet("windlass-hub", pflag.ContinueOnError)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newCommand(stderr).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(stderr, "windlass-hub: "+strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(1)
	}
}

func newCommand(stderr io.Writer) *cobra.Command {
	config := settings.DefaultConfig()
	var file string
	command := &cobra.Command{
		Use:     "windlass-hub",
		Short:   "Run the hub: its Kubernetes API, the controllers, and the link to the agents",
		Version: version.Version,
		Args:    cobra.NoArgs,
		// Errors are printed once, by main, and are no reason to print all flags.
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(command *cobra.Command, _ []string) error {
			config, err := resolve(command.Flags(), file)
			if err != nil {
				return err
			}
			log := newLog(stderr, config.LogLevel)
			slog.SetDefault(log)
			if err := stray.Divert(log); err != nil {
				return err
			}
			return hub.Run(command.Context(), config, log)
		},
	}
	command.Flags().StringVar(&file, "config", "", "YAML file with any setting; flags win over it")
	bind(command.Flags(), &config)
	return command
}

// bind declares the flags. Every other setting is in the configuration file only.
func bind(flags *pflag.FlagSet, config *settings.Config) {
	flags.StringVar(&config.DataDir, "data-dir", config.DataDir, "directory of the embedded etcd, the keys and the admin kubeconfig")
	flags.StringVar(&config.PKIDir, "pki-dir", config.PKIDir, "directory of the hub's certificate authorities and keys (default <data-dir>/pki)")
	flags.StringVar(&config.APIListen, "api-listen", config.APIListen, "address on which the hub's Kubernetes API listens for users")
	flags.StringVar(&config.LinkListen, "link-listen", config.LinkListen, "address on which the hub listens for agents")
	flags.StringVar(&config.AdvertiseAddress, "advertise-address", config.AdvertiseAddress, "host name or IP address that users and agents dial (default the first address of this machine)")
	flags.StringSliceVar(&config.TLSSANs, "tls-san", config.TLSSANs, "further host names and IP addresses for the hub's certificates")
	flags.StringSliceVar(&config.Etcd.Servers, "etcd-servers", config.Etcd.Servers, "URLs of an external etcd, instead of the embedded one")
	flags.StringVar(&config.Etcd.CAFile, "etcd-cafile", config.Etcd.CAFile, "authority of the external etcd's certificates, PEM")
	flags.StringVar(&config.Etcd.CertFile, "etcd-certfile", config.Etcd.CertFile, "client certificate for the external etcd, PEM")
	flags.StringVar(&config.Etcd.KeyFile, "etcd-keyfile", config.Etcd.KeyFile, "key of --etcd-certfile, PEM")
	flags.StringVar(&config.LogLevel, "log-level", config.LogLevel, "the least that is logged: debug, info, warn or error")
}

// resolve lays the file over the defaults, and the flags that were given over both.
func resolve(given *pflag.FlagSet, file string) (settings.Config, error) {
	config := settings.DefaultConfig()
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
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			err = target.Value.(pflag.SliceValue).Replace(list.GetSlice())
			return
		}
		err = target.Value.Set(flag.Value.String())
	})
	return config, err
}

func newLog(to io.Writer, level string) *slog.Logger {
	var lowest slog.Level
	_ = lowest.UnmarshalText([]byte(level)) // Config.Complete says what is wrong with it
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: lowest}))
}
