package settings

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "hub.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// everything sets every setting to something else than its default.
const everything = `
dataDir: /data
pkiDir: /keys
apiListen: 127.0.0.1:1
linkListen: 127.0.0.1:2
advertiseAddress: hub.example.test
advertiseLinkPort: 3
tlsSANs: [other.example.test, 192.0.2.1]
etcd:
  servers: [https://etcd.example.test:2379]
  caFile: /etcd/ca
  certFile: /etcd/certificate
  keyFile: /etcd/key
  quotaGiB: 12
apiServerFlags: {audit-log-path: /log}
kubeconfigSecret: {name: admin, server: "https://hub.system.svc:6443", caFile: /tls/ca.crt}
logLevel: debug
controllers:
  workers: 5
  clusterGrace: 1s
  clusterLost: 6s
  statusSettle: 2s
  policyStatusInterval: 3s
  kindRetryInterval: 4s
  kindRetryMost: 5m
  evictionGrace: 7m
  keepEmptyWorkloads: true
  propagateNamespaces: true
link:
  heartbeatInterval: 5s
  heartbeatTimeout: 11s
  window: 7
  deletionLimit: 9
  deletionPercent: 11
  deletionWindow: 1h30m
capacity:
  timeout: 2s
  maxAge: 1s
  assumeFor: 1m
`

func TestEverySettingCanStandInTheFile(t *testing.T) {
	config := DefaultConfig()
	if err := config.ReadFile(write(t, everything)); err != nil {
		t.Fatal(err)
	}
	want := Config{
		DataDir: "/data", PKIDir: "/keys", APIListen: "127.0.0.1:1", LinkListen: "127.0.0.1:2",
		AdvertiseAddress: "hub.example.test", AdvertiseLinkPort: 3, TLSSANs: []string{"other.example.test", "192.0.2.1"},
		Etcd:           EtcdConfig{Servers: []string{"https://etcd.example.test:2379"}, CAFile: "/etcd/ca", CertFile: "/etcd/certificate", KeyFile: "/etcd/key", QuotaGiB: 12},
		APIServerFlags: map[string]string{"audit-log-path": "/log"}, LogLevel: "debug",
		KubeconfigSecret: KubeconfigSecretConfig{Name: "admin", Server: "https://hub.system.svc:6443", CAFile: "/tls/ca.crt"},
		Controllers: ControllersConfig{
			Workers: 5, ClusterGrace: duration(time.Second), ClusterLost: duration(6 * time.Second), StatusSettle: duration(2 * time.Second),
			PolicyStatusInterval: duration(3 * time.Second), KindRetryInterval: duration(4 * time.Second), KindRetryMost: duration(5 * time.Minute), EvictionGrace: duration(7 * time.Minute),
			KeepEmptyWorkloads: true, PropagateNamespaces: true,
		},
		Link: LinkConfig{
			HeartbeatInterval: duration(5 * time.Second), HeartbeatTimeout: duration(11 * time.Second), Window: 7,
			DeletionLimit: 9, DeletionPercent: 11, DeletionWindow: duration(90 * time.Minute),
		},
		Capacity: CapacityConfig{Timeout: duration(2 * time.Second), MaxAge: duration(time.Second), AssumeFor: duration(time.Minute)},
	}
	if diff := cmp.Diff(want, config); diff != "" {
		t.Errorf("what was read differs from what the file says (-want +got):\n%s", diff)
	}
	for _, name := range unset(reflect.ValueOf(config), reflect.ValueOf(DefaultConfig()), "") {
		t.Errorf("%s is not in this test's file, or as it is by default", name)
	}
	if err := config.Complete(); err != nil {
		t.Errorf("it is refused: %v", err)
	}
	if diff := cmp.Diff(want, config); diff != "" {
		t.Errorf("completing changes what was set (-want +got):\n%s", diff)
	}
}

// unset names the settings that are as they are by default.
func unset(config, standard reflect.Value, path string) []string {
	var names []string
	for i := range config.NumField() {
		field := config.Type().Field(i)
		name := path + field.Name
		switch {
		case field.Type.Kind() == reflect.Struct && field.Type != reflect.TypeOf(duration(0)):
			names = append(names, unset(config.Field(i), standard.Field(i), name+".")...)
		case reflect.DeepEqual(config.Field(i).Interface(), standard.Field(i).Interface()):
			names = append(names, name)
		}
	}
	return names
}

func TestWhatTheFileDoesNotNameStaysAsItIs(t *testing.T) {
	config := DefaultConfig()
	if err := config.ReadFile(write(t, "link: {window: 7}\n")); err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	want.Link.Window = 7
	if diff := cmp.Diff(want, config); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := config.ReadFile(write(t, "")); err != nil {
		t.Errorf("an empty file is refused: %v", err)
	}
}

func TestTheDefaultsAreAHub(t *testing.T) {
	config := DefaultConfig()
	if err := config.Complete(); err != nil {
		t.Fatal(err)
	}
	if config.PKIDir != "/var/lib/windlass/pki" || config.AdvertiseAddress == "" {
		t.Errorf("pkiDir is %q and advertiseAddress %q", config.PKIDir, config.AdvertiseAddress)
	}
}

func TestAddressesOfAllKindsAreTaken(t *testing.T) {
	config := DefaultConfig()
	config.AdvertiseAddress = "2001:db8::1"
	config.TLSSANs = []string{"hub", "my_hub", "Hub.Example.com", "hub.example.com.", "*.example.com", "192.0.2.1", "::1"}
	config.Etcd.Servers = []string{"http://127.0.0.1:2379", "https://[2001:db8::2]:2379", "https://etcd"}
	if err := config.Complete(); err != nil {
		t.Error(err)
	}
}

func TestAFileThatCanNotBeReadSaysWhereItIsWrong(t *testing.T) {
	for _, c := range []struct{ reason, text, says string }{
		{"an unknown name", "dataDirectory: /data\n", `unknown field "dataDirectory"`},
		{"an unknown name in a group", "link: {windows: 7}\n", `unknown field "windows"`},
		{"a name in the wrong group", "window: 7\n", `unknown field "window"`},
		{"the same name twice", "dataDir: /a\ndataDir: /b\n", `key "dataDir" already set`},
		{"a word for a number", "controllers: {workers: many}\n", "controllers.workers"},
		{"a number for a list", "tlsSANs: 7\n", "tlsSANs"},
		{"a word for yes or no", "controllers: {propagateNamespaces: often}\n", "controllers.propagateNamespaces"},
		{"a duration without its unit", "link: {heartbeatTimeout: 40}\n", "link.heartbeatTimeout is 40: want a duration, such as 90s, 5m or 1h30m"},
		{"a word for a duration", "controllers: {statusSettle: soon}\n", "controllers.statusSettle is soon: want a duration"},
		{"no YAML", "link: {", "yaml"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			config, path := DefaultConfig(), write(t, c.text)
			err := config.ReadFile(path)
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %s and %q", err, path, c.says)
			}
		})
	}
	config := DefaultConfig()
	if err := config.ReadFile("/nowhere/hub.yaml"); err == nil || !strings.Contains(err.Error(), "/nowhere/hub.yaml") {
		t.Errorf("a file that is not there: error %v", err)
	}
}

func TestWhatCanNotWorkIsRefusedByItsName(t *testing.T) {
	for _, c := range []struct {
		reason, says string
		change       func(*Config)
	}{
		{"no data directory", "dataDir (--data-dir)", func(c *Config) { c.DataDir = "" }},
		{"an address without a port", `apiListen (--api-listen) is "0.0.0.0"`, func(c *Config) { c.APIListen = "0.0.0.0" }},
		{"a port alone", `linkListen (--link-listen) is "8443"`, func(c *Config) { c.LinkListen = "8443" }},
		{"one port for both", "apiListen (--api-listen, :7443) and linkListen (--link-listen, :7443) are one address", func(c *Config) { c.APIListen, c.LinkListen = ":7443", ":7443" }},
		{"one port, once on every address", "linkListen (--link-listen, :7443) are one address", func(c *Config) { c.APIListen, c.LinkListen = "127.0.0.1:7443", ":7443" }},
		{"one port, once on every address, which is written out", "are one address", func(c *Config) { c.APIListen, c.LinkListen = "0.0.0.0:7443", "10.0.0.1:7443" }},
		{"an address for others with a port", `advertiseAddress (--advertise-address) is "hub:8443"`, func(c *Config) { c.AdvertiseAddress = "hub:8443" }},
		{"no port at all", "advertiseLinkPort is 65536", func(c *Config) { c.AdvertiseLinkPort = 65536 }},
		{"a negative port", "advertiseLinkPort is -1", func(c *Config) { c.AdvertiseLinkPort = -1 }},
		{"a Secret that can not be", `kubeconfigSecret.name is "A b"`, func(c *Config) { c.KubeconfigSecret.Name = "A b" }},
		{"a server that is no URL", `kubeconfigSecret.server is "hub:6443"`, func(c *Config) { c.KubeconfigSecret = KubeconfigSecretConfig{Name: "admin", Server: "hub:6443"} }},
		{"a server without a Secret", "kubeconfigSecret.server is given without kubeconfigSecret.name", func(c *Config) { c.KubeconfigSecret.Server = "https://hub:6443" }},
		{"authorities without a Secret", "kubeconfigSecret.caFile is given without kubeconfigSecret.name", func(c *Config) { c.KubeconfigSecret.CAFile = "/ca.crt" }},
		{"a certificate without its key", "etcd.certFile and etcd.keyFile (--etcd-certfile, --etcd-keyfile)", func(c *Config) {
			c.Etcd = EtcdConfig{Servers: []string{"https://etcd:2379"}, CertFile: "/certificate", QuotaGiB: 8}
		}},
		{"an embedded etcd that may hold nothing", "etcd.quotaGiB is 0: want 1 to 1024", func(c *Config) { c.Etcd.QuotaGiB = 0 }},
		{"an embedded etcd whose size was meant in bytes", "etcd.quotaGiB is 8589934592: want 1 to 1024", func(c *Config) { c.Etcd.QuotaGiB = 8 << 30 }},
		{"files of an etcd that is not named", "etcd.servers (--etcd-servers)", func(c *Config) { c.Etcd.CAFile = "/ca" }},
		{"an unknown level", `logLevel (--log-level) is "loud"`, func(c *Config) { c.LogLevel = "loud" }},
		{"nobody to do the work", "controllers.workers is 0", func(c *Config) { c.Controllers.Workers = 0 }},
		{"a negative grace", "controllers.clusterGrace is -1s", func(c *Config) { c.Controllers.ClusterGrace = duration(-time.Second) }},
		{"a negative wait", "controllers.statusSettle is -1s", func(c *Config) { c.Controllers.StatusSettle = duration(-time.Second) }},
		{"a negative interval", "controllers.policyStatusInterval is -1s", func(c *Config) { c.Controllers.PolicyStatusInterval = duration(-time.Second) }},
		{"looking for a kind without a pause", "controllers.kindRetryInterval is 0s", func(c *Config) { c.Controllers.KindRetryInterval = duration(0) }},
		{"heartbeats without a pause", "link.heartbeatInterval is 0s", func(c *Config) { c.Link.HeartbeatInterval = duration(0) }},
		{"a timeout before the next heartbeat", "link.heartbeatTimeout (20s) must be longer than link.heartbeatInterval (20s)", func(c *Config) { c.Link.HeartbeatTimeout = c.Link.HeartbeatInterval }},
		{"a timeout that one lost heartbeat is enough for", "link.heartbeatTimeout is 39s: use at least twice the heartbeatInterval", func(c *Config) { c.Link.HeartbeatTimeout = duration(39 * time.Second) }},
		{"room for more than there may be", "link.window is 1000000", func(c *Config) { c.Link.Window = 1000000 }},
		{"an address with a space", `advertiseAddress (--advertise-address) is "a b"`, func(c *Config) { c.AdvertiseAddress = "a b" }},
		{"an address that is a URL", `advertiseAddress (--advertise-address) is "https://hub"`, func(c *Config) { c.AdvertiseAddress = "https://hub" }},
		{"a name that no certificate bears", `tlsSANs (--tls-san) has "bad host!"`, func(c *Config) { c.TLSSANs = []string{"hub", "bad host!"} }},
		{"an etcd without scheme", `etcd.servers (--etcd-servers) has "foo"`, func(c *Config) { c.Etcd.Servers = []string{"foo"} }},
		{"an etcd without host", `etcd.servers (--etcd-servers) has "https://"`, func(c *Config) { c.Etcd.Servers = []string{"https://"} }},
		{"an etcd of another kind", `etcd.servers (--etcd-servers) has "etcd:2379"`, func(c *Config) { c.Etcd.Servers = []string{"etcd:2379"} }},
		{"a limit that would not be one", "link.deletionLimit is 0: want 1 or more", func(c *Config) { c.Link.DeletionLimit = 0 }},
		{"a share that would not be one", "link.deletionPercent is 0: want 1 to 100", func(c *Config) { c.Link.DeletionPercent = 0 }},
		{"a window that would not be one", "link.deletionWindow is 0s: want 1s or more", func(c *Config) { c.Link.DeletionWindow = duration(0) }},
		{"room for nothing", "link.window is 0", func(c *Config) { c.Link.Window = 0 }},
		{"a negative limit", "link.deletionLimit is -1", func(c *Config) { c.Link.DeletionLimit = -1 }},
		{"more than all", "link.deletionPercent is 101", func(c *Config) { c.Link.DeletionPercent = 101 }},
		{"a negative window", "link.deletionWindow is -1s", func(c *Config) { c.Link.DeletionWindow = duration(-time.Second) }},
	} {
		t.Run(c.reason, func(t *testing.T) {
			config := DefaultConfig()
			c.change(&config)
			if err := config.Complete(); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %q", err, c.says)
			}
		})
	}
	for _, listen := range [][2]string{{"127.0.0.1:0", "127.0.0.1:0"}, {"192.0.2.1:443", "192.0.2.2:443"}, {"192.0.2.1:443", "192.0.2.1:444"}} {
		config := DefaultConfig()
		config.APIListen, config.LinkListen = listen[0], listen[1]
		if err := config.Complete(); err != nil {
			t.Errorf("the API on %s and the link on %s: %v", listen[0], listen[1], err)
		}
	}
	config := DefaultConfig()
	config.DataDir, config.LogLevel, config.Link.Window = "", "loud", 0
	err := config.Complete()
	for _, name := range []string{"dataDir", "logLevel", "link.window"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("of three mistakes %s is not named: %v", name, err)
		}
	}
}
