package apiserver

import (
	"runtime/debug"
	"strings"

	"k8s.io/apimachinery/pkg/version"
	"k8s.io/component-base/compatibility"
)

// moduleVersion reports the version of the k8s.io/kubernetes module as the API server's when the
// build did not stamp one: clients such as helm and kubectl refuse a server that has none.
type moduleVersion struct {
	compatibility.EffectiveVersion
}

// Info is what /version answers.
func (v moduleVersion) Info() *version.Info {
	info := v.EffectiveVersion.Info()
	if info == nil || !strings.Contains(info.GitVersion, "$Format") {
		return info
	}
	stamped := *info
	stamped.GitVersion = "v" + v.BinaryVersion().WithPatch(0).String()
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, module := range build.Deps {
			if module.Path == "k8s.io/kubernetes" {
				stamped.GitVersion = module.Version
			}
		}
	}
	stamped.GitCommit, stamped.GitTreeState, stamped.BuildDate = "", "", ""
	return &stamped
}
