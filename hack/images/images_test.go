package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// record is what a build leaves in a program, and all that is in the programs of these tests.
func record(os, architecture, cgo, flags string) string {
	return fmt.Sprintf("go\tgo1.26\nbuild\t-ldflags=%q\nbuild\tCGO_ENABLED=%s\nbuild\tGOARCH=%s\nbuild\tGOOS=%s\n", flags, cgo, architecture, os)
}

func flagsOf(version string) string { return "-s -X " + versionFlag + version }

func inspect(path string) (*debug.BuildInfo, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(content, []byte("go\t")) {
		return nil, errors.New("not a Go executable")
	}
	return debug.ParseBuildInfo(string(content))
}

// newOrder is an order on an amd64 machine where make build is through.
func newOrder(t *testing.T) order {
	t.Helper()
	dir := t.TempDir()
	o := order{
		architectures: []string{"amd64"},
		repository:    "windlass.dev",
		version:       "v1.2.3",
		zoneinfo:      filepath.Join(dir, "zoneinfo.zip"),
		bin:           filepath.Join(dir, "bin"),
		local:         "amd64",
		inspect:       inspect,
	}
	o.build = func(_ context.Context, architecture, to string) error {
		writePrograms(t, to, record("linux", architecture, "0", flagsOf(o.version)))
		return nil
	}
	write(t, o.zoneinfo, "zones")
	writePrograms(t, o.bin, record("linux", "amd64", "0", flagsOf(o.version)))
	return o
}

func writePrograms(t *testing.T, dir, content string) {
	t.Helper()
	for _, p := range programs {
		write(t, filepath.Join(dir, p.name), content)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
}

func mustMake(t *testing.T, o order) (printed string) {
	t.Helper()
	var out bytes.Buffer
	if err := o.make(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// contents reads a tar: what it has in order, and the content of its files.
func contents(t *testing.T, from io.Reader) (entries []string, files map[string]string) {
	t.Helper()
	files = map[string]string{}
	reader := tar.NewReader(from)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return entries, files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, fmt.Sprintf("%04o %d:%d %d %s", header.Mode, header.Uid, header.Gid, header.ModTime.Unix(), header.Name))
		files[header.Name] = string(content)
	}
}

// layoutOf is the OCI layout in a tarball.
func layoutOf(t *testing.T, o order, file string) v1.ImageIndex {
	t.Helper()
	archive, err := os.Open(filepath.Join(o.bin, "images", file))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	_, files := contents(t, archive)
	dir := t.TempDir()
	for path, content := range files {
		write(t, filepath.Join(dir, path), content)
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// imageOf is the image in a tarball.
func imageOf(t *testing.T, o order, file string) v1.Image {
	t.Helper()
	index := layoutOf(t, o, file)
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 {
		t.Fatalf("%s has %d images, want one", file, len(manifest.Manifests))
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func digestOf(t *testing.T, image v1.Image) v1.Hash {
	t.Helper()
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func configOf(t *testing.T, image v1.Image) *v1.ConfigFile {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func TestAnImageHasItsProgramAndWhatThatNeedsAndNothingElse(t *testing.T) {
	o := newOrder(t)
	mustMake(t, o)
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			layers, err := imageOf(t, o, p.name+"-amd64.tar").Layers()
			if err != nil {
				t.Fatal(err)
			}
			var entries []string
			files := map[string]string{}
			for _, layer := range layers {
				content, err := layer.Uncompressed()
				if err != nil {
					t.Fatal(err)
				}
				more, moreFiles := contents(t, content)
				entries = append(entries, more...)
				for path, content := range moreFiles {
					files[path] = content
				}
			}
			want := []string{
				"0755 0:0 0 etc/", "0755 0:0 0 etc/ssl/", "0755 0:0 0 etc/ssl/certs/", "0755 0:0 0 usr/", "0755 0:0 0 usr/share/",
				"0644 0:0 0 etc/group", "0644 0:0 0 etc/passwd", "0644 0:0 0 etc/ssl/certs/ca-certificates.crt", "0644 0:0 0 usr/share/zoneinfo.zip",
				"0755 0:0 0 usr/", "0755 0:0 0 usr/local/", "0755 0:0 0 usr/local/bin/", "0755 0:0 0 usr/local/bin/" + p.name,
			}
			if diff := cmp.Diff(want, entries); diff != "" {
				t.Errorf("the image has other files:\n%s", diff)
			}
			if files["usr/local/bin/"+p.name] != record("linux", "amd64", "0", flagsOf("v1.2.3")) {
				t.Error("the program is another one")
			}
			if files["usr/share/zoneinfo.zip"] != "zones" {
				t.Error("the time zones are other ones")
			}
			if !strings.HasPrefix(files["etc/passwd"], "windlass:x:65532:65532:") {
				t.Errorf("the user is not in /etc/passwd: %q", files["etc/passwd"])
			}
		})
	}
}

func TestAnImageRunsItsProgramAsAUserWithoutRights(t *testing.T) {
	o := newOrder(t)
	mustMake(t, o)
	config := configOf(t, imageOf(t, o, "windlass-agent-amd64.tar"))
	want := v1.Config{
		User:       "65532:65532",
		Entrypoint: []string{"/usr/local/bin/windlass-agent"},
		WorkingDir: "/",
		Env:        []string{"ZONEINFO=/usr/share/zoneinfo.zip"},
		Labels: map[string]string{
			"org.opencontainers.image.title":       "windlass-agent",
			"org.opencontainers.image.description": "The agent of Windlass: joins a Kubernetes cluster to a hub and applies what is meant for it",
			"org.opencontainers.image.version":     "v1.2.3",
			"org.opencontainers.image.source":      "https://windlass.dev/windlass",
			"org.opencontainers.image.licenses":    "Apache-2.0",
		},
	}
	if diff := cmp.Diff(want, config.Config); diff != "" {
		t.Error(diff)
	}
	if config.OS != "linux" || config.Architecture != "amd64" {
		t.Errorf("the image is for %s/%s", config.OS, config.Architecture)
	}
}

func TestATarballIsAnOCILayoutWithTheFullNameOfItsImage(t *testing.T) {
	o := newOrder(t)
	o.repository = "registry.example.com/team"
	mustMake(t, o)
	index := layoutOf(t, o, "windlass-hub-amd64.tar")
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 {
		t.Fatalf("the tarball has %d images, want one", len(manifest.Manifests))
	}
	want := map[string]string{
		"io.containerd.image.name":          "registry.example.com/team/windlass-hub:v1.2.3",
		"org.opencontainers.image.ref.name": "v1.2.3",
	}
	if diff := cmp.Diff(want, manifest.Manifests[0].Annotations); diff != "" {
		t.Error(diff)
	}
	if got := manifest.Manifests[0].Platform.String(); got != "linux/amd64" {
		t.Errorf("the platform is %s", got)
	}
	if manifest.Manifests[0].MediaType != types.OCIManifestSchema1 {
		t.Errorf("the image's type is %s", manifest.Manifests[0].MediaType)
	}
}

func TestATarballCanBeLoadedByDockerToo(t *testing.T) {
	o := newOrder(t)
	mustMake(t, o)
	tag, err := name.NewTag("windlass.dev/windlass:v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(filepath.Join(o.bin, "images", "windlass-amd64.tar"), &tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(image); err != nil {
		t.Error(err)
	}
}

func TestTheSameInputGivesTheSameBytes(t *testing.T) {
	first, second := newOrder(t), newOrder(t)
	mustMake(t, first)
	later := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, p := range programs {
		if err := os.Chtimes(filepath.Join(second.bin, p.name), later, later); err != nil {
			t.Fatal(err)
		}
	}
	mustMake(t, second)
	for _, p := range programs {
		a, err := os.ReadFile(filepath.Join(first.bin, "images", p.name+"-amd64.tar"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(second.bin, "images", p.name+"-amd64.tar"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s: made again, at another time and in another folder, the tarball is another one", p.name)
		}
	}
}

func TestNothingButTheTarballsIsLeft(t *testing.T) {
	o := newOrder(t)
	mustMake(t, o)
	mustMake(t, o) // what is there is replaced
	entries, err := os.ReadDir(filepath.Join(o.bin, "images"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if diff := cmp.Diff([]string{"windlass-agent-amd64.tar", "windlass-amd64.tar", "windlass-hub-amd64.tar"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsMadeIsPrintedWithItsNameAndDigest(t *testing.T) {
	o := newOrder(t)
	printed := mustMake(t, o)
	digest := digestOf(t, imageOf(t, o, "windlass-hub-amd64.tar"))
	if want := "windlass.dev/windlass-hub:v1.2.3@" + digest.String(); !strings.Contains(printed, want) {
		t.Errorf("%q is not in what is printed:\n%s", want, printed)
	}
}

func TestProgramsForAnotherArchitectureAreBuiltBesideTheImages(t *testing.T) {
	o := newOrder(t)
	o.architectures = []string{"arm64", "amd64"}
	var built []string
	write := o.build
	o.build = func(ctx context.Context, architecture, to string) error {
		built = append(built, architecture+" into "+strings.TrimPrefix(to, o.bin))
		return write(ctx, architecture, to)
	}
	mustMake(t, o)
	if diff := cmp.Diff([]string{"arm64 into /images/arm64"}, built); diff != "" {
		t.Errorf("other builds than wanted:\n%s", diff)
	}
	if config := configOf(t, imageOf(t, o, "windlass-hub-arm64.tar")); config.Architecture != "arm64" {
		t.Errorf("the image of arm64 is for %s", config.Architecture)
	}
}

func TestAMissingProgramIsSaidBeforeAnythingIsBuilt(t *testing.T) {
	o := newOrder(t)
	o.architectures = []string{"arm64", "amd64"}
	o.build = func(context.Context, string, string) error {
		t.Error("arm64 is built, which takes minutes, although the order can't succeed")
		return nil
	}
	missing := filepath.Join(o.bin, "windlass")
	if err := os.Remove(missing); err != nil {
		t.Fatal(err)
	}
	err := o.make(t.Context(), io.Discard)
	if err == nil || err.Error() != missing+" does not exist: run make build" {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(o.bin, "images")); err == nil {
		t.Error("something was written")
	}
}

func TestWhatCannotBecomeAnImageIsRefusedInOneLine(t *testing.T) {
	hub := func(content string) func(*testing.T, *order) {
		return func(t *testing.T, o *order) { write(t, filepath.Join(o.bin, "windlass-hub"), content) }
	}
	for _, test := range []struct {
		reason string
		change func(*testing.T, *order)
		says   string
	}{
		{"cut off, or no Go program", hub("#!/bin/sh\n"), "windlass-hub was not built by make build"},
		{"for another system", hub(record("darwin", "amd64", "0", flagsOf("v1.2.3"))), "was built for darwin/amd64, and the image is for linux/amd64"},
		{"for another processor", hub(record("linux", "arm64", "0", flagsOf("v1.2.3"))), "was built for linux/arm64"},
		{"an image has no C library", hub(record("linux", "amd64", "1", flagsOf("v1.2.3"))), "CGO_ENABLED=1"},
		{"of yesterday", hub(record("linux", "amd64", "0", flagsOf("v1.2.2"))), "says that it is v1.2.2, and VERSION is v1.2.3: run make build VERSION=v1.2.3"},
		{"by go build alone", hub(record("linux", "amd64", "0", "")), "does not say its version"},
		{"an architecture that nobody tests", func(_ *testing.T, o *order) { o.architectures = []string{"amd64", "mips"} }, `ARCH has "mips"`},
		{"a slip", func(_ *testing.T, o *order) { o.architectures = []string{"amd64", "amd64"} }, "ARCH has amd64 twice"},
		{"+ is fine in a version and not in a tag", func(_ *testing.T, o *order) { o.version = "v1.2.3+dirty" }, `VERSION is "v1.2.3+dirty"`},
		{"without a host every tool adds another one", func(_ *testing.T, o *order) { o.repository = "team" }, `REPOSITORY is "team"`},
		{"so it could go where nobody meant it to", func(_ *testing.T, o *order) { o.push = "team/x" }, `PUSH is "team/x"`},
		{"a registry's URL is no image's name", func(_ *testing.T, o *order) { o.push = "https://registry.example.com/team/" }, `PUSH is "https://registry.example.com/team/": an image's name has no scheme; leave https:// out, and say registry.example.com/team`},
		{"nor is one for the charts", func(_ *testing.T, o *order) { o.repository = "oci://registry.example.com" }, `REPOSITORY is "oci://registry.example.com": an image's name has no scheme`},
		{"nothing comes between two slashes", func(_ *testing.T, o *order) { o.push = "registry.example.com/team/" }, `PUSH is "registry.example.com/team/": leave the slash at its end out, and say registry.example.com/team`},
		{"names are in lower case", func(_ *testing.T, o *order) { o.push = "registry.example.com/Team" }, `PUSH is "registry.example.com/Team"`},
		{"a Go installation without them", func(_ *testing.T, o *order) { o.zoneinfo += ".none" }, "reading Go's time zones"},
	} {
		t.Run(test.reason, func(t *testing.T) {
			o := newOrder(t)
			test.change(t, &o)
			err := o.make(t.Context(), io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, test.says)
			}
		})
	}
}

func TestTheAuthoritiesAreCertificates(t *testing.T) {
	rest, err := authorities()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		found++
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if !certificate.IsCA {
			t.Errorf("%s is no authority", certificate.Subject)
		}
	}
	if found < 100 {
		t.Errorf("%d authorities; the list had 116 when this was written", found)
	}
}

func newRegistry(t *testing.T) (address string) {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func described(t *testing.T, reference string) *remote.Descriptor {
	t.Helper()
	tag, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	got, err := remote.Get(tag)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestOneArchitectureIsPushedAsAnImage(t *testing.T) {
	o := newOrder(t)
	o.push = newRegistry(t) + "/team"
	printed := mustMake(t, o)
	for _, p := range programs {
		got := described(t, o.push+"/"+p.name+":v1.2.3")
		want := digestOf(t, imageOf(t, o, p.name+"-amd64.tar"))
		if got.MediaType != types.OCIManifestSchema1 {
			t.Errorf("%s: pushed is a %s", p.name, got.MediaType)
		}
		image, err := got.Image()
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Image(image); err != nil {
			t.Error(err)
		}
		if got.Digest != want {
			t.Errorf("%s: pushed is %s, and the tarball has %s", p.name, got.Digest, want)
		}
		if line := "pushed " + o.push + "/" + p.name + ":v1.2.3@" + want.String(); !strings.Contains(printed, line) {
			t.Errorf("%q is not in what is printed:\n%s", line, printed)
		}
	}
}

func TestSeveralArchitecturesArePushedAsAnIndex(t *testing.T) {
	o := newOrder(t)
	o.architectures = []string{"amd64", "arm64"}
	o.push = newRegistry(t) + "/team"
	mustMake(t, o)
	got := described(t, o.push+"/windlass-hub:v1.2.3")
	if got.MediaType != types.OCIImageIndex {
		t.Fatalf("pushed is a %s", got.MediaType)
	}
	index, err := got.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, m := range manifest.Manifests {
		platforms = append(platforms, m.Platform.String())
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, platforms); diff != "" {
		t.Error(diff)
	}
}

func TestARegistryThatRefusesIsNamed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"errors":[{"code":"DENIED","message":"not yours"}]}`, http.StatusForbidden)
	}))
	defer server.Close()
	o := newOrder(t)
	o.push = strings.TrimPrefix(server.URL, "http://") + "/team"
	err := o.make(t.Context(), io.Discard)
	if err == nil || !strings.HasPrefix(err.Error(), "pushing "+o.push+"/windlass-hub:v1.2.3: ") || !strings.Contains(err.Error(), "docker login") {
		t.Errorf("got %v", err)
	}
}

func TestTheDockerfileMakesTheSameImage(t *testing.T) {
	raw, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(raw), "\n")
	want := []string{"USER " + user, "ENV ZONEINFO=/" + zones, "WORKDIR /"}
	for _, p := range programs {
		want = append(want,
			"FROM files AS "+p.name,
			fmt.Sprintf("LABEL org.opencontainers.image.description=%q", p.description),
			fmt.Sprintf("ENTRYPOINT [%q]", "/"+programDir+"/"+p.name))
	}
	for _, line := range want {
		if !slices.Contains(lines, line) {
			t.Errorf("the Dockerfile has no line %q", line)
		}
	}
	if !strings.Contains(string(raw), "INTO=/image/"+programDir) || !strings.Contains(string(raw), "-files /image ") {
		t.Error("the Dockerfile gathers the files elsewhere")
	}
}

func TestTheDockerfilesFilesAreThoseOfAnImage(t *testing.T) {
	o := newOrder(t)
	dir := t.TempDir()
	if err := run(t.Context(), []string{"-files", dir, "-zoneinfo", o.zoneinfo}, io.Discard); err != nil {
		t.Fatal(err)
	}
	files, err := baseFiles(o.zoneinfo)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		got, err := os.ReadFile(filepath.Join(dir, f.path))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, f.content) {
			t.Errorf("%s differs", f.path)
		}
	}
}

func TestTheProgramTakesMakesVariables(t *testing.T) {
	err := run(t.Context(), []string{"-arch", "amd64,s390x", "-repository", "windlass.dev", "-version", "v1.2.3"}, io.Discard)
	if err == nil || !strings.HasPrefix(err.Error(), `ARCH has "s390x"`) {
		t.Errorf("got %v", err)
	}
}
