// Command images is what `make images` runs: it packs the built programs into OCI images, writes each as a
// tarball, and pushes them where that is asked. It needs neither a Docker engine nor a registry.
package main

import (
	"cmp"
	"context"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// An order is what was asked for. The names in its errors are those of the Makefile's variables, because that is
// where people set them.
type order struct {
	architectures []string
	repository    string // REPOSITORY: what stands before the program in an image's name
	version       string // VERSION
	push          string // PUSH, or empty
	zoneinfo      string // Go's zoneinfo.zip

	bin   string                                                   // where make build puts programs
	local string                                                   // the architecture of the programs in bin; empty if they are not for Linux
	build func(ctx context.Context, architecture, to string) error // builds the programs for another one

	inspect func(path string) (*debug.BuildInfo, error) // what a program says of how it was built
}

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		fmt.Fprintf(os.Stderr, "images: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o := order{bin: "bin", inspect: buildinfo.ReadFile}
	if runtime.GOOS == "linux" {
		o.local = runtime.GOARCH
	}
	flags := flag.NewFlagSet("images", flag.ContinueOnError)
	architectures := flags.String("arch", "", "architectures, separated by commas (default that of this machine)")
	flags.StringVar(&o.repository, "repository", "", "what stands before the program in an image's name")
	flags.StringVar(&o.version, "version", "", "version of the programs, and the images' tag")
	flags.StringVar(&o.push, "push", "", "registry and repository to push to")
	flags.StringVar(&o.zoneinfo, "zoneinfo", "", "Go's lib/time/zoneinfo.zip")
	files := flags.String("files", "", "only write the files that stand beside the program into this folder, for the Dockerfile")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *files != "" {
		return unpack(*files, o.zoneinfo)
	}
	o.architectures = strings.Split(cmp.Or(*architectures, runtime.GOARCH), ",")
	o.build = func(ctx context.Context, architecture, to string) error {
		return build(ctx, architecture, to, o.version, out)
	}
	return o.make(ctx, out)
}

// supported are the architectures that the images are made for.
var supported = []string{"amd64", "arm64"}

func (o order) make(ctx context.Context, out io.Writer) error {
	if err := o.check(); err != nil {
		return err
	}
	binaries, err := o.binaries(ctx, out)
	if err != nil {
		return err
	}
	base, err := baseLayer(o.zoneinfo)
	if err != nil {
		return err
	}
	for _, p := range programs {
		var made []v1.Image
		for _, architecture := range o.architectures {
			binary := binaries[architecture][p.name]
			fmt.Fprintf(out, "%s for %s: packing %s, %s\n", p.name, architecture, binary.path, mebibytes(binary.size))
			image, err := newImage(p, architecture, o.version, base, binary)
			if err != nil {
				return fmt.Errorf("making the image of %s for %s: %w", p.name, architecture, err)
			}
			path := filepath.Join(o.bin, "images", p.name+"-"+architecture+".tar")
			if err := o.archive(path, p, image, out); err != nil {
				return fmt.Errorf("writing %s: %w", path, err)
			}
			made = append(made, image)
		}
		if o.push == "" {
			continue
		}
		if err := push(ctx, p.in(o.push, o.version), made, out); err != nil {
			return err
		}
	}
	return nil
}

// check refuses what can't work before anything takes time.
func (o order) check() error {
	for i, architecture := range o.architectures {
		if !slices.Contains(supported, architecture) {
			return fmt.Errorf("ARCH has %q: images are made for %s; name one, or several separated by commas", architecture, strings.Join(supported, " and "))
		}
		if slices.Contains(o.architectures[:i], architecture) {
			return fmt.Errorf("ARCH has %s twice: name it once", architecture)
		}
	}
	if _, err := name.NewTag("host.example/image:"+o.version, name.StrictValidation); err != nil {
		return fmt.Errorf("VERSION is %q, which can't be the tag of an image: use letters, digits, dots and dashes, such as v1.2.3", o.version)
	}
	if err := checkRepository("REPOSITORY", o.repository); err != nil {
		return err
	}
	if o.push == "" {
		return nil
	}
	return checkRepository("PUSH", o.push)
}

// checkRepository wants a host in the name: what has none means another registry to every tool.
func checkRepository(variable, repository string) error {
	if scheme, rest, found := strings.Cut(repository, "://"); found {
		return fmt.Errorf("%s is %q: an image's name has no scheme; leave %s:// out, and say %s", variable, repository, scheme, strings.TrimRight(rest, "/"))
	}
	if bare := strings.TrimRight(repository, "/"); bare != repository {
		return fmt.Errorf("%s is %q: leave the slash at its end out, and say %s", variable, repository, bare)
	}
	if _, err := name.NewRepository(repository+"/image", name.StrictValidation); err != nil {
		return fmt.Errorf("%s is %q: give a registry's host name and, if you like, a path in lower case, such as registry.example.com/windlass", variable, repository)
	}
	return nil
}

// build has the programs built by make, where the flags stand.
func build(ctx context.Context, architecture, to, version string, out io.Writer) error {
	fmt.Fprintf(out, "building for %s into %s: minutes the first time, for the hub contains a Kubernetes API server\n", architecture, to)
	cmd := exec.CommandContext(ctx, "make", "--no-print-directory", "programs",
		"GOOS=linux", "GOARCH="+architecture, "INTO="+to, "VERSION="+version)
	// In a process group of its own, so that an interruption ends the compilers too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building the programs for %s: %w", architecture, err)
	}
	return nil
}

func mebibytes(size int64) string { return fmt.Sprintf("%.1f MiB", float64(size)/(1<<20)) }
