package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
)

// A program gets an image of its own.
type program struct {
	name        string
	description string
}

var programs = []program{
	{"windlass-hub", "The hub of Windlass: applications over many Kubernetes clusters, from one API"},
	{"windlass-agent", "The agent of Windlass: joins a Kubernetes cluster to a hub and applies what is meant for it"},
	{"windlass", "The command line of Windlass, with kubectl in it"},
}

// in is the full name of the program's image.
func (p program) in(repository, version string) string {
	return repository + "/" + p.name + ":" + version
}

// A binary is a built program.
type binary struct {
	path string
	size int64
}

// binaries finds those of the local architecture and has the others built: by architecture and program.
func (o order) binaries(ctx context.Context, out io.Writer) (map[string]map[string]binary, error) {
	found := map[string]map[string]binary{}
	// The local ones first: that one of them is missing is said before minutes of building.
	for _, local := range []bool{true, false} {
		for _, architecture := range o.architectures {
			if local != (architecture == o.local) {
				continue
			}
			dir := o.bin
			if !local {
				dir = filepath.Join(o.bin, "images", architecture)
				if err := o.build(ctx, architecture, dir); err != nil {
					return nil, err
				}
			}
			found[architecture] = map[string]binary{}
			for _, p := range programs {
				b, err := o.binary(filepath.Join(dir, p.name), architecture)
				if err != nil {
					return nil, err
				}
				found[architecture][p.name] = b
			}
		}
	}
	return found, nil
}

func (o order) binary(path, architecture string) (binary, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return binary{}, fmt.Errorf("%s does not exist: run make build", path)
	}
	if err != nil {
		return binary{}, err
	}
	built, err := o.inspect(path)
	if err != nil {
		return binary{}, fmt.Errorf("%s was not built by make build (%w): run it again", path, err)
	}
	if err := suits(built, architecture, o.version); err != nil {
		return binary{}, fmt.Errorf("%s %w", path, err)
	}
	return binary{path: path, size: info.Size()}, nil
}

// versionFlag is how the build tells a program its version.
const versionFlag = "windlass.dev/windlass/pkg/version.Version="

// suits says what is wrong with a binary for an image that bears this version. An image has nothing that a binary
// could be linked with, and one whose tag differs from what its program says of itself misleads.
func suits(built *debug.BuildInfo, architecture, version string) error {
	setting := map[string]string{}
	for _, s := range built.Settings {
		setting[s.Key] = s.Value
	}
	if platform := setting["GOOS"] + "/" + setting["GOARCH"]; platform != "linux/"+architecture {
		return fmt.Errorf("was built for %s, and the image is for linux/%s: run make build without GOOS and GOARCH", platform, architecture)
	}
	if setting["CGO_ENABLED"] != "0" {
		return errors.New("was built with CGO_ENABLED=1 and may need a C library: run make build")
	}
	for _, word := range strings.Fields(setting["-ldflags"]) {
		of, said := strings.CutPrefix(word, versionFlag)
		if said && of != version {
			return fmt.Errorf("says that it is %s, and VERSION is %s: run make build VERSION=%s", of, version, version)
		}
		if said {
			return nil
		}
	}
	return errors.New("does not say its version: run make build")
}
