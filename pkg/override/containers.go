package override

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
)

// podSpecs say where the pods of a kind are described. Kinds count by their name alone, so that the
// workloads of other groups that are made like these are known as well.
var podSpecs = map[string][]string{
	"Pod":         {"spec"},
	"ReplicaSet":  {"spec", "template", "spec"},
	"Deployment":  {"spec", "template", "spec"},
	"DaemonSet":   {"spec", "template", "spec"},
	"StatefulSet": {"spec", "template", "spec"},
	"Job":         {"spec", "template", "spec"},
	"CronJob":     {"spec", "jobTemplate", "spec", "template", "spec"},
}

// hasPods says whether it is known where a kind describes its pods.
func hasPods(kind string) bool {
	_, known := podSpecs[kind]
	return known
}

// containers are those of a known workload, the initial ones first. They are the object's own.
func (a *application) containers() []map[string]any {
	kind, _ := a.object["kind"].(string)
	path, known := podSpecs[kind]
	if !known {
		return nil
	}
	var found []map[string]any
	for _, which := range []string{"initContainers", "containers"} {
		list, _, _ := unstructured.NestedFieldNoCopy(a.object, append(slices.Clone(path), which)...)
		items, _ := list.([]any)
		for _, item := range items {
			if container, ok := item.(map[string]any); ok {
				found = append(found, container)
			}
		}
	}
	return found
}

// overrideWords changes the command or the arguments of the container of a name. Objects without such a
// container are left alone, and that is noted.
func (a *application) overrideWords(which string, o *policyv1alpha1.CommandArgsOverrider) error {
	words, taken := make([]any, len(o.Value)), make(map[string]bool, len(o.Value))
	for i, text := range o.Value {
		expanded, err := a.expand(text)
		if err != nil {
			return err
		}
		words[i], taken[expanded] = expanded, true
	}
	containers := a.containers()
	if err := a.costs(costOfItem * (len(containers) + len(words))); err != nil {
		return err
	}
	found, changed := false, o.Operator == policyv1alpha1.OverriderOpAdd || len(words) == 0
	for _, container := range containers {
		if container["name"] != o.ContainerName {
			continue
		}
		found = true
		present, _ := container[which].([]any)
		if err := a.costs(costOfItem * (len(present) + len(words))); err != nil {
			return err
		}
		switch {
		case o.Operator == policyv1alpha1.OverriderOpAdd:
			container[which] = append(slices.Clone(present), words...)
		case present != nil:
			left := slices.DeleteFunc(slices.Clone(present), func(item any) bool {
				text, ok := item.(string)
				return ok && taken[text]
			})
			changed = changed || len(left) < len(present)
			container[which] = left
		}
	}
	switch {
	case !found:
		a.noteIdle(fmt.Sprintf("no container is called %s", o.ContainerName))
	case !changed:
		a.noteIdle(fmt.Sprintf("none of the words to remove is in the %s of the container %s", which, o.ContainerName))
	}
	return nil
}

// overrideImages changes the images of all containers of a known workload, or the one that the predicate
// names.
func (a *application) overrideImages(o *policyv1alpha1.ImageOverrider) error {
	value, err := a.expand(o.Value)
	if err != nil {
		return err
	}
	if o.Predicate != nil {
		image, set, err := stringAt(a.object, o.Predicate.Path)
		if err != nil {
			return err
		}
		changed, err := a.changeImage(image, value, o)
		if err != nil {
			return err
		}
		set(changed)
		return nil
	}
	containers := a.containers()
	if err := a.costs(costOfItem * len(containers)); err != nil {
		return err
	}
	if len(containers) == 0 {
		a.noteIdle("it has no containers that are known; predicate.path may name an image of any kind")
	}
	for _, container := range containers {
		image, _ := container["image"].(string)
		if strings.TrimSpace(image) == "" {
			continue
		}
		if container["image"], err = a.changeImage(image, value, o); err != nil {
			return err
		}
	}
	return nil
}

func (a *application) changeImage(image, value string, o *policyv1alpha1.ImageOverrider) (string, error) {
	if err := a.costs(costOfItem + costOfImage*(len(image)+len(value))); err != nil {
		return "", err
	}
	return changeImage(image, o.Component, o.Operator, value)
}
