// Package etcd alone is responsible for the hub's store as a process: the embedded etcd and its
// data directory, or the way to an external one, and whose store it is.
package etcd

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

const (
	// maxSocketPath is what fits into a sockaddr_un, less the terminating zero.
	maxSocketPath = 107
	memberName    = "windlass-hub"
	dialTimeout   = 5 * time.Second
	// backendInterval is ten times etcd's own.
	backendInterval = time.Second
)

// reconnect has a process hear soon after a pause whether the store is still its own.
var reconnect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: askAgain},
	MinConnectTimeout: dialTimeout,
}

// Config says where the store is.
type Config struct {
	// DataDir is where the embedded etcd lives; it is made when missing. Ignored when Servers is set.
	DataDir string
	// Servers are the URLs of an external etcd; nothing is embedded then.
	Servers []string
	// CAFile, CertFile and KeyFile are for TLS to the external etcd; all may be empty.
	CAFile, CertFile, KeyFile string
	// QuotaBytes is how large the embedded etcd's file may become; as large as that, it takes no more writes. 0 means 8 GiB.
	QuotaBytes int64
	// Log gets what is to be told of the store, and the embedded etcd's warnings and errors; nil means slog.Default().
	Log *slog.Logger
}

// Etcd is a store that can be reached. Its fields do not change.
type Etcd struct {
	// Endpoints, CAFile, CertFile and KeyFile are what a client of the store needs.
	Endpoints                 []string
	CAFile, CertFile, KeyFile string

	log      *slog.Logger
	server   *embed.Etcd
	stopping atomic.Bool
	release  []func()
}

// Start brings the embedded etcd up and returns when it serves, or returns the way to the external
// one without dialling it. ctx bounds the start only; Close ends the store. The embedded etcd
// listens on a unix socket in a directory that its owner alone may enter, and on nothing else.
// Every error is one line that names the directory and what is wrong with it.
func Start(ctx context.Context, c Config) (*Etcd, error) {
	e := &Etcd{log: cmp.Or(c.Log, slog.Default())}
	if len(c.Servers) > 0 {
		e.Endpoints, e.CAFile, e.CertFile, e.KeyFile = c.Servers, c.CAFile, c.CertFile, c.KeyFile
		return e, nil
	}
	if err := e.start(ctx, c); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

func (e *Etcd) start(ctx context.Context, c Config) error {
	dataDir, err := filepath.Abs(c.DataDir)
	if err != nil {
		return fmt.Errorf("finding the data directory %s: %w", c.DataDir, err)
	}
	unlock, err := lockDataDir(dataDir)
	if err != nil {
		return err
	}
	e.release = append(e.release, unlock)
	socket, removeSocket, err := socketPath(dataDir)
	if err != nil {
		return err
	}
	e.release = append(e.release, removeSocket)

	server, err := embed.StartEtcd(embedded(dataDir, socket, cmp.Or(c.QuotaBytes, defaultQuota), newSlogCore(e.log, &e.stopping)))
	if err != nil {
		return fmt.Errorf("starting etcd in %s: %w", dataDir, err)
	}
	e.server = server
	select {
	case <-server.Server.ReadyNotify():
	case <-server.Server.StopNotify():
		return fmt.Errorf("starting etcd in %s: it stopped by itself", dataDir)
	case err := <-server.Err():
		return fmt.Errorf("starting etcd in %s: %w", dataDir, err)
	case <-ctx.Done():
		return fmt.Errorf("starting etcd in %s: %w", dataDir, context.Cause(ctx))
	}
	e.Endpoints = []string{"unix://" + socket}
	if err := e.makeRoom(ctx); err != nil {
		return fmt.Errorf("starting etcd in %s: %w", dataDir, err)
	}
	return nil
}

// embedded is the configuration of a cluster of one member. Peers do not exist, so nothing listens
// for them; compaction of a store that is used is the API server's business.
func embedded(dataDir, socket string, quota int64, log *slogCore) *embed.Config {
	c := embed.NewConfig()
	c.Name = memberName
	c.Dir = filepath.Join(dataDir, "etcd")
	client := url.URL{Scheme: "unix", Path: socket}
	c.ListenClientUrls = []url.URL{client}
	c.AdvertiseClientUrls = []url.URL{client}
	// The peer address is a name only; it is written into the data on the first start, so it must
	// not depend on where the directory is.
	peer := url.URL{Scheme: "unix", Path: "/" + memberName}
	c.ListenPeerUrls = nil
	c.AdvertisePeerUrls = []url.URL{peer}
	c.InitialCluster = c.InitialClusterFromName(memberName)
	c.InitialClusterToken = memberName
	c.QuotaBackendBytes = quota
	// So many of the last writes are kept in memory for followers that have fallen behind. There are none.
	c.SnapshotCatchUpEntries = 100
	// A member that is alone has nobody to wait for when it elects itself.
	c.TickMs, c.ElectionMs = 50, 500
	c.EnableGRPCGateway = false
	// Every write is in the log on the disk before it is answered; this is how often they are moved into the
	// database, during which writes wait. After a crash what was not moved is read from the log.
	c.BackendBatchInterval = backendInterval
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(log))
	return c
}

// Err reports that the embedded etcd failed after it had started. It never fires for an external one.
func (e *Etcd) Err() <-chan error {
	if e.server == nil {
		return nil
	}
	return e.server.Err()
}

// Close stops the embedded etcd and gives the data directory free. It may be called more than once,
// but not concurrently.
func (e *Etcd) Close() {
	e.stopping.Store(true)
	if e.server != nil {
		e.server.Close()
		e.server = nil
	}
	for i := len(e.release) - 1; i >= 0; i-- {
		e.release[i]()
	}
	e.release = nil
}

// Embedded says whether the store runs in this process.
func (e *Etcd) Embedded() bool { return e.server != nil }

// InProcess is a client of the embedded etcd that calls it as functions of this process, past its
// socket. It must not be used when there is none, nor after Close. The caller closes it.
func (e *Etcd) InProcess() *clientv3.Client {
	client := v3client.New(e.server.Server)
	client.Watcher = newWatcher(client.Watcher, e.server.Server.Watchable())
	return client
}

// Client dials the store. The caller closes it.
func (e *Etcd) Client() (*clientv3.Client, error) {
	c := clientv3.Config{
		Endpoints:   e.Endpoints,
		DialTimeout: dialTimeout,
		// A connection over which nothing comes any more is noticed, as the API server's own are.
		DialKeepAliveTime: 30 * time.Second, DialKeepAliveTimeout: 10 * time.Second,
		DialOptions: []grpc.DialOption{grpc.WithUserAgent(memberName), grpc.WithConnectParams(reconnect)},
		Logger:      zap.NewNop(),
	}
	if e.CAFile != "" || e.CertFile != "" || e.KeyFile != "" {
		config, err := e.clientTLS()
		if err != nil {
			return nil, fmt.Errorf("reading the certificates for etcd: %w", err)
		}
		c.TLS = config
	}
	client, err := clientv3.New(c)
	if err != nil {
		return nil, fmt.Errorf("dialling etcd at %s: %w", strings.Join(e.Endpoints, ","), err)
	}
	return client, nil
}

func (e *Etcd) clientTLS() (*tls.Config, error) {
	return transport.TLSInfo{TrustedCAFile: e.CAFile, CertFile: e.CertFile, KeyFile: e.KeyFile}.ClientConfig()
}

// Everything of a hub lies under the API server's prefix, and whatever copies the API's data copies the hub's id, too.
const (
	apiPrefix = "/registry/"
	hubIDKey  = apiPrefix + "windlass-hub-id"
)

// Claim records hubID as the owner of the store when it is empty, and refuses a store that belongs to another hub, or
// to an API server of something else: the hub would take its objects for its own. It writes nothing else, and
// processes of one hub may call it at the same time.
func (e *Etcd) Claim(ctx context.Context, hubID string) error {
	client, err := e.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	owner, stranger, err := whose(ctx, client)
	if err == nil && owner == "" && stranger == "" {
		owner, err = own(ctx, client, hubID)
	}
	switch {
	case err != nil:
		return e.explain(ctx, err)
	case stranger != "":
		return e.refuse(stranger, hubID)
	case owner != hubID:
		return fmt.Errorf("this store belongs to the hub %s, but the PKI directory is that of the hub %s: "+
			"start with the PKI directory that this store was made with", owner, hubID)
	}
	return nil
}

// refuse says what to do about a store with an API server's data, a key for instance, in which no hub has recorded itself.
func (e *Etcd) refuse(key, hubID string) error {
	if e.Embedded() {
		return fmt.Errorf("the data directory holds the data of another API server, its key %s for instance: give the hub a directory of its own by --data-dir", key)
	}
	at := strings.Join(e.Endpoints, ",")
	return fmt.Errorf("etcd at %s holds the data of another API server, its key %s for instance: a hub needs an etcd of its own; check --etcd-servers. "+
		"If it is this hub's data, from a copy that lacks %s: etcdctl --endpoints=%s put %[3]s %[5]s", at, key, hubIDKey, at, hubID)
}

// whose reads whose the store is. When no hub has recorded itself, which every hub does before it writes anything else, it is
// a key of a stranger's, if there is one.
func whose(ctx context.Context, client *clientv3.Client) (hubID, stranger string, err error) {
	reply, err := client.Txn(ctx).Then(
		clientv3.OpGet(hubIDKey),
		clientv3.OpGet(apiPrefix, clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly()),
	).Commit()
	if err != nil {
		return "", "", err
	}
	recorded, first := reply.Responses[0].GetResponseRange().Kvs, reply.Responses[1].GetResponseRange().Kvs
	switch {
	case len(recorded) > 0:
		return string(recorded[0].Value), "", nil
	case len(first) > 0:
		return "", string(first[0].Key), nil
	}
	return "", "", nil
}

// own records the hub as the owner unless somebody has been faster, and returns who it is.
func own(ctx context.Context, client *clientv3.Client, hubID string) (owner string, err error) {
	reply, err := client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(hubIDKey), "=", 0)).
		Then(clientv3.OpPut(hubIDKey, hubID)).
		Else(clientv3.OpGet(hubIDKey)).
		Commit()
	if err != nil || reply.Succeeded {
		return hubID, err
	}
	return string(reply.Responses[0].GetResponseRange().Kvs[0].Value), nil
}

// explain puts why the first request to the store failed into one line that says what to check.
func (e *Etcd) explain(ctx context.Context, err error) error {
	at := strings.Join(e.Endpoints, ",")
	if e.server != nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("reading whose store etcd at %s is: %w", at, err)
	}
	// The client has tried until ctx ended and says no more than that.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dialTimeout)
	defer cancel()
	for _, endpoint := range e.Endpoints {
		if hint, cause := e.obstacle(ctx, endpoint); cause != nil {
			return fmt.Errorf("etcd at %s cannot be used: %w: %s", endpoint, cause, hint)
		}
	}
	return fmt.Errorf("etcd at %s does not answer: check --etcd-servers, and that etcd is well", at)
}

// obstacle finds out by a connection of its own what is in the way to an endpoint, and what to check.
func (e *Etcd) obstacle(ctx context.Context, endpoint string) (hint string, cause error) {
	where, err := url.Parse(endpoint)
	if err != nil {
		return "check --etcd-servers", err
	}
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", where.Host)
	if err != nil {
		return "check --etcd-servers, and that etcd runs there", err
	}
	defer connection.Close()
	if where.Scheme != "https" {
		return "", nil
	}
	config, err := e.clientTLS()
	if err != nil {
		return "check --etcd-cafile, --etcd-certfile and --etcd-keyfile", err
	}
	config.ServerName = where.Hostname()
	secured := tls.Client(connection, config)
	err = secured.HandshakeContext(ctx)
	if err == nil {
		// What a server thinks of a client's certificate it says after the handshake; if it is content,
		// it waits for the client to speak.
		_ = secured.SetReadDeadline(time.Now().Add(dialTimeout / 5))
		_, err = secured.Read(make([]byte, 1))
	}
	var untrusted *tls.CertificateVerificationError
	var refused *net.OpError
	switch {
	case errors.As(err, &untrusted):
		return "check that --etcd-cafile is the authority of its certificate, and that --etcd-servers calls it as its certificate does", untrusted.Err
	case errors.As(err, &refused) && refused.Op == "remote error":
		return "check that --etcd-certfile and --etcd-keyfile are a certificate that it accepts", err
	case err == nil, errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "", nil
	}
	return "check that --etcd-servers names etcd's port for clients, and whether it speaks https there", err
}

// lockDataDir makes the directory and takes it for this process until unlock is called. The lock
// dies with the process, however that ends.
func lockDataDir(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the data directory %s cannot be written to: %w", dir, pathCause(err))
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("data directory %s is in use by process %s", dir, holder(path))
		}
		return nil, fmt.Errorf("locking the data directory %s: %w", dir, err)
	}
	if err := f.Truncate(0); err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("the data directory %s cannot be written to: %w", dir, pathCause(err))
	}
	return func() { _ = f.Close() }, nil
}

// holder reads who has the lock; the holder may be between taking it and writing its number.
func holder(path string) string {
	content, err := os.ReadFile(path)
	if pid := strings.TrimSpace(string(content)); err == nil && pid != "" {
		return pid
	}
	return "(number not known)"
}

func pathCause(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}

// socketPath is in the data directory when the path is short enough for a socket, and else in a
// directory of its own for temporary files; either may be entered by its owner only.
func socketPath(dataDir string) (path string, remove func(), err error) {
	dir := filepath.Join(dataDir, "run")
	if path = filepath.Join(dir, "etcd.sock"); len(path) <= maxSocketPath {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", nil, fmt.Errorf("making the directory of etcd's socket: %w", err)
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			return "", nil, fmt.Errorf("closing the directory of etcd's socket to others: %w", err)
		}
		return path, func() {}, nil
	}
	dir, err = os.MkdirTemp("", "windlass-hub-")
	if err != nil {
		return "", nil, fmt.Errorf("making a directory for etcd's socket: %w", err)
	}
	remove = func() { _ = os.RemoveAll(dir) }
	if path = filepath.Join(dir, "etcd.sock"); len(path) > maxSocketPath {
		remove()
		return "", nil, fmt.Errorf("the data directory %s and the directory for temporary files %s have paths too long for a socket (at most %d bytes): choose a shorter data directory", dataDir, os.TempDir(), maxSocketPath)
	}
	return path, remove, nil
}
