package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// OverrideError says why one cluster can't get a template with its overrides. Others can.
type OverrideError struct{ Err error }

// Error is that of the override.
func (e *OverrideError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *OverrideError) Unwrap() error { return e.Err }

// FailedOverrides are the clusters that can't get a template with its overrides, and why.
type FailedOverrides struct {
	Clusters int              // that are to have the template
	Failures map[string]error // by cluster
}

const (
	fewReasons  = 3
	fewClusters = 3
	longReason  = 500 // bytes
)

// Error names the first few clusters and reasons, with the most frequent reason first.
func (f *FailedOverrides) Error() string {
	byReason := map[string][]string{}
	for _, cluster := range slices.Sorted(maps.Keys(f.Failures)) {
		reason := f.Failures[cluster].Error()
		byReason[reason] = append(byReason[reason], cluster)
	}
	reasons := slices.SortedFunc(maps.Keys(byReason), func(a, b string) int {
		if many := len(byReason[b]) - len(byReason[a]); many != 0 {
			return many
		}
		return strings.Compare(byReason[a][0], byReason[b][0])
	})
	texts := make([]string, 0, fewReasons)
	for _, reason := range reasons[:min(len(reasons), fewReasons)] {
		clusters := byReason[reason]
		names := strings.Join(clusters[:min(len(clusters), fewClusters)], ", ")
		if more := len(clusters) - fewClusters; more > 0 {
			names += fmt.Sprintf(" and %d more", more)
		}
		if len(reason) > longReason {
			reason = strings.ToValidUTF8(reason[:longReason], "") + "…"
		}
		texts = append(texts, names+": "+reason)
	}
	if more := len(reasons) - fewReasons; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more reasons", more))
	}
	return fmt.Sprintf("%d of %d clusters stay as they are, because overrides can't be made: %s",
		len(f.Failures), f.Clusters, strings.Join(texts, "; "))
}
