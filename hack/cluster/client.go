package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Dial opens a connection; a member in a network namespace of its own needs one that goes through it.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Client reads and writes JSON at a Kubernetes API server. It is a few lines instead of client-go
// because the quickstart shows its first word before a minute of compiling, not after.
type Client struct {
	server string
	http   *http.Client
}

// StatusError is an answer of an API server that is not a success.
type StatusError struct {
	Code    int
	Message string
}

func (e *StatusError) Error() string { return fmt.Sprintf("%s (HTTP %d)", e.Message, e.Code) }

// NewClient returns a client for the current context of a kubeconfig; dial may be nil.
func NewClient(path string, dial Dial) (*Client, error) {
	k, err := readKubeconfig(path)
	if err != nil {
		return nil, err
	}
	cluster, user, err := k.current()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig %s: %w", path, err)
	}
	var pems [3][]byte
	for i, field := range []struct {
		from map[string]any
		name string
	}{{cluster, "certificate-authority"}, {user, "client-certificate"}, {user, "client-key"}} {
		if pems[i], err = pemField(path, field.from, field.name); err != nil {
			return nil, fmt.Errorf("reading %s of the kubeconfig %s: %w", field.name, path, err)
		}
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM(pems[0]) {
		return nil, fmt.Errorf("reading the kubeconfig %s: it holds no certificate authority", path)
	}
	if pems[1] != nil {
		pair, err := tls.X509KeyPair(pems[1], pems[2])
		if err != nil {
			return nil, fmt.Errorf("reading the client certificate of the kubeconfig %s: %w", path, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	server, _ := cluster["server"].(string)
	return &Client{
		server: strings.TrimSuffix(server, "/"),
		http: &http.Client{
			Timeout:   30 * time.Second,
			Transport: &http.Transport{TLSClientConfig: config, DialContext: dial, ForceAttemptHTTP2: true},
		},
	}, nil
}

// Get reads the object or list at an API path into an object; into may be nil.
func (c *Client) Get(ctx context.Context, path string, into any) error {
	return c.do(ctx, http.MethodGet, path, nil, into)
}

// Create posts an object to the API path of its collection.
func (c *Client) Create(ctx context.Context, path string, object any) error {
	return c.do(ctx, http.MethodPost, path, object, nil)
}

// ensure is Create, but that there may be an object of that name.
func (c *Client) ensure(ctx context.Context, path string, object any) error {
	err := c.Create(ctx, path, object)
	var status *StatusError
	if errors.As(err, &status) && status.Code == http.StatusConflict {
		return nil
	}
	return err
}

func (c *Client) do(ctx context.Context, method, path string, body, into any) error {
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(raw)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.server+path, reader)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode >= 300 {
		return statusError(response.StatusCode, raw)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(raw, into)
}

func statusError(code int, raw []byte) error {
	var status struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(raw, &status) != nil || status.Message == "" {
		status.Message = strings.TrimSpace(string(raw))
	}
	return &StatusError{Code: code, Message: status.Message}
}
