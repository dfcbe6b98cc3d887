package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

const (
	user         = "65532:65532"
	certificates = "etc/ssl/certs/ca-certificates.crt" // where Go's crypto/x509 looks first
	zones        = "usr/share/zoneinfo.zip"
	programDir   = "usr/local/bin"
)

// A file of an image; all belong to root, so that a program can change none.
type file struct {
	path    string // without a slash in front
	mode    int64
	content []byte
	from    string // or the file on this machine that has the content
}

// baseFiles are those that stand in every image beside its program.
func baseFiles(zoneinfo string) ([]file, error) {
	zoneFile, err := os.ReadFile(zoneinfo)
	if err != nil {
		return nil, fmt.Errorf("reading Go's time zones, which lie in lib/time/zoneinfo.zip of its installation: %w", err)
	}
	authorities, err := authorities()
	if err != nil {
		return nil, err
	}
	return []file{
		{path: "etc/group", mode: 0o644, content: []byte("windlass:x:65532:\n")},
		{path: "etc/passwd", mode: 0o644, content: []byte("windlass:x:65532:65532:windlass:/:/sbin/nologin\n")},
		{path: certificates, mode: 0o644, content: authorities},
		{path: zones, mode: 0o644, content: zoneFile},
	}, nil
}

// authorities are the certificate authorities that Mozilla trusts, as PEM. The Go project keeps the list, so it
// is the same on every machine that builds.
func authorities() ([]byte, error) {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		// Trusted for some certificates only, which a file of certificates can't say: safer without it.
		if root.Constraint != nil {
			continue
		}
		certificate, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate authorities: %w", err)
		}
		fmt.Fprintf(&out, "# %s\n", certificate.Subject)
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// unpack writes them into a folder.
func unpack(dir, zoneinfo string) error {
	files, err := baseFiles(zoneinfo)
	if err != nil {
		return err
	}
	for _, f := range files {
		to := filepath.Join(dir, filepath.FromSlash(f.path))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, f.content, os.FileMode(f.mode)); err != nil {
			return err
		}
	}
	return nil
}

func baseLayer(zoneinfo string) (v1.Layer, error) {
	files, err := baseFiles(zoneinfo)
	if err != nil {
		return nil, err
	}
	return layer(files)
}

func layer(files []file) (v1.Layer, error) {
	open := func() (io.ReadCloser, error) {
		reader, writer := io.Pipe()
		go func() { writer.CloseWithError(writeTar(writer, files)) }()
		return reader, nil
	}
	// Compressed once: it is read for the digest, for the tarball and for a registry.
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}

// epoch is when everything in an image was made: the same input must give the same digest.
var epoch = time.Unix(0, 0).UTC()

func writeTar(to io.Writer, files []file) error {
	out := tar.NewWriter(to)
	for _, dir := range foldersOf(files) {
		if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: epoch}); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := f.writeTo(out); err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
	}
	return out.Close()
}

func (f file) writeTo(out *tar.Writer) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: f.path, Mode: f.mode, ModTime: epoch, Size: int64(len(f.content))}
	if f.from == "" {
		if err := out.WriteHeader(header); err != nil {
			return err
		}
		_, err := out.Write(f.content)
		return err
	}
	content, err := os.Open(f.from)
	if err != nil {
		return err
	}
	defer content.Close()
	info, err := content.Stat()
	if err != nil {
		return err
	}
	header.Size = info.Size()
	if err := out.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	return err
}

// foldersOf are the folders above the files, each after the one that it is in.
func foldersOf(files []file) []string {
	var all []string
	for _, f := range files {
		for dir := path.Dir(f.path); dir != "."; dir = path.Dir(dir) {
			all = append(all, dir)
		}
	}
	slices.SortFunc(all, strings.Compare)
	return slices.Compact(all)
}
