package cluster

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// kubeconfig holds what this package reads and writes of a kubeconfig file; users stay as they were found.
type kubeconfig struct {
	APIVersion     string         `json:"apiVersion"`
	Kind           string         `json:"kind"`
	CurrentContext string         `json:"current-context"`
	Clusters       []namedCluster `json:"clusters"`
	Users          []namedUser    `json:"users"`
	Contexts       []namedContext `json:"contexts"`
}

type namedCluster struct {
	Name    string         `json:"name"`
	Cluster map[string]any `json:"cluster"`
}

type namedUser struct {
	Name string         `json:"name"`
	User map[string]any `json:"user"`
}

type namedContext struct {
	Name    string `json:"name"`
	Context struct {
		Cluster   string `json:"cluster"`
		User      string `json:"user"`
		Namespace string `json:"namespace,omitempty"`
	} `json:"context"`
}

func newKubeconfig(name string, cluster, user map[string]any) *kubeconfig {
	k := &kubeconfig{APIVersion: "v1", Kind: "Config", CurrentContext: name}
	k.add(name, cluster, user)
	return k
}

func (k *kubeconfig) add(name string, cluster, user map[string]any) {
	k.Clusters = append(k.Clusters, namedCluster{name, cluster})
	k.Users = append(k.Users, namedUser{name, user})
	context := namedContext{Name: name}
	context.Context.Cluster, context.Context.User = name, name
	k.Contexts = append(k.Contexts, context)
}

// current returns cluster and user of the current context, or of the only one.
func (k *kubeconfig) current() (cluster, user map[string]any, err error) {
	wanted := k.CurrentContext
	if wanted == "" && len(k.Contexts) == 1 {
		wanted = k.Contexts[0].Name
	}
	for _, c := range k.Contexts {
		if c.Name != wanted {
			continue
		}
		for _, named := range k.Clusters {
			if named.Name == c.Context.Cluster {
				cluster = named.Cluster
			}
		}
		for _, named := range k.Users {
			if named.Name == c.Context.User {
				user = named.User
			}
		}
	}
	if cluster == nil || user == nil {
		return nil, nil, fmt.Errorf("context %q names no cluster or no user", wanted)
	}
	return cluster, user, nil
}

func readKubeconfig(path string) (*kubeconfig, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading a kubeconfig: %w", err)
	}
	k := &kubeconfig{}
	if err := yaml.Unmarshal(raw, k); err != nil {
		return nil, fmt.Errorf("reading the kubeconfig %s: %w", path, err)
	}
	return k, nil
}

func (k *kubeconfig) write(path string) error {
	raw, err := yaml.Marshal(k)
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o600)
}

// pemField returns certificate or key data that a kubeconfig holds inline (field-data) or names by path (field).
func pemField(path string, from map[string]any, field string) ([]byte, error) {
	if inline, ok := from[field+"-data"].(string); ok {
		return base64.StdEncoding.DecodeString(inline)
	}
	file, ok := from[field].(string)
	if !ok {
		return nil, nil
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(filepath.Dir(path), file)
	}
	return os.ReadFile(file)
}

// MergeKubeconfigs writes one kubeconfig with the current context of every source, under the given
// names and in that order; the first is the current one. Certificates are carried in the file.
func MergeKubeconfigs(path string, names []string, sources map[string]string) error {
	if len(names) == 0 {
		return errors.New("merging kubeconfigs: none given")
	}
	merged := &kubeconfig{APIVersion: "v1", Kind: "Config", CurrentContext: names[0]}
	for _, name := range names {
		source, err := readKubeconfig(sources[name])
		if err != nil {
			return err
		}
		cluster, user, err := source.current()
		if err != nil {
			return fmt.Errorf("reading the kubeconfig %s: %w", sources[name], err)
		}
		if err := inline(sources[name], cluster, "certificate-authority"); err != nil {
			return err
		}
		for _, field := range []string{"client-certificate", "client-key"} {
			if err := inline(sources[name], user, field); err != nil {
				return err
			}
		}
		merged.add(name, cluster, user)
	}
	if err := merged.write(path); err != nil {
		return fmt.Errorf("writing the merged kubeconfig: %w", err)
	}
	return nil
}

func inline(path string, into map[string]any, field string) error {
	data, err := pemField(path, into, field)
	if err != nil {
		return fmt.Errorf("reading %s of the kubeconfig %s: %w", field, path, err)
	}
	if data != nil {
		delete(into, field)
		into[field+"-data"] = base64.StdEncoding.EncodeToString(data)
	}
	return nil
}
