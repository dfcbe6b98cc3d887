package override

import (
	_ "crypto/sha256" // digests of images
	_ "crypto/sha512" // digests of images
	"fmt"
	"regexp"
	"strings"

	"github.com/distribution/reference"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
)

// image is an image name in its parts.
type image struct{ registry, repository, tag, digest string }

// parseImage takes the first part of a path for a registry by the rule of all container tools: it has a
// dot or a port, or is localhost.
func parseImage(name string) (image, error) {
	parsed, err := reference.Parse(name)
	if err != nil {
		return image{}, fmt.Errorf("%q is no image name: %w", name, err)
	}
	var i image
	if named, ok := parsed.(reference.Named); ok {
		i.repository = named.Name()
		first, rest, found := strings.Cut(i.repository, "/")
		if found && (strings.ContainsAny(first, ".:") || first == "localhost") {
			i.registry, i.repository = first, rest
		}
	}
	if tagged, ok := parsed.(reference.Tagged); ok {
		i.tag = tagged.Tag()
	}
	if digested, ok := parsed.(reference.Digested); ok {
		i.digest = digested.Digest().String()
	}
	return i, nil
}

func (i image) String() string {
	name := i.repository
	if i.registry != "" {
		name = i.registry + "/" + name
	}
	if i.tag != "" {
		name += ":" + i.tag
	}
	if i.digest != "" {
		name += "@" + i.digest
	}
	return name
}

// changeImage makes one change of an image name. To add is to append.
func changeImage(name string, component policyv1alpha1.ImageComponent, operator policyv1alpha1.OverriderOperator, value string) (string, error) {
	i, err := parseImage(name)
	if err != nil {
		return "", err
	}
	change := func(part *string) {
		switch operator {
		case policyv1alpha1.OverriderOpAdd:
			*part += value
		case policyv1alpha1.OverriderOpReplace:
			*part = value
		case policyv1alpha1.OverriderOpRemove:
			*part = ""
		}
	}
	switch component {
	case policyv1alpha1.ImageRegistry:
		change(&i.registry)
	case policyv1alpha1.ImageRepository:
		change(&i.repository)
	case policyv1alpha1.ImageTag:
		version := i.tag
		if version == "" {
			version = i.digest
		}
		change(&version)
		switch {
		case isTag(version) || version == "":
			i.tag, i.digest = version, ""
		case isDigest(version):
			i.tag, i.digest = "", version
		case operator == policyv1alpha1.OverriderOpAdd:
			return name, nil // there is no tag to which it could be appended
		default:
			return "", fmt.Errorf("%q is neither a tag nor a digest", version)
		}
	default:
		return "", fmt.Errorf("an image has no %q", component)
	}
	changed := i.String()
	if _, err := parseImage(changed); err != nil {
		return "", fmt.Errorf("image %q can't be changed: %w", name, err)
	}
	return changed, nil
}

var (
	anchoredTag    = regexp.MustCompile("^" + reference.TagRegexp.String() + "$")
	anchoredDigest = regexp.MustCompile("^" + reference.DigestRegexp.String() + "$")
)

func isTag(text string) bool { return anchoredTag.MatchString(text) }

func isDigest(text string) bool { return anchoredDigest.MatchString(text) }
