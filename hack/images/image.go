package main

import (
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// newImage is the image of one program for one architecture: a layer that all images share, and one with the
// program.
func newImage(p program, architecture, version string, base v1.Layer, b binary) (v1.Image, error) {
	program, err := layer([]file{{path: programDir + "/" + p.name, mode: 0o755, from: b.path}})
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.ConfigFile(image, &v1.ConfigFile{
		OS:           "linux",
		Architecture: architecture,
		Created:      v1.Time{Time: epoch},
		RootFS:       v1.RootFS{Type: "layers"},
		Config: v1.Config{
			User:       user,
			Entrypoint: []string{"/" + programDir + "/" + p.name},
			WorkingDir: "/",
			Env:        []string{"ZONEINFO=/" + zones},
			Labels: map[string]string{
				"org.opencontainers.image.title":       p.name,
				"org.opencontainers.image.description": p.description,
				"org.opencontainers.image.version":     version,
				"org.opencontainers.image.source":      "https://windlass.dev/windlass",
				"org.opencontainers.image.licenses":    "Apache-2.0",
			},
		},
	})
	if err != nil {
		return nil, err
	}
	return mutate.Append(image,
		mutate.Addendum{Layer: base, History: madeBy("certificate authorities, time zones, a user")},
		mutate.Addendum{Layer: program, History: madeBy(p.name + " " + version)},
	)
}

func madeBy(what string) v1.History {
	return v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "make images", Comment: what}
}

func platform(image v1.Image) (*v1.Platform, error) {
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	return &v1.Platform{OS: config.OS, Architecture: config.Architecture}, nil
}
