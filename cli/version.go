package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"windlass.dev/windlass/pkg/version"
)

// outputVersion is the version of every JSON that the command line prints. Fields may be added to
// it; none changes or goes away.
const outputVersion = "cli.windlass.dev/v1"

// build is what this binary was made of.
type build struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Version    string `json:"version"`
	Commit     string `json:"commit,omitempty"`
	Modified   bool   `json:"modified,omitempty"`
	GoVersion  string `json:"goVersion"`
	Platform   string `json:"platform"`
}

func currentBuild() build {
	b := build{
		APIVersion: outputVersion, Kind: "Version",
		Version: version.Version, GoVersion: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			switch setting.Key {
			case "vcs.revision":
				b.Commit = setting.Value
			case "vcs.modified":
				b.Modified = setting.Value == "true"
			}
		}
	}
	return b
}

func newVersion(streams Streams) *cobra.Command {
	output := "text"
	command := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this command line",
		Args:  exactly(0, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			if err := oneOf("-o", output, "text", "json"); err != nil {
				return err
			}
			b := currentBuild()
			if output == "json" {
				return printJSON(streams.Out, b)
			}
			_, err := fmt.Fprintf(streams.Out, "windlass %s (%s, %s)\n", b.Version, b.GoVersion, b.Platform)
			return err
		},
	}
	command.Flags().StringVarP(&output, "output", "o", output, "text or json")
	return command
}

func printJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}
