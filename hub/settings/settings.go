// Package settings alone is responsible for what can be set of a hub: the names, the defaults, the
// file they stand in, and which values can't work.
package settings

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"windlass.dev/windlass/pkg/session"
)

// Config is every setting of a hub. The same names stand in the YAML file that --config names; a
// flag wins over the file.
type Config struct {
	// DataDir holds the embedded etcd, the admin kubeconfig and, unless pkiDir says otherwise, the
	// hub's keys. It is made when it is missing.
	DataDir string `json:"dataDir"`
	// PKIDir holds the hub's certificate authorities and keys, which several hubs share.
	// <dataDir>/pki when empty.
	PKIDir string `json:"pkiDir,omitempty"`
	// APIListen is where users reach the hub's Kubernetes API, HOST:PORT.
	APIListen string `json:"apiListen"`
	// LinkListen is where agents reach the hub, HOST:PORT.
	LinkListen string `json:"linkListen"`
	// AdvertiseAddress is the host name or IP address that users and agents dial. The address of
	// the first network interface when empty.
	AdvertiseAddress string `json:"advertiseAddress,omitempty"`
	// AdvertiseLinkPort is the port that agents dial when it is not the one of linkListen, because
	// a load balancer or a NodePort stands between. 0 is the port of linkListen.
	AdvertiseLinkPort int `json:"advertiseLinkPort,omitempty"`
	// TLSSANs are further host names and IP addresses for the hub's certificates.
	TLSSANs []string `json:"tlsSANs,omitempty"`
	// Etcd is the hub's store: the embedded etcd, or an external one.
	Etcd EtcdConfig `json:"etcd,omitempty"`
	// APIServerFlags are further settings of the Kubernetes API server, by the names of its flags,
	// such as audit-policy-file or oidc-issuer-url.
	APIServerFlags map[string]string `json:"apiServerFlags,omitempty"`
	// KubeconfigSecret hands out the admin kubeconfig in the cluster that the hub runs in as a pod.
	KubeconfigSecret KubeconfigSecretConfig `json:"kubeconfigSecret,omitempty"`
	// LogLevel is the least that is logged: debug, info, warn or error.
	LogLevel string `json:"logLevel,omitempty"`
	// Controllers are the settings of the hub's controllers.
	Controllers ControllersConfig `json:"controllers,omitempty"`
	// Link are the settings of the sessions with agents.
	Link LinkConfig `json:"link,omitempty"`
	// Capacity are the settings of how the room in clusters is found out.
	Capacity CapacityConfig `json:"capacity,omitempty"`
}

// EtcdConfig says how large the embedded etcd may become, or how to reach an external one.
type EtcdConfig struct {
	// Servers are its URLs; without any, the embedded etcd is used.
	Servers []string `json:"servers,omitempty"`
	// CAFile is the authority of the servers' certificates, PEM.
	CAFile string `json:"caFile,omitempty"`
	// CertFile is the hub's client certificate, PEM.
	CertFile string `json:"certFile,omitempty"`
	// KeyFile is the key of certFile, PEM.
	KeyFile string `json:"keyFile,omitempty"`
	// QuotaGiB is how large the file of the embedded etcd may become, in GiB; as large as that, it takes no more
	// writes. An external one has a quota of its own.
	QuotaGiB int `json:"quotaGiB,omitempty"`
}

// KubeconfigSecretConfig says where the admin kubeconfig is handed out.
type KubeconfigSecretConfig struct {
	// Name is the name of a Secret in the pod's own namespace, which gets the key kubeconfig; without it
	// none is written.
	Name string `json:"name,omitempty"`
	// Server is the URL of the hub's API that stands in it; the advertised address when empty.
	Server string `json:"server,omitempty"`
	// CAFile holds authorities, PEM, that stand in it beside the hub's own, because the API shows
	// another certificate under that name. A file that is not there is as good as an empty one.
	CAFile string `json:"caFile,omitempty"`
}

// ControllersConfig are the settings of the controllers.
type ControllersConfig struct {
	// Workers is how many objects of a kind each controller works on at the same time.
	Workers int `json:"workers,omitempty"`
	// ClusterGrace is how long a cluster may be without a session before it is called unreachable.
	ClusterGrace metav1.Duration `json:"clusterGrace,omitempty"`
	// ClusterLost is after how long without a session it is said of a ready cluster that its
	// connection is lost. It stays ready until clusterGrace is over. A shorter break is not written
	// down.
	ClusterLost metav1.Duration `json:"clusterLost,omitempty"`
	// StatusSettle is how long a status that is still moving waits for more reports before it is
	// written.
	StatusSettle metav1.Duration `json:"statusSettle,omitempty"`
	// PolicyStatusInterval is the least time between two writes of one policy's status.
	PolicyStatusInterval metav1.Duration `json:"policyStatusInterval,omitempty"`
	// KindRetryInterval is after how long a kind that a policy selects and nobody serves is looked
	// for again. It doubles with every look. A CustomResourceDefinition or APIService that is applied
	// is noticed at once.
	KindRetryInterval metav1.Duration `json:"kindRetryInterval,omitempty"`
	// KindRetryMost is up to where kindRetryInterval doubles.
	KindRetryMost metav1.Duration `json:"kindRetryMost,omitempty"`
	// EvictionGrace is how long nobody may say whether what has moved away from a cluster with a taint NoExecute is
	// healthy at its new place. After that the old copy goes all the same, unless it has replicas; it never goes before the
	// new one is applied, nor while the new one is unhealthy.
	EvictionGrace metav1.Duration `json:"evictionGrace,omitempty"`
	// KeepEmptyWorkloads sends a workload also to clusters that get none of its replicas.
	KeepEmptyWorkloads bool `json:"keepEmptyWorkloads,omitempty"`
	// PropagateNamespaces sends every user namespace to every cluster, as Karmada does. Without it
	// a namespace is made in a member when something in it arrives there.
	PropagateNamespaces bool `json:"propagateNamespaces,omitempty"`
}

// LinkConfig are the settings of the sessions with agents.
type LinkConfig struct {
	// HeartbeatInterval is how often an agent sends a heartbeat.
	HeartbeatInterval metav1.Duration `json:"heartbeatInterval,omitempty"`
	// HeartbeatTimeout is the silence after which a session ends.
	HeartbeatTimeout metav1.Duration `json:"heartbeatTimeout,omitempty"`
	// Window is how many changes an agent may have outstanding.
	Window int `json:"window,omitempty"`
	// DeletionLimit is how many objects of a cluster may be deleted in deletionWindow before a
	// person has to confirm; deletionPercent of the cluster's objects counts when it is more.
	DeletionLimit int `json:"deletionLimit,omitempty"`
	// DeletionPercent is the share of a cluster's objects, see deletionLimit.
	DeletionPercent int `json:"deletionPercent,omitempty"`
	// DeletionWindow is the time in which deletions are counted.
	DeletionWindow metav1.Duration `json:"deletionWindow,omitempty"`
}

// CapacityConfig are the settings of how the room in clusters is found out.
type CapacityConfig struct {
	// Timeout is how long agents have to say for how many replicas there is room. Of a cluster whose
	// agent takes longer the sums count that it told last.
	Timeout metav1.Duration `json:"timeout,omitempty"`
	// MaxAge is how long such an answer is good, unless the cluster is known to have changed.
	MaxAge metav1.Duration `json:"maxAge,omitempty"`
	// AssumeFor is how long replicas that were placed are taken off a cluster's room when they don't
	// show there.
	AssumeFor metav1.Duration `json:"assumeFor,omitempty"`
}

// DefaultConfig is what holds when nothing is said.
func DefaultConfig() Config {
	return Config{
		DataDir:    "/var/lib/windlass",
		APIListen:  ":6443",
		LinkListen: ":8443",
		Etcd:       EtcdConfig{QuotaGiB: 8},
		LogLevel:   "info",
		Controllers: ControllersConfig{
			Workers:              4,
			ClusterGrace:         duration(40 * time.Second),
			ClusterLost:          duration(5 * time.Second),
			StatusSettle:         duration(300 * time.Millisecond),
			PolicyStatusInterval: duration(time.Second),
			KindRetryInterval:    duration(time.Second),
			KindRetryMost:        duration(time.Minute),
			EvictionGrace:        duration(10 * time.Minute),
		},
		Link: LinkConfig{
			HeartbeatInterval: duration(20 * time.Second),
			HeartbeatTimeout:  duration(45 * time.Second),
			Window:            128,
			DeletionLimit:     10,
			DeletionPercent:   5,
			DeletionWindow:    duration(5 * time.Minute),
		},
		Capacity: CapacityConfig{
			Timeout:   duration(time.Second),
			MaxAge:    duration(3 * time.Second),
			AssumeFor: duration(5 * time.Minute),
		},
	}
}

func duration(d time.Duration) metav1.Duration { return metav1.Duration{Duration: d} }

// ReadFile lays the settings of a YAML file over the config. Unknown names are errors.
func (c *Config) ReadFile(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	if err := yaml.UnmarshalStrict(content, c); err != nil {
		return fmt.Errorf("reading the configuration %s: %w", path, cmp.Or(wrongDuration(content), err))
	}
	return nil
}

// wrongDuration names the first setting that should be a duration and is none: what the decoder says
// of it has no name in it.
func wrongDuration(content []byte) error {
	var given map[string]any
	if yaml.Unmarshal(content, &given) != nil {
		return nil
	}
	return wrongDurationIn(reflect.TypeFor[Config](), given, "")
}

func wrongDurationIn(group reflect.Type, given map[string]any, path string) error {
	for i := range group.NumField() {
		field := group.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		value, set := given[name]
		if inner, ok := value.(map[string]any); ok && field.Type.Kind() == reflect.Struct {
			if err := wrongDurationIn(field.Type, inner, path+name+"."); err != nil {
				return err
			}
		}
		if !set || field.Type != reflect.TypeFor[metav1.Duration]() {
			continue
		}
		text, _ := value.(string)
		if _, err := time.ParseDuration(text); err != nil {
			return fmt.Errorf("%s%s is %v: want a duration, such as 90s, 5m or 1h30m", path, name, value)
		}
	}
	return nil
}

// Complete fills in what follows from the rest, and says what can't work. All mistakes are named
// at once.
func (c *Config) Complete() error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.DataDir == "" {
		refuse("dataDir (--data-dir) is empty: say where the hub keeps its data")
	}
	if c.PKIDir == "" {
		c.PKIDir = filepath.Join(c.DataDir, "pki")
	}
	for name, address := range map[string]string{"apiListen (--api-listen)": c.APIListen, "linkListen (--link-listen)": c.LinkListen} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			refuse("%s is %q: want HOST:PORT or :PORT", name, address)
		}
	}
	if meet(c.APIListen, c.LinkListen) {
		refuse("apiListen (--api-listen, %s) and linkListen (--link-listen, %s) are one address: give the API and the link a port each", c.APIListen, c.LinkListen)
	}
	if c.AdvertiseAddress == "" {
		c.AdvertiseAddress = firstAddress()
	}
	if !isHost(c.AdvertiseAddress) {
		refuse("advertiseAddress (--advertise-address) is %q: want a host name or IP address without a port", c.AdvertiseAddress)
	}
	for _, name := range c.TLSSANs {
		if !isHost(strings.TrimPrefix(name, "*.")) {
			refuse("tlsSANs (--tls-san) has %q: want a host name or IP address without a port", name)
		}
	}
	for _, server := range c.Etcd.Servers {
		if !isURL(server) {
			refuse("etcd.servers (--etcd-servers) has %q: want a URL such as https://etcd.example.com:2379", server)
		}
	}
	if c.AdvertiseLinkPort < 0 || c.AdvertiseLinkPort > 65535 {
		refuse("advertiseLinkPort is %d: want a port", c.AdvertiseLinkPort)
	}
	if name := c.KubeconfigSecret.Name; name != "" && len(validation.IsDNS1123Subdomain(name)) > 0 {
		refuse("kubeconfigSecret.name is %q: want the name of a Secret", name)
	}
	if server := c.KubeconfigSecret.Server; server != "" && !isURL(server) {
		refuse("kubeconfigSecret.server is %q: want a URL such as https://windlass-hub.windlass-system.svc:6443", server)
	}
	if c.KubeconfigSecret.Server != "" && c.KubeconfigSecret.Name == "" {
		refuse("kubeconfigSecret.server is given without kubeconfigSecret.name")
	}
	if c.KubeconfigSecret.CAFile != "" && c.KubeconfigSecret.Name == "" {
		refuse("kubeconfigSecret.caFile is given without kubeconfigSecret.name")
	}
	if (c.Etcd.CertFile == "") != (c.Etcd.KeyFile == "") {
		refuse("etcd.certFile and etcd.keyFile (--etcd-certfile, --etcd-keyfile) go together")
	}
	if len(c.Etcd.Servers) == 0 && c.Etcd.CAFile+c.Etcd.CertFile+c.Etcd.KeyFile != "" {
		refuse("etcd files are given without etcd.servers (--etcd-servers)")
	}
	if c.Etcd.QuotaGiB < 1 || c.Etcd.QuotaGiB > 1024 {
		refuse("etcd.quotaGiB is %d: want 1 to 1024", c.Etcd.QuotaGiB)
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel) {
		refuse("logLevel (--log-level) is %q: want debug, info, warn or error", c.LogLevel)
	}
	if c.Controllers.Workers < 1 {
		refuse("controllers.workers is %d: want 1 or more", c.Controllers.Workers)
	}
	if first, most := c.Controllers.KindRetryInterval.Duration, c.Controllers.KindRetryMost.Duration; first <= 0 || most < first {
		refuse("controllers.kindRetryInterval (%s) must be more than 0, and controllers.kindRetryMost (%s) not less than it", first, most)
	}
	if c.Link.HeartbeatTimeout.Duration <= c.Link.HeartbeatInterval.Duration {
		refuse("link.heartbeatTimeout (%s) must be longer than link.heartbeatInterval (%s)", c.Link.HeartbeatTimeout.Duration, c.Link.HeartbeatInterval.Duration)
	} else if err := c.Link.Session().WithDefaults().Validate(); err != nil {
		refuse("link.%w", err)
	}
	if c.Link.Window < 1 {
		refuse("link.window is %d: want 1 or more", c.Link.Window)
	}
	if c.Link.DeletionLimit < 1 {
		refuse("link.deletionLimit is %d: want 1 or more", c.Link.DeletionLimit)
	}
	if c.Link.DeletionPercent < 1 || c.Link.DeletionPercent > 100 {
		refuse("link.deletionPercent is %d: want 1 to 100", c.Link.DeletionPercent)
	}
	for _, d := range []struct {
		name  string
		value metav1.Duration
		least time.Duration
	}{
		{"controllers.clusterGrace", c.Controllers.ClusterGrace, 0},
		{"controllers.clusterLost", c.Controllers.ClusterLost, 0},
		{"controllers.statusSettle", c.Controllers.StatusSettle, 0},
		{"controllers.policyStatusInterval", c.Controllers.PolicyStatusInterval, 0},
		{"controllers.kindRetryInterval", c.Controllers.KindRetryInterval, time.Millisecond},
		{"controllers.kindRetryMost", c.Controllers.KindRetryMost, c.Controllers.KindRetryInterval.Duration},
		{"controllers.evictionGrace", c.Controllers.EvictionGrace, 0},
		{"link.heartbeatInterval", c.Link.HeartbeatInterval, time.Millisecond},
		{"link.deletionWindow", c.Link.DeletionWindow, time.Second},
		{"capacity.timeout", c.Capacity.Timeout, time.Millisecond},
		{"capacity.maxAge", c.Capacity.MaxAge, time.Millisecond},
		{"capacity.assumeFor", c.Capacity.AssumeFor, time.Second},
	} {
		if d.value.Duration < d.least {
			refuse("%s is %s: want %s or more", d.name, d.value.Duration, d.least)
		}
	}
	return errors.Join(errs...)
}

// Session is what the sessions with agents are told of it. The zero values in it mean defaults there, so
// none of those stands for something here.
func (c LinkConfig) Session() session.Settings {
	return session.Settings{Window: c.Window, HeartbeatInterval: c.HeartbeatInterval.Duration, HeartbeatTimeout: c.HeartbeatTimeout.Duration}
}

// Brake is what the brakes of the members are told of it.
func (c LinkConfig) Brake() session.BrakeSettings {
	return session.BrakeSettings{Window: c.DeletionWindow.Duration, Least: c.DeletionLimit, Percent: c.DeletionPercent}
}

// meet says whether two addresses to listen on are one: the same port, on the same host or on every one. Port 0
// is a free one each time.
func meet(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	every := func(host string) bool { return host == "" || net.ParseIP(host).IsUnspecified() }
	return errA == nil && errB == nil && portA == portB && portA != "0" && (hostA == hostB || every(hostA) || every(hostB))
}

// isHost says whether agents and users can dial it, and certificates bear it. Underscores are in no name
// of the internet, and in many of private networks.
func isHost(name string) bool {
	plain := strings.ReplaceAll(strings.ToLower(strings.TrimSuffix(name, ".")), "_", "-")
	return net.ParseIP(name) != nil || len(validation.IsDNS1123Subdomain(plain)) == 0
}

// isURL says whether etcd's client can dial it.
func isURL(text string) bool {
	parsed, err := url.Parse(text)
	return err == nil && (parsed.Scheme == "http" || parsed.Scheme == "https") && parsed.Hostname() != "" && parsed.Path == ""
}

// firstAddress is the first address of this machine that others can dial, or loopback.
func firstAddress() string {
	addresses, err := net.InterfaceAddrs()
	if err == nil {
		for _, address := range addresses {
			if network, ok := address.(*net.IPNet); ok && network.IP.IsGlobalUnicast() {
				return network.IP.String()
			}
		}
	}
	return "127.0.0.1"
}
