package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// EtcdConfig says how to start an etcd of one member. Dir and Binary are needed.
type EtcdConfig struct {
	Dir    string // made when absent; holds keys, data, log and record
	Binary string // bin/member
}

// Etcd is one etcd process that talks to whom its own authority has given a certificate, and the
// directory that outlives it: what a hub's --etcd-servers names.
type Etcd struct {
	CA         string // path of the authority of its own and its clients' certificates, PEM
	ClientCert string // path of a client's certificate, PEM
	ClientKey  string // path of its key, PEM

	config         EtcdConfig
	port, peerPort int
	http           *http.Client
	process        *Process
}

// NewEtcd prepares an etcd: directory, keys, ports. It starts nothing.
func NewEtcd(config EtcdConfig) (*Etcd, error) {
	e := &Etcd{config: config}
	if err := e.prepare(); err != nil {
		return nil, fmt.Errorf("preparing an etcd in %s: %w", config.Dir, err)
	}
	return e, nil
}

func (e *Etcd) prepare() (err error) {
	if e.config.Dir, err = filepath.Abs(e.config.Dir); err != nil {
		return err
	}
	if e.config.Binary, err = builtBinary(e.config.Binary); err != nil {
		return err
	}
	if e.port, err = FreePort("127.0.0.1"); err != nil {
		return err
	}
	if e.peerPort, err = FreePort("127.0.0.1"); err != nil {
		return err
	}
	pki := filepath.Join(e.config.Dir, "pki")
	if err := os.MkdirAll(pki, 0o700); err != nil {
		return err
	}
	ca, err := newAuthority(pki, "ca", "etcd-ca")
	if err != nil {
		return err
	}
	if err := ca.issue(pki, "server", pkix.Name{CommonName: "etcd"}, []string{"127.0.0.1"}); err != nil {
		return err
	}
	if err := ca.issue(pki, "client", pkix.Name{CommonName: "hub"}, nil); err != nil {
		return err
	}
	e.CA, e.ClientCert, e.ClientKey = filepath.Join(pki, "ca.crt"), filepath.Join(pki, "client.crt"), filepath.Join(pki, "client.key")
	pair, err := tls.LoadX509KeyPair(e.ClientCert, e.ClientKey)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.certificate)
	e.http = &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}},
	}
	return nil
}

// Start starts the process, on the same port and data as before, and waits until it serves.
func (e *Etcd) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	peer := "http://127.0.0.1:" + strconv.Itoa(e.peerPort)
	process, err := start(command{
		name: etcdProcess, path: e.config.Binary,
		args: []string{etcdProcess,
			"--name=store", "--data-dir=data",
			"--listen-client-urls=" + e.URL(), "--advertise-client-urls=" + e.URL(),
			"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=store=" + peer,
			"--client-cert-auth", "--trusted-ca-file=pki/ca.crt", "--cert-file=pki/server.crt", "--key-file=pki/server.key",
			"--enable-grpc-gateway=false", "--log-level=warn",
		},
		dir: e.config.Dir, log: e.LogPath(), env: plainEnvironment(),
	})
	if err != nil {
		return err
	}
	e.process = process
	if err := e.waitHealthy(ctx); err != nil {
		_ = process.Kill()
		return fmt.Errorf("starting etcd: %w", err)
	}
	return nil
}

func (e *Etcd) waitHealthy(ctx context.Context) error {
	err := waitFor(ctx, 20*time.Millisecond, func(ctx context.Context) error {
		if err := e.process.ended(); err != nil {
			return err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.URL()+"/health", nil)
		if err != nil {
			return err
		}
		response, err := e.http.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("it answers %s", response.Status)
		}
		return nil
	})
	var failure *Failure
	if err == nil || errors.As(err, &failure) {
		return err
	}
	return &Failure{What: "waiting for etcd to serve", LogPath: e.LogPath(), Err: err}
}

// URL is what a hub's --etcd-servers takes.
func (e *Etcd) URL() string { return "https://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(e.port)) }

// LogPath returns the path of the log; it goes on over restarts.
func (e *Etcd) LogPath() string { return filepath.Join(e.config.Dir, etcdProcess+".log") }

// Process returns the present process, or the last one; nil before Start.
func (e *Etcd) Process() *Process { return e.process }

// Kill ends the process by SIGKILL, as a crash would.
func (e *Etcd) Kill() error { return e.process.Kill() }
