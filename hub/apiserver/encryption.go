package apiserver

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiserverconfig "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"sigs.k8s.io/yaml"

	"windlass.dev/windlass/hub/pki"
)

// encryptionConfigName is the name of the API server's configuration of the store's encryption.
const encryptionConfigName = "encryption-config.yaml"

// encrypted are the resources that are never written to the store in the clear. There is no
// provider for reading what is in the clear: they were encrypted from the first start on, and a
// value that is not was put there by somebody else.
var encrypted = []string{"secrets", "propagationworks.work.karmada.io", "jointokens.windlass.dev"}

// openEncryptionConfig gives the API server the key of the store in the form that it takes, a file, which is only in
// memory: on a disk the key is where whoever runs the hub keeps it, and that may be apart from the store. The file is
// read while the configuration is made, and never again; then it is to be closed.
func openEncryptionConfig(set *pki.Set) (file *os.File, path string, err error) {
	content, err := yaml.Marshal(apiserverconfig.EncryptionConfiguration{
		TypeMeta: metav1.TypeMeta{APIVersion: apiserverconfig.SchemeGroupVersion.String(), Kind: "EncryptionConfiguration"},
		Resources: []apiserverconfig.ResourceConfiguration{{
			Resources: encrypted,
			Providers: []apiserverconfig.ProviderConfiguration{{
				Secretbox: &apiserverconfig.SecretboxConfiguration{Keys: []apiserverconfig.Key{{
					Name: "hub", Secret: base64.StdEncoding.EncodeToString(set.EncryptionKey),
				}}},
			}},
		}},
	})
	if err != nil {
		return nil, "", fmt.Errorf("writing %s: %w", encryptionConfigName, err)
	}
	descriptor, err := unix.MemfdCreate(encryptionConfigName, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, "", fmt.Errorf("making %s in memory: %w", encryptionConfigName, err)
	}
	file = os.NewFile(uintptr(descriptor), encryptionConfigName)
	if _, err := file.Write(content); err != nil {
		_ = file.Close()
		return nil, "", fmt.Errorf("writing %s in memory: %w", encryptionConfigName, err)
	}
	return file, fmt.Sprintf("/proc/self/fd/%d", descriptor), nil
}

// removeFormerEncryptionConfig deletes what former hubs have written, who put the key of the store beside the store.
func removeFormerEncryptionConfig(set *pki.Set) error {
	err := os.Remove(filepath.Join(set.Derived, encryptionConfigName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting a copy of the store's key that a former hub has made: %w", err)
	}
	return nil
}
