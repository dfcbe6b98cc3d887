package agent

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"windlass.dev/windlass/pkg/identity"
	"windlass.dev/windlass/pkg/manifest"
)

// Config is every setting of the agent. In a file the fields bear the names of their JSON tags.
type Config struct {
	// Hub is HOST:PORT of the hub's link.
	Hub string `json:"hub"`
	// TokenFile holds the join token; the environment's WINDLASS_TOKEN may hold it instead.
	TokenFile string `json:"tokenFile,omitempty"`
	// ClusterName is the name under which the cluster is known to the hub; by default the one that
	// the token is bound to.
	ClusterName string `json:"clusterName,omitempty"`
	// Kubeconfig is how the member's API server is reached; by default as a pod of the member does.
	Kubeconfig string `json:"kubeconfig,omitempty"`
	// Labels are put on the MemberCluster when the cluster joins.
	Labels map[string]string `json:"labels,omitempty"`
	// Provider is who runs the cluster's machines; it is told when the cluster joins.
	Provider string `json:"provider,omitempty"`
	// Region is where the cluster stands; it is told when the cluster joins.
	Region string `json:"region,omitempty"`
	// Zones are the zones of its region that the cluster spans; they are told when it joins.
	Zones []string `json:"zones,omitempty"`
	// StateNamespace is where in the member the agent keeps its identity and the desired state; in a
	// pod it is the pod's own namespace by default.
	StateNamespace string `json:"stateNamespace,omitempty"`
	// WatchByNamespace watches what was applied in each namespace by itself, and not a kind in all of them at once: for
	// agents that have rights in some namespaces only.
	WatchByNamespace bool `json:"watchByNamespace,omitempty"`
	// ProxyCAFile holds the authorities that an HTTPS proxy's certificate may come from.
	ProxyCAFile string `json:"proxyCAFile,omitempty"`
	// HealthListen is where health and metrics are served; "" serves none.
	HealthListen string `json:"healthListen,omitempty"`
	// Profiling serves Go's profiles of the agent, /debug/pprof/, where health is served: for finding out what takes time or
	// memory. Whoever reaches that address can read them, and has the agent work for it.
	Profiling bool `json:"profiling,omitempty"`
	// RetryRefused is how long an agent that can't go on until a person acts, such as one whose token has
	// expired, stays there, not ready and saying why, before it tries again. With 0s it ends instead.
	RetryRefused metav1.Duration `json:"retryRefused,omitempty"`
	// LogLevel is the least that is logged: debug, info, warn or error.
	LogLevel string `json:"logLevel,omitempty"`

	// Guard is what the cluster's owner forbids every work.
	Guard GuardConfig `json:"guard,omitempty"`
	// Apply are the settings of applying.
	Apply ApplyConfig `json:"apply,omitempty"`
	// Facts are the settings of what is reported of the cluster as a whole.
	Facts FactsConfig `json:"facts,omitempty"`
	// Reports are the settings of what is reported of single works.
	Reports ReportsConfig `json:"reports,omitempty"`
	// Brake are the settings of the brake on deletions.
	Brake BrakeConfig `json:"brake,omitempty"`
	// Link are the settings of the connection to the hub.
	Link LinkConfig `json:"link,omitempty"`
}

// LinkConfig are the settings of the connection to the hub. The wait before another attempt is drawn
// between 0 and a ceiling that doubles with every attempt that fails.
type LinkConfig struct {
	// MinBackoff is where the ceiling begins.
	MinBackoff metav1.Duration `json:"minBackoff,omitempty"`
	// MaxBackoff is where the ceiling ends. For two minutes after the hub is gone it stays at twice minBackoff while nobody takes the connection.
	MaxBackoff metav1.Duration `json:"maxBackoff,omitempty"`
	// StableAfter is how long a session must last for the ceiling to fall back to minBackoff.
	StableAfter metav1.Duration `json:"stableAfter,omitempty"`
}

// GuardConfig is what the cluster's owner forbids every work: such objects are neither written, taken
// over, changed nor deleted, and no hub can change that.
type GuardConfig struct {
	// Namespaces are the names of guarded namespaces, of all their objects, and of the Namespace
	// objects themselves; * stands for any letters: kube-system, team-*.
	Namespaces []string `json:"namespaces,omitempty"`
	// Kinds are guarded kinds: KIND in any group, GROUP/KIND, or GROUP/* for all kinds of a group.
	// The group without a name is core, and * stands for any letters: Secret, apps/Deployment,
	// rbac.authorization.k8s.io/*. The definition of a custom kind is guarded with the kind.
	Kinds []string `json:"kinds,omitempty"`
}

// ApplyConfig are the settings of applying.
type ApplyConfig struct {
	// Workers is how many works are handled at once.
	Workers int `json:"workers,omitempty"`
	// MaxBackoff bounds the delay between attempts at one object.
	MaxBackoff metav1.Duration `json:"maxBackoff,omitempty"`
	// FightCorrections is how often an object may be put right within fightWindow: what is changed
	// more often is being fought over, and is put right at growing intervals from then on.
	FightCorrections int `json:"fightCorrections,omitempty"`
	// FightWindow is the time in which corrections of one object are counted.
	FightWindow metav1.Duration `json:"fightWindow,omitempty"`
}

// FactsConfig are the settings of what is reported of the cluster as a whole.
type FactsConfig struct {
	// Interval is the shortest time between two reports.
	Interval metav1.Duration `json:"interval,omitempty"`
	// Threshold is the part by which a number must change to be reported at once.
	Threshold float64 `json:"threshold,omitempty"`
	// MaxAge is after how long smaller changes are reported.
	MaxAge metav1.Duration `json:"maxAge,omitempty"`
}

// ReportsConfig are the settings of what is reported of single works.
type ReportsConfig struct {
	// Settle is how long the report of a work that is applied and not healthy yet waits for a newer
	// one; with 0s every step of a rollout is reported. Failures and health never wait.
	Settle metav1.Duration `json:"settle,omitempty"`
}

// BrakeConfig are the settings of the brake on deletions: more than the larger of least and percent
// of the works within window wait for a confirmation.
type BrakeConfig struct {
	// Least is how many works may always be deleted within window.
	Least int `json:"least,omitempty"`
	// Percent is the share of all works that may be deleted within window.
	Percent int `json:"percent,omitempty"`
	// Window is the time in which deletions are counted.
	Window metav1.Duration `json:"window,omitempty"`
}

// namespaceFile names the namespace of the pod that this process runs in.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

const defaultNamespace = "windlass-system"

// DefaultConfig returns the settings of an agent that was told nothing.
func DefaultConfig() Config {
	config := Config{StateNamespace: defaultNamespace, HealthListen: ":8081", LogLevel: "info"}
	if namespace := podNamespace(); namespace != "" {
		config.StateNamespace = namespace
	}
	config.Apply = ApplyConfig{
		Workers: 32, MaxBackoff: metav1.Duration{Duration: 5 * time.Minute},
		FightCorrections: 5, FightWindow: metav1.Duration{Duration: time.Minute},
	}
	config.Facts = FactsConfig{
		Interval: metav1.Duration{Duration: 10 * time.Second}, Threshold: 0.05,
		MaxAge: metav1.Duration{Duration: 5 * time.Minute},
	}
	config.Reports = ReportsConfig{Settle: metav1.Duration{Duration: 500 * time.Millisecond}}
	config.Link = LinkConfig{
		MinBackoff: metav1.Duration{Duration: time.Second}, MaxBackoff: metav1.Duration{Duration: time.Minute},
		StableAfter: metav1.Duration{Duration: 2 * time.Minute},
	}
	config.Brake = BrakeConfig{Least: 10, Percent: 5, Window: metav1.Duration{Duration: 5 * time.Minute}}
	return config
}

// podNamespace is the namespace of the pod that this process runs in; empty outside one.
func podNamespace() string {
	raw, err := os.ReadFile(namespaceFile)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}

// ReadFile lays the settings of a YAML file over the present ones. A setting that does not exist is
// an error.
func (c *Config) ReadFile(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	if err := yaml.UnmarshalStrict(raw, c); err != nil {
		return fmt.Errorf("--config: reading %s: %w", path, err)
	}
	return nil
}

// Validate says what is wrong with the settings, and by which flag or field to put it right.
func (c *Config) Validate() error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	switch host, port, err := net.SplitHostPort(c.Hub); {
	case c.Hub == "":
		problem("--hub is not set: it is HOST:PORT of the hub's link")
	case identity.LooksLikeToken(c.Hub):
		problem("--hub: this is a join token; --hub is HOST:PORT of the hub's link, and the join token goes into the environment's WINDLASS_TOKEN or a file named by --token-file")
	case err != nil:
		problem("--hub: %q is not HOST:PORT: %v", c.Hub, err)
	case host == "":
		problem("--hub: %q has no host: it is HOST:PORT of the hub's link", c.Hub)
	default:
		if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
			problem("--hub: %q has no port from 1 to 65535: it is HOST:PORT of the hub's link, 8443 by default", c.Hub)
		}
	}
	if c.ClusterName != "" {
		if err := identity.ValidateClusterName(c.ClusterName); err != nil {
			problem("--cluster-name: %w", err)
		}
	}
	if errs := validation.IsDNS1123Label(c.StateNamespace); len(errs) > 0 {
		problem("--state-namespace: %q: %s", c.StateNamespace, strings.Join(errs, "; "))
	}
	for key, value := range c.Labels {
		if err := identity.ValidateClusterLabel(key, value); err != nil {
			problem("--labels: %w", err)
		}
	}
	switch c.LogLevel {
	case "debug", "info", "warn", "error":
	default:
		problem("--log-level: %q is not debug, info, warn or error", c.LogLevel)
	}
	if c.HealthListen != "" {
		if _, _, err := net.SplitHostPort(c.HealthListen); err != nil {
			problem("--health-listen: %q is not HOST:PORT: %v", c.HealthListen, err)
		}
	}
	if _, err := manifest.NewGuard(c.Guard.Namespaces, c.Guard.Kinds); err != nil {
		for _, line := range strings.Split(err.Error(), "\n") {
			problem("guard.%s", line)
		}
	}
	for _, setting := range []struct {
		name  string
		value any
		wrong bool
		want  string
	}{
		{"retryRefused", c.RetryRefused.Duration, c.RetryRefused.Duration < 0, "0s or more"},
		{"apply.workers", c.Apply.Workers, c.Apply.Workers < 0, "0 or more"},
		{"apply.maxBackoff", c.Apply.MaxBackoff.Duration, c.Apply.MaxBackoff.Duration < 0, "0s or more"},
		{"apply.fightCorrections", c.Apply.FightCorrections, c.Apply.FightCorrections < 0, "0 or more"},
		{"apply.fightWindow", c.Apply.FightWindow.Duration, c.Apply.FightWindow.Duration < 0, "0s or more"},
		{"facts.interval", c.Facts.Interval.Duration, c.Facts.Interval.Duration < 0, "0s or more"},
		{"facts.threshold", c.Facts.Threshold, c.Facts.Threshold < 0, "0 or more"},
		{"facts.maxAge", c.Facts.MaxAge.Duration, c.Facts.MaxAge.Duration < 0, "0s or more"},
		{"reports.settle", c.Reports.Settle.Duration, c.Reports.Settle.Duration < 0, "0s or more"},
		{"brake.least", c.Brake.Least, c.Brake.Least < 1, "1 or more"},
		{"brake.percent", c.Brake.Percent, c.Brake.Percent < 1 || c.Brake.Percent > 100, "1 to 100"},
		{"brake.window", c.Brake.Window.Duration, c.Brake.Window.Duration <= 0, "more than 0s"},
		{"link.minBackoff", c.Link.MinBackoff.Duration, c.Link.MinBackoff.Duration < 0, "0s or more"},
		{"link.maxBackoff", c.Link.MaxBackoff.Duration, c.Link.MaxBackoff.Duration < c.Link.MinBackoff.Duration, "link.minBackoff or more"},
		{"link.stableAfter", c.Link.StableAfter.Duration, c.Link.StableAfter.Duration < 0, "0s or more"},
	} {
		if setting.wrong {
			problem("%s is %v: want %s", setting.name, setting.value, setting.want)
		}
	}
	return errors.Join(problems...)
}
