package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// push uploads the images of one program under one name: several architectures as an index, of which every node
// takes its own.
func push(ctx context.Context, reference string, images []v1.Image, out io.Writer) error {
	tag, err := name.NewTag(reference, name.StrictValidation)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  pushing %s\n", reference)
	updates := make(chan v1.Update, 64)
	told := make(chan struct{})
	go func() {
		defer close(told)
		tell(updates, out)
	}()
	digest, err := upload(tag, images,
		remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithProgress(updates))
	if err != nil {
		return fmt.Errorf("pushing %s: %w; PUSH names the registry, and `docker login` or `podman login` give access to it", reference, err)
	}
	<-told
	fmt.Fprintf(out, "  pushed %s@%s\n", reference, digest)
	return nil
}

func upload(tag name.Tag, images []v1.Image, options ...remote.Option) (v1.Hash, error) {
	if len(images) == 1 {
		if err := remote.Write(tag, images[0], options...); err != nil {
			return v1.Hash{}, err
		}
		return images[0].Digest()
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, image := range images {
		platform, err := platform(image)
		if err != nil {
			return v1.Hash{}, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: platform}})
	}
	if err := remote.WriteIndex(tag, index, options...); err != nil {
		return v1.Hash{}, err
	}
	return index.Digest()
}

// tell says now and then how far an upload is: minutes of silence look like a hang.
func tell(updates <-chan v1.Update, out io.Writer) {
	last := time.Now()
	for update := range updates {
		if update.Error != nil || time.Since(last) < 5*time.Second {
			continue
		}
		last = time.Now()
		fmt.Fprintf(out, "    %s of %s\n", mebibytes(update.Complete), mebibytes(update.Total))
	}
}
