package apiserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	apiserverconfig "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"k8s.io/apiserver/pkg/features"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	"k8s.io/kubernetes/pkg/controlplane/reconcilers"
	"k8s.io/kubernetes/pkg/kubeapiserver/authorizer/modes"
	"sigs.k8s.io/yaml"

	"windlass.dev/windlass/hub/pki"
)

const (
	frontProxyName = "front-proxy-client"
	tokenIssuer    = "https://kubernetes.default.svc"
	// defaultServiceRange has room for many Services: their addresses are taken on the hub although
	// they mean nothing here.
	defaultServiceRange = "10.0.0.0/8"
)

// nodePorts is every port: which of them a member accepts is the member's business.
var nodePorts = utilnet.PortRange{Base: 1, Size: 65535}

// actsForNobodyHere are the admission plugins that are on in a cluster and off on the hub, where
// every workload is a template that is stored as it was written. Each of them fills in or refuses
// on behalf of a kubelet, a scheduler or a controller that does not run here, or by objects that
// are templates themselves.
var actsForNobodyHere = []string{
	"ServiceAccount",               // mounts a token; refuses Pods without a ServiceAccount, which nobody makes here
	"DefaultTolerationSeconds",     // adds tolerations to Pods
	"Priority",                     // fills in Pods; refuses those of a class that exists in members only
	"RuntimeClass",                 // the same for runtime classes
	"LimitRanger",                  // fills in Pods by LimitRanges, which are templates
	"ResourceQuota",                // refuses by ResourceQuotas, which are templates and never counted here
	"DefaultStorageClass",          // fills in claims by StorageClasses, which are templates
	"PersistentVolumeClaimResize",  // refuses by StorageClasses
	"DefaultIngressClass",          // fills in Ingresses by IngressClasses, which are templates
	"StorageObjectInUseProtection", // adds finalizers that a controller in a cluster removes
	"PodGroupProtection",           // the same for pod groups
	"TaintNodesByCondition",        // adds a taint that a controller in a cluster removes
	"PodTopologyLabels",            // copies labels of Nodes
	"NodeDeclaredFeatureValidator", // refuses by Nodes
	"PodResizeValidator",           // refuses by Nodes
}

// setByHub are the flags that would undo what the hub is built on.
var setByHub = []string{
	"etcd-servers", "etcd-servers-overrides", "etcd-cafile", "etcd-certfile", "etcd-keyfile", "etcd-prefix", "storage-backend", "storage-media-type",
	"encryption-provider-config", "encryption-provider-config-automatic-reload",
	"bind-address", "secure-port", "tls-cert-file", "tls-private-key-file", "cert-dir", "advertise-address", "external-hostname",
	"client-ca-file", "requestheader-client-ca-file", "proxy-client-cert-file", "proxy-client-key-file",
	"service-account-key-file", "service-account-signing-key-file", "service-account-signing-endpoint", "service-account-issuer",
	"service-cluster-ip-range", "endpoint-reconciler-type", "kubelet-certificate-authority", "allow-privileged", "anonymous-auth",
}

// No snapshot of the watch caches is kept for each of their events: to answer a list's second page with what the first one was taken of,
// they hold on to a path of nodes for each write of the last minute and more, a kilobyte and a half for one. Etcd, which is near, answers it.
// The flag feature-gates can bring them back.
func init() {
	utilruntime.Must(utilfeature.DefaultMutableFeatureGate.OverrideDefault(features.ListFromCacheSnapshot, false))
}

// newOptions are the options of kube-apiserver as the hub needs them.
func newOptions(c Config, listener net.Listener, claims *claims) (options.CompletedOptions, error) {
	o := options.NewServerRunOptions()
	ip, port := splitListen(listener)

	o.GenericServerRunOptions.AdvertiseAddress = advertisedIP(c.AdvertiseAddress, ip)
	o.GenericServerRunOptions.ExternalHost = externalHost(c.AdvertiseAddress, ip)
	o.GenericServerRunOptions.ShutdownWatchTerminationGracePeriod = watchesEnd
	o.SystemNamespaces = []string{metav1.NamespaceSystem, metav1.NamespacePublic, metav1.NamespaceDefault}

	o.Etcd.StorageConfig.Transport.ServerList = c.Store.Endpoints
	o.Etcd.StorageConfig.Transport.TrustedCAFile = c.Store.CAFile
	o.Etcd.StorageConfig.Transport.CertFile = c.Store.CertFile
	o.Etcd.StorageConfig.Transport.KeyFile = c.Store.KeyFile

	o.SecureServing.Listener = listener
	o.SecureServing.BindAddress, o.SecureServing.BindPort = ip, port
	// Completion makes a certificate of its own unless there seems to be one in files.
	o.SecureServing.ServerCert.CertKey = genericoptions.CertKey{CertFile: "in memory", KeyFile: "in memory"}

	o.Authentication.ClientCert.ClientCA = c.PKI.CertificateFile(c.PKI.Users)
	o.Authentication.RequestHeader.ClientCAFile = c.PKI.CertificateFile(c.PKI.FrontProxy)
	o.Authentication.RequestHeader.AllowedNames = []string{frontProxyName}
	o.Authentication.RequestHeader.UsernameHeaders = []string{"X-Remote-User"}
	o.Authentication.RequestHeader.UIDHeaders = []string{"X-Remote-Uid"}
	o.Authentication.RequestHeader.GroupHeaders = []string{"X-Remote-Group"}
	o.Authentication.RequestHeader.ExtraHeaderPrefixes = []string{"X-Remote-Extra-"}
	o.Authentication.ServiceAccounts.KeyFiles = []string{c.PKI.ServiceAccountKeyFile()}
	o.Authentication.ServiceAccounts.Issuers = []string{tokenIssuer}
	o.Authentication.BootstrapToken.Enable = true
	o.ServiceAccountSigningKeyFile = c.PKI.ServiceAccountKeyFile()
	o.Authorization.Modes = []string{modes.ModeRBAC}
	o.Admission.GenericAdmission.DisablePlugins = slices.Clone(actsForNobodyHere)
	claims.addTo(o.Admission.GenericAdmission)
	newHints().addTo(o.Admission.GenericAdmission)

	// Templates may ask for anything that a member may grant.
	o.AllowPrivileged = true
	o.ServiceNodePortRange = nodePorts
	o.ServiceClusterIPRanges = c.ServiceClusterIPRange
	if o.ServiceClusterIPRanges == "" {
		o.ServiceClusterIPRanges = defaultServiceRange
	}
	o.EndpointReconcilerType = string(reconcilers.NoneEndpointReconcilerType)

	var err error
	if o.ProxyClientCertFile, o.ProxyClientKeyFile, err = c.PKI.FrontProxyClient(frontProxyName, time.Now()); err != nil {
		return options.CompletedOptions{}, err
	}
	if !usesOIDC(c.Flags) {
		if o.Authentication.AuthenticationConfigFile, err = writeAuthenticationConfig(c.PKI); err != nil {
			return options.CompletedOptions{}, err
		}
	}
	if err := setFlags(o, c.Flags); err != nil {
		return options.CompletedOptions{}, err
	}
	o.Etcd.WatchCacheSizes = append(uncachedSizes(), o.Etcd.WatchCacheSizes...) // the last word on a kind counts
	if err := o.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return options.CompletedOptions{}, err
	}
	completed, err := o.Complete(context.Background())
	if err != nil {
		return options.CompletedOptions{}, err
	}
	completed.SecureServing.ServerCert.CertKey = genericoptions.CertKey{}
	completed.SecureServing.ServerCert.GeneratedCert = newServingCertificate(c.PKI, servingHosts(c, ip), c.Log)
	return completed, errors.Join(completed.Validate()...)
}

// setFlags sets kube-apiserver's flags by name.
func setFlags(o *options.ServerRunOptions, values map[string]string) error {
	if len(values) == 0 {
		return nil
	}
	all := pflag.NewFlagSet("api server", pflag.ContinueOnError)
	for _, set := range o.Flags().FlagSets {
		all.AddFlagSet(set)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values[name]
		if slices.Contains(setByHub, name) {
			return fmt.Errorf("the API server's flag %q is set by the hub and cannot be changed", name)
		}
		if all.Lookup(name) == nil {
			return fmt.Errorf("the API server has no flag %q", name)
		}
		if err := setFlag(o, all, name, value); err != nil {
			return fmt.Errorf("setting the API server's flag %q: %w", name, err)
		}
	}
	return nil
}

// setFlag keeps the plugins that are off on the hub off when a user turns off more of them.
func setFlag(o *options.ServerRunOptions, all *pflag.FlagSet, name, value string) error {
	if err := all.Set(name, value); err != nil {
		return err
	}
	admission := o.Admission.GenericAdmission
	for _, plugin := range actsForNobodyHere {
		if !slices.Contains(admission.DisablePlugins, plugin) && !slices.Contains(admission.EnablePlugins, plugin) {
			admission.DisablePlugins = append(admission.DisablePlugins, plugin)
		}
	}
	admission.DisablePlugins = slices.DeleteFunc(admission.DisablePlugins, func(plugin string) bool {
		return slices.Contains(admission.EnablePlugins, plugin) && slices.Contains(actsForNobodyHere, plugin)
	})
	return nil
}

// advertisedIP is what the API server calls its own address; nothing on the hub dials it.
func advertisedIP(advertised string, listening net.IP) net.IP {
	if ip := net.ParseIP(advertised); ip != nil {
		return ip
	}
	if !listening.IsUnspecified() {
		return listening
	}
	return net.IPv4(127, 0, 0, 1)
}

func externalHost(advertised string, listening net.IP) string {
	if advertised != "" {
		return advertised
	}
	return advertisedIP("", listening).String()
}

// servingHosts are the names that the API can be reached by.
func servingHosts(c Config, listening net.IP) []string {
	hosts := []string{c.AdvertiseAddress, "localhost", "127.0.0.1", "::1",
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	if !listening.IsUnspecified() {
		hosts = append(hosts, listening.String())
	}
	return append(hosts, c.ServingNames...)
}

// usesOIDC says whether users come by flags for OpenID Connect: the API server takes those or a file. Callers without
// credentials then see what Kubernetes shows them by default, such as the version.
func usesOIDC(flags map[string]string) bool {
	for name := range flags {
		if strings.HasPrefix(name, "oidc-") {
			return true
		}
	}
	return false
}

// writeAuthenticationConfig lets callers without credentials ask for health and nothing else.
func writeAuthenticationConfig(set *pki.Set) (string, error) {
	anonymous := &apiserverconfig.AnonymousAuthConfig{Enabled: true}
	for _, path := range []string{"/livez", "/readyz", "/healthz"} {
		anonymous.Conditions = append(anonymous.Conditions, apiserverconfig.AnonymousAuthCondition{Path: path})
	}
	return writeConfig(set, "authentication-config.yaml", apiserverconfig.AuthenticationConfiguration{
		TypeMeta:  metav1.TypeMeta{APIVersion: apiserverconfig.SchemeGroupVersion.String(), Kind: "AuthenticationConfiguration"},
		Anonymous: anonymous,
	})
}

// writeConfig leaves a configuration of the API server, which reads such things from files only,
// beside the keys or, where those can only be read, apart.
func writeConfig(set *pki.Set, name string, config any) (string, error) {
	content, err := yaml.Marshal(config)
	if err != nil {
		return "", fmt.Errorf("writing %s: %w", name, err)
	}
	path := filepath.Join(set.Derived, name)
	return path, pki.WriteFile(path, content)
}
