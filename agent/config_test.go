package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTheFileIsLaidOverTheDefaultsAndItsMistakesAreNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.yaml")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("hub: hub.example.com:8443\nlabels: {tier: edge}\napply: {fightWindow: 2m}\nguard: {namespaces: [kube-system], kinds: [\"rbac.authorization.k8s.io/*\"]}\n")
	config := DefaultConfig()
	if err := config.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	if config.Hub != "hub.example.com:8443" || config.Labels["tier"] != "edge" || config.Apply.FightWindow.Duration != 2*time.Minute ||
		len(config.Guard.Namespaces) != 1 || config.Guard.Kinds[0] != "rbac.authorization.k8s.io/*" {
		t.Errorf("read %+v", config)
	}
	if config.Apply.Workers != 32 || config.LogLevel != "info" {
		t.Errorf("the defaults of what the file does not name are gone: %+v", config)
	}
	if err := config.Validate(); err != nil {
		t.Error(err)
	}
	write("hbu: x\n")
	if err := config.ReadFile(path); err == nil || !strings.Contains(err.Error(), "hbu") || !strings.Contains(err.Error(), path) {
		t.Errorf("a setting that does not exist: got %v", err)
	}
	if err := config.ReadFile(path + "x"); err == nil {
		t.Error("a file that does not exist is read")
	}
}

func TestEveryWrongSettingIsNamedByItsFlag(t *testing.T) {
	for _, c := range []struct {
		flag   string
		change func(*Config)
	}{
		{"--hub", func(c *Config) { c.Hub = "" }},
		{"--hub", func(c *Config) { c.Hub = "no-port" }},
		{"--hub", func(c *Config) { c.Hub = "hub:" }},
		{"--hub", func(c *Config) { c.Hub = ":8443" }},
		{"--hub", func(c *Config) { c.Hub = "hub:70000" }},
		{"--hub", func(c *Config) { c.Hub = "hub:https" }},
		{"--labels", func(c *Config) { c.Labels = map[string]string{"cluster.karmada.io/x": "y"} }},
		{"--cluster-name", func(c *Config) { c.ClusterName = "UPPER" }},
		{"--state-namespace", func(c *Config) { c.StateNamespace = "a/b" }},
		{"--labels", func(c *Config) { c.Labels = map[string]string{"a b": "c"} }},
		{"--labels", func(c *Config) { c.Labels = map[string]string{"a": "b c"} }},
		{"--log-level", func(c *Config) { c.LogLevel = "loud" }},
		{"--health-listen", func(c *Config) { c.HealthListen = "8081" }},
		{"apply.workers is -1: want 0 or more", func(c *Config) { c.Apply.Workers = -1 }},
		{"guard.namespaces[1]", func(c *Config) { c.Guard.Namespaces = []string{"team-*", "Team"} }},
		{"guard.kinds[0]", func(c *Config) { c.Guard.Kinds = []string{"secrets"} }},
		{"brake.percent is 101: want 1 to 100", func(c *Config) { c.Brake.Percent = 101 }},
		{"brake.percent", func(c *Config) { c.Brake.Percent = 0 }}, // would mean the default
		{"brake.least is 0: want 1 or more", func(c *Config) { c.Brake.Least = 0 }},
		{"brake.window is 0s: want more than 0s", func(c *Config) { c.Brake.Window.Duration = 0 }},
		{"link.maxBackoff is 1ms: want link.minBackoff or more", func(c *Config) { c.Link.MaxBackoff.Duration = time.Millisecond }},
	} {
		config := DefaultConfig()
		config.Hub = "hub:8443"
		c.change(&config)
		if err := config.Validate(); err == nil || !strings.Contains(err.Error(), c.flag) {
			t.Errorf("%s: got %v", c.flag, err)
		}
	}
}
