package enroll

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"windlass.dev/windlass/pkg/identity"
)

// TokenVariable is the environment variable that may hold the join token.
const TokenVariable = "WINDLASS_TOKEN"

// TokenSecretVariable is the environment variable that names the Secret, if it is one, that the token's file is of, so
// that whoever has to make it is told.
const TokenSecretVariable = "WINDLASS_TOKEN_SECRET"

// maxTokenFile bounds what is read of a file that is no token.
const maxTokenFile = 4096

// TokenSource says where the join token is. A token is never a command's argument: those can be
// read by everybody on the machine.
type TokenSource struct {
	// File is --token-file; it comes first.
	File string
	// Getenv reads WINDLASS_TOKEN; nil means os.Getenv.
	Getenv func(string) string
}

// Read returns nil when no token was given. It is asked anew whenever a token matters, so that a
// mounted Secret may come later or be taken away after the join. Its errors never repeat the content.
func (t TokenSource) Read() (*identity.Token, error) {
	if _, err := identity.ParseToken(t.File); err == nil {
		return nil, fmt.Errorf("--token-file was given a join token, and not the name of a file that holds one: put the token into a file, or into the environment's %s", TokenVariable)
	}
	getenv := t.Getenv
	if getenv == nil {
		getenv = os.Getenv
	}
	if t.File != "" {
		return readTokenFile(t.File, getenv(TokenSecretVariable))
	}
	text := getenv(TokenVariable)
	if text == "" {
		return nil, nil
	}
	token, err := identity.ParseToken(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", TokenVariable, err)
	}
	return &token, nil
}

func readTokenFile(path, secret string) (*identity.Token, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && secret != "" {
		return nil, fmt.Errorf("Secret %s of the agent's namespace (hub.existingSecret of the chart) does not exist, or has no key %s, so there is no --token-file %s: run `windlass token create` on the hub and put the token there", secret, filepath.Base(path), path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("--token-file %s does not exist: run `windlass token create` on the hub and put the token there", path)
	}
	if err != nil {
		return nil, fmt.Errorf("--token-file: %w", err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxTokenFile))
	if err != nil {
		return nil, fmt.Errorf("--token-file: %w", err)
	}
	token, err := identity.ParseToken(string(content))
	if err != nil {
		return nil, fmt.Errorf("--token-file %s: %w", path, err)
	}
	return &token, nil
}
