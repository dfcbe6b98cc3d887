package v1alpha1

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// EncodeManifest returns an object as it stands in a work: JSON with sorted keys, so that the same object is always the
// same bytes. Unlike encoding/json's Marshal it leaves <, > and & as they are: escaped for HTML, which nobody here reads,
// each of them would take six of the bytes that a work may have.
func EncodeManifest(object map[string]any) ([]byte, error) {
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(object); err != nil {
		return nil, fmt.Errorf("encoding a manifest: %w", err)
	}
	return bytes.TrimSuffix(encoded.Bytes(), []byte("\n")), nil
}
