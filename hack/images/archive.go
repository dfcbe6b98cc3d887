package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// archive writes an image as a tarball that is there in full or not at all, and says what it is called.
func (o order) archive(path string, p program, image v1.Image, out io.Writer) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	unfinished, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(unfinished.Name()) // after the rename there is nothing left to remove
	defer unfinished.Close()
	reference := p.in(o.repository, o.version)
	if err := writeArchive(unfinished, reference, image); err != nil {
		return err
	}
	info, err := unfinished.Stat()
	if err != nil {
		return err
	}
	if err := unfinished.Chmod(0o644); err != nil {
		return err
	}
	if err := unfinished.Close(); err != nil {
		return err
	}
	if err := os.Rename(unfinished.Name(), path); err != nil {
		return err
	}
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  %s, %s: %s@%s\n", path, mebibytes(info.Size()), reference, digest)
	return nil
}

// writeArchive writes an image as an OCI layout in a tar, and with it the manifest.json by which `docker load` goes.
func writeArchive(to io.Writer, reference string, image v1.Image) error {
	tag, err := name.NewTag(reference, name.StrictValidation)
	if err != nil {
		return err
	}
	described, err := describe(image)
	if err != nil {
		return err
	}
	described.Annotations = map[string]string{
		// containerd takes the full name from its own annotation, and others take the tag from OCI's.
		"io.containerd.image.name":          reference,
		"org.opencontainers.image.ref.name": tag.TagStr(),
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{described}}

	out := archiveWriter{tar.NewWriter(to)}
	if err := out.json("oci-layout", map[string]string{"imageLayoutVersion": "1.0.0"}); err != nil {
		return err
	}
	if err := out.json("index.json", index); err != nil {
		return err
	}
	if err := out.blobs(image, reference); err != nil {
		return err
	}
	return out.Close()
}

// describe is how an index refers to an image.
func describe(image v1.Image) (v1.Descriptor, error) {
	digest, err := image.Digest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	size, err := image.Size()
	if err != nil {
		return v1.Descriptor{}, err
	}
	platform, err := platform(image)
	if err != nil {
		return v1.Descriptor{}, err
	}
	return v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digest, Size: size, Platform: platform}, nil
}

type archiveWriter struct{ *tar.Writer }

// blobs writes what the image consists of, and what `docker load` reads instead of the manifest.
func (w archiveWriter) blobs(image v1.Image, reference string) error {
	manifest, err := image.RawManifest()
	if err != nil {
		return err
	}
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	if err := w.bytes(blob(digest), manifest); err != nil {
		return err
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return err
	}
	configName, err := image.ConfigName()
	if err != nil {
		return err
	}
	if err := w.bytes(blob(configName), config); err != nil {
		return err
	}
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	var names []string
	for _, layer := range layers {
		path, err := w.layer(layer)
		if err != nil {
			return err
		}
		names = append(names, path)
	}
	return w.json("manifest.json", []map[string]any{{
		"Config": blob(configName), "RepoTags": []string{reference}, "Layers": names,
	}})
}

func (w archiveWriter) layer(layer v1.Layer) (string, error) {
	digest, err := layer.Digest()
	if err != nil {
		return "", err
	}
	size, err := layer.Size()
	if err != nil {
		return "", err
	}
	content, err := layer.Compressed()
	if err != nil {
		return "", err
	}
	defer content.Close()
	return blob(digest), w.file(blob(digest), size, content)
}

func blob(digest v1.Hash) string { return "blobs/" + digest.Algorithm + "/" + digest.Hex }

func (w archiveWriter) json(name string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return w.bytes(name, raw)
}

func (w archiveWriter) bytes(name string, content []byte) error {
	return w.file(name, int64(len(content)), bytes.NewReader(content))
}

func (w archiveWriter) file(name string, size int64, content io.Reader) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, ModTime: epoch, Size: size}); err != nil {
		return err
	}
	_, err := io.Copy(w, content)
	return err
}
