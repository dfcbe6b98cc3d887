package install

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// packed writes the image of one static program into a tarball: what a registry would have, where there is none.
func packed(t *testing.T, program, reference, to string) {
	t.Helper()
	if err := pack(program, reference, to); err != nil {
		t.Fatalf("packing %s: %v", program, err)
	}
}

func pack(program, reference, to string) error {
	content, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("%w: run make node", err)
	}
	var layer bytes.Buffer
	archive := tar.NewWriter(&layer)
	if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "program", Mode: 0o755, Size: int64(len(content))}); err != nil {
		return err
	}
	if _, err := archive.Write(content); err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS: "linux", Architecture: runtime.GOARCH,
		RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{Entrypoint: []string{"/program"}, User: "65532:65532"},
	})
	if err != nil {
		return err
	}
	image, err = mutate.AppendLayers(image, static.NewLayer(layer.Bytes(), types.DockerUncompressedLayer))
	if err != nil {
		return err
	}
	tag, err := name.NewTag(reference, name.WeakValidation)
	if err != nil {
		return err
	}
	return tarball.WriteToFile(to, tag, image)
}
