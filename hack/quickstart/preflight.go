package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"windlass.dev/windlass/hack/cluster"
)

const (
	gibibyte = 1 << 30
	// Two members of 450 MiB, a hub of 350, two agents, and room for the files they read.
	memoryToRun = 2 * gibibyte
	// Linking a program that contains an API server takes 3 GiB.
	memoryToBuild = 4 * gibibyte
	diskToRun     = 1 * gibibyte
	// Modules, build cache and programs of a first build.
	diskToBuild = 6 * gibibyte

	oldestGoMinor = 26
)

// programs are what `make build` leaves in bin/.
var programs = []string{"windlass-hub", "windlass-agent", "windlass", "member"}

type check struct {
	name string
	// look returns what was found; an error says what to do about it.
	look func() (string, error)
}

// preflight looks, before anything takes minutes, whether this machine can do it: one line for each thing.
func preflight(ctx context.Context) error {
	settings, err := goSettings(ctx)
	if err != nil {
		return err
	}
	built := everythingBuilt()
	fmt.Println("Checking this machine")
	failed := 0
	for _, c := range []check{
		{"Go", func() (string, error) { return checkGo(settings["GOVERSION"]) }},
		{"memory", func() (string, error) { return checkMemory(built) }},
		{"disk", func() (string, error) { return checkDisk(built, settings["GOCACHE"], settings["GOMODCACHE"]) }},
		{"ports", checkPorts},
	} {
		found, err := c.look()
		if err != nil {
			failed++
			fmt.Printf("  %-8s NOT OK: %v\n", c.name, err)
			continue
		}
		fmt.Printf("  %-8s ok: %s\n", c.name, found)
	}
	if failed > 0 {
		return fmt.Errorf("%d of these checks failed: see the lines marked NOT OK", failed)
	}
	return nil
}

func everythingBuilt() bool {
	for _, program := range programs {
		if _, err := os.Stat(filepath.Join("bin", program)); err != nil {
			return false
		}
	}
	return true
}

func goSettings(ctx context.Context) (map[string]string, error) {
	names := []string{"GOVERSION", "GOCACHE", "GOMODCACHE"}
	output, err := exec.CommandContext(ctx, "go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("asking `go env` for its settings: %w", err)
	}
	settings := map[string]string{}
	for i, line := range strings.Split(strings.TrimSpace(string(output)), "\n") {
		if i < len(names) {
			settings[names[i]] = line
		}
	}
	return settings, nil
}

func checkGo(version string) (string, error) {
	rest, ok := strings.CutPrefix(version, "go1.")
	minor, _, _ := strings.Cut(rest, ".")
	minor, _, _ = strings.Cut(minor, "rc")
	number, err := strconv.Atoi(minor)
	if !ok || err != nil {
		return version + " (its version tells nothing; 1.26 is needed)", nil
	}
	if number < oldestGoMinor {
		return "", fmt.Errorf("this is %s, and 1.%d is the oldest that builds Windlass: see https://go.dev/doc/install", version, oldestGoMinor)
	}
	return strings.TrimPrefix(version, "go"), nil
}

func checkMemory(built bool) (string, error) {
	raw, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return "", fmt.Errorf("it cannot be read (%w): the quickstart runs on Linux only", err)
	}
	available := memInfo(raw, "MemAvailable")
	if limit, ok := memoryLeftIn("/sys/fs/cgroup"); ok {
		available = min(available, limit)
	}
	return enough(available, built, memoryToRun, memoryToBuild, "available", "end other programs, or use a larger machine")
}

func memInfo(raw []byte, field string) uint64 {
	for line := range bytes.Lines(raw) {
		if rest, ok := bytes.CutPrefix(line, []byte(field+":")); ok {
			kilobytes, _ := strconv.ParseUint(strings.Fields(string(rest))[0], 10, 64)
			return kilobytes << 10
		}
	}
	return 0
}

// memoryLeftIn tells what the processes of a cgroup may still take; false when it is not limited. What
// the kernel keeps of files that nobody has used lately counts as used there, and goes when it is needed.
func memoryLeftIn(cgroup string) (uint64, bool) {
	read := func(file string) string {
		raw, _ := os.ReadFile(filepath.Join(cgroup, file)) // one that cannot be read limits nothing
		return strings.TrimSpace(string(raw))
	}
	limit, err := strconv.ParseUint(read("memory.max"), 10, 64) // "max" when there is none
	if err != nil {
		return 0, false
	}
	used, err := strconv.ParseUint(read("memory.current"), 10, 64)
	if err != nil {
		return limit, true
	}
	used -= min(used, inactiveFiles(read("memory.stat")))
	return limit - min(limit, used), true
}

func inactiveFiles(stat string) uint64 {
	for line := range strings.Lines(stat) {
		if value, ok := strings.CutPrefix(line, "inactive_file "); ok {
			bytes, _ := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
			return bytes
		}
	}
	return 0
}

func checkDisk(built bool, dirs ...string) (string, error) {
	least, where := uint64(1<<63), "."
	for _, dir := range append(dirs, ".") {
		var stat syscall.Statfs_t
		if err := statExisting(dir, &stat); err != nil {
			return "", fmt.Errorf("asking how much is free at %s: %w", dir, err)
		}
		if free := stat.Bavail * uint64(stat.Bsize); free < least {
			least, where = free, dir
		}
	}
	return enough(least, built, diskToRun, diskToBuild, "free at "+where, "free some, or set GOCACHE and GOMODCACHE to a larger disk")
}

// statExisting asks about the nearest directory above that exists: Go makes its caches only when it first needs them.
func statExisting(dir string, stat *syscall.Statfs_t) error {
	for {
		err := syscall.Statfs(dir, stat)
		if !errors.Is(err, syscall.ENOENT) || dir == filepath.Dir(dir) {
			return err
		}
		dir = filepath.Dir(dir)
	}
}

func enough(have uint64, built bool, toRun, toBuild uint64, where, advice string) (string, error) {
	need, purpose := toRun, "to run"
	if !built {
		need, purpose = toBuild, "to build and run"
	}
	found := fmt.Sprintf("%.1f GiB %s", float64(have)/gibibyte, where)
	if have < need {
		return "", fmt.Errorf("%s, but %d GiB are needed %s: %s", found, need/gibibyte, purpose, advice)
	}
	return fmt.Sprintf("%s, %d needed %s", found, need/gibibyte, purpose), nil
}

func checkPorts() (string, error) {
	port, err := cluster.FreePort("127.0.0.1")
	if err != nil {
		return "", err
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return "", fmt.Errorf("listening on %s: %w", address, err)
	}
	defer listener.Close()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		return "", fmt.Errorf("connecting to %s: %w: does a firewall block loopback?", address, err)
	}
	connection.Close()
	return "free ones on 127.0.0.1, nothing listens outside loopback", nil
}
