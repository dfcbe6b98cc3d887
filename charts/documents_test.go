package charts_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// documents are those that tell users how to install, upgrade and uninstall.
func documents(t *testing.T) map[string]string {
	t.Helper()
	files := []string{"../README.md"}
	for _, pattern := range []string{"*/README.md", "*/templates/NOTES.txt", "../docs/guide/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d files, error %v", pattern, len(found), err)
		}
		files = append(files, found...)
	}
	all := map[string]string{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// A command that goes on is one line, whatever the prompt.
		all[file] = regexp.MustCompile(`\\\n(> )?\s*`).ReplaceAllString(string(content), "")
	}
	return all
}

// TestTheAdministratorsKubeconfigIsNobodyElses: whoever reads it may do everything on the hub.
func TestTheAdministratorsKubeconfigIsNobodyElses(t *testing.T) {
	written := 0
	for file, text := range documents(t) {
		for line := range strings.Lines(text) {
			if strings.Contains(line, ">windlass.kubeconfig") {
				written++
				if !strings.Contains(line, "umask 077") {
					t.Errorf("%s: everybody on the machine may read what this writes: %s", file, line)
				}
			}
		}
	}
	if written < 2 {
		t.Errorf("it is written in %d places: are they still found?", written)
	}
	for _, ignored := range []string{"../.gitignore", "../.dockerignore"} {
		content, err := os.ReadFile(ignored)
		if err != nil || !strings.Contains(string(content), "windlass.kubeconfig") {
			t.Errorf("%s does not keep it out, error %v", ignored, err)
		}
	}
}

var (
	helmCommand   = regexp.MustCompile(`helm (install|upgrade|upgrade --install|test|uninstall) windlass-(agent|hub)\b[^\n]*`)
	namespaceFlag = regexp.MustCompile(`--namespace ([a-z-]+)`)
)

// TestTheDocumentsInstallHubAndAgentApart: in one namespace the agent could read the hub's Secrets, and whoever removes
// the one would remove the other.
func TestTheDocumentsInstallHubAndAgentApart(t *testing.T) {
	commands := 0
	for file, text := range documents(t) {
		for _, command := range helmCommand.FindAllStringSubmatch(text, -1) {
			namespace := namespaceFlag.FindStringSubmatch(command[0])
			if namespace == nil {
				continue // the beginning of what a command prints
			}
			commands++
			if want := namespaceOf[command[2]]; namespace[1] != want {
				t.Errorf("%s: want --namespace %s in %s", file, want, command[0])
			}
			if command[1] == "upgrade" && !strings.Contains(command[0], "--reset-then-reuse-values") {
				t.Errorf("%s: this forgets all values that it does not say: %s", file, command[0])
			}
		}
		if strings.Contains(text, "delete namespace windlass-") {
			t.Errorf("%s deletes a namespace, and with it whatever else is there", file)
		}
	}
	for _, block := range strings.Split(documents(t)["agent/README.md"], "```") {
		secret, namespace := strings.Index(block, "create secret"), strings.Index(block, "kubectl create namespace windlass-agent")
		if secret >= 0 && (namespace < 0 || namespace > secret) {
			t.Errorf("a Secret is made in a namespace that is not there yet:\n%s", block)
		}
	}
	if commands < 8 {
		t.Errorf("there are %d commands: are they still found?", commands)
	}
}
