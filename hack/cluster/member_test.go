package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const sampleDeployment = "web"

func deployment(replicas int) map[string]any {
	labels := map[string]string{"app": sampleDeployment}
	return map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": sampleDeployment},
		"spec": map[string]any{
			"replicas": replicas,
			"selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{
				"metadata": map[string]any{"labels": labels},
				"spec":     map[string]any{"containers": []any{map[string]any{"name": "web", "image": "web"}}},
			},
		},
	}
}

func waitReplicas(ctx context.Context, m *Member, want int) error {
	return waitFor(ctx, 20*time.Millisecond, func(ctx context.Context) error {
		var d struct {
			Status struct{ ReadyReplicas int }
		}
		if err := m.Client().Get(ctx, "/apis/apps/v1/namespaces/default/deployments/"+sampleDeployment, &d); err != nil {
			return err
		}
		if d.Status.ReadyReplicas != want {
			return fmt.Errorf("%d replicas are ready, want %d", d.Status.ReadyReplicas, want)
		}
		return nil
	})
}

func TestAMemberRunsWhatADeploymentAsksForAndKeepsItOverARestart(t *testing.T) {
	binary, err := filepath.Abs("../../bin/member")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	began := time.Now()
	member, err := StartMember(ctx, MemberConfig{Name: "m1", Dir: filepath.Join(t.TempDir(), "m1"), Binary: binary})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = member.Kill() })
	t.Logf("up after %v", time.Since(began).Round(time.Millisecond))

	began = time.Now()
	if err := member.Client().Create(ctx, "/apis/apps/v1/namespaces/default/deployments", deployment(3)); err != nil {
		t.Fatal(err)
	}
	if err := waitReplicas(ctx, member, 3); err != nil {
		t.Fatal(err)
	}
	t.Logf("3 replicas ready after %v", time.Since(began).Round(time.Millisecond))
	var sum, shared uint64
	for _, p := range member.Processes() {
		total, file, err := p.ResidentBytes()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%-24s %4d MiB, %d of them the binary's", p.Name, total>>20, file>>20)
		sum, shared = sum+total-file, max(shared, file)
	}
	t.Logf("in all %d MiB and the binary's pages once, %d MiB", sum>>20, shared>>20)

	if err := member.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, p := range member.Processes() {
		if p.Alive() {
			t.Errorf("%s still runs after Kill", p.Name)
		}
	}
	began = time.Now()
	if err := member.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := waitReplicas(ctx, member, 3); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	t.Logf("up again after %v", time.Since(began).Round(time.Millisecond))
}

func TestAMemberThatCannotStartNamesTheProcessAndItsLog(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "member")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\n[ \"$1\" = etcd ] || exec sleep 60\necho the disk is full >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := StartMember(t.Context(), MemberConfig{Name: "m1", Dir: filepath.Join(dir, "m1"), Binary: broken})
	want := fmt.Sprintf("starting member m1: etcd ended with exit status 3; its log is %s, which ends with:\n    the disk is full",
		filepath.Join(dir, "m1", "etcd.log"))
	if err == nil || err.Error() != want {
		t.Errorf("StartMember: got error\n%v\nwant\n%s", err, want)
	}
}
