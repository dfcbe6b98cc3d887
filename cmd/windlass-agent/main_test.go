package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"windlass.dev/windlass/agent"
)

func TestATokenThatIsAnArgumentOrTheHubsAddressIsNotPrinted(t *testing.T) {
	const secret = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst"
	token := "wl1.abcdefgh." + secret + "." + strings.Repeat("0", 64)
	for _, arguments := range [][]string{{token}, {"--hub=hub:8443", token}, {"join", token}, {token[20:]}, {"--hub", token}} {
		command := newCommand()
		var output strings.Builder
		command.SetArgs(arguments)
		command.SetOut(&output)
		command.SetErr(io.MultiWriter(&output))
		err := command.ExecuteContext(t.Context())
		if err == nil {
			t.Fatalf("%d arguments were taken", len(arguments))
		}
		if said := err.Error() + output.String(); strings.Contains(said, secret[20:]) || !strings.Contains(said, "WINDLASS_TOKEN") || !strings.Contains(said, "--token-file") {
			t.Errorf("it says %q", said)
		}
	}
}

func TestAFlagMeansWhatWasGivenAndWinsOverTheFile(t *testing.T) {
	const file = "hub: hub.example.com:8443\nhealthListen: :8081\nlabels: {tier: edge}\nzones: [a]\n"
	for _, c := range []struct {
		reason    string
		arguments []string
		want      func(*agent.Config)
	}{
		{"what no flag says is the file's", nil, func(*agent.Config) {}},
		{"an address", []string{"--hub=hub.example.org:443"}, func(c *agent.Config) { c.Hub = "hub.example.org:443" }},
		{"an IPv6 address keeps its brackets", []string{"--hub=[2001:db8::1]:8443"}, func(c *agent.Config) { c.Hub = "[2001:db8::1]:8443" }},
		{"every address of the host", []string{"--health-listen=[::]:8081"}, func(c *agent.Config) { c.HealthListen = "[::]:8081" }},
		{"no address", []string{"--health-listen="}, func(c *agent.Config) { c.HealthListen = "" }},
		{"labels", []string{"--labels=a=b,c=d", "--labels=e=f"}, func(c *agent.Config) { c.Labels = map[string]string{"a": "b", "c": "d", "e": "f"} }},
		{"zones", []string{"--zones=b,c", "--zones=d"}, func(c *agent.Config) { c.Zones = []string{"b", "c", "d"} }},
	} {
		t.Run(c.reason, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
				t.Fatal(err)
			}
			want := agent.DefaultConfig()
			if err := want.ReadFile(path); err != nil {
				t.Fatal(err)
			}
			c.want(&want)
			flags, config := pflag.NewFlagSet("", pflag.ContinueOnError), agent.DefaultConfig()
			bind(flags, &config)
			if err := flags.Parse(c.arguments); err != nil {
				t.Fatal(err)
			}
			got, err := resolve(flags, path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
