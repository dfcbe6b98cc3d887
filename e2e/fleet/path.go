package fleet

import (
	"bufio"
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Relay passes TCP connections on to a target and can be told to misbehave as networks do.
type Relay struct {
	listener net.Listener
	target   string

	mutex       sync.Mutex
	connections map[net.Conn]bool
	refusing    bool

	gate     sync.RWMutex // held for writing while stalled
	stalled  bool
	accepted atomic.Int64
}

// NewRelay listens on a free port of the address (without port) and passes on to target. It ends with the test.
func NewRelay(t *testing.T, address, target string) *Relay {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{listener: listener, target: target, connections: map[net.Conn]bool{}}
	go r.accept()
	t.Cleanup(func() {
		listener.Close()
		r.Resume()
		r.Cut()
	})
	return r
}

// Address returns host:port to dial.
func (r *Relay) Address() string { return r.listener.Addr().String() }

// Accepted returns how many connections were passed on so far.
func (r *Relay) Accepted() int64 { return r.accepted.Load() }

// Cut ends every connection there is; new ones are still taken.
func (r *Relay) Cut() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for connection := range r.connections {
		connection.Close()
	}
}

// Refuse makes the relay end new connections at once, and with Cut a hub that is away; Refuse(false) takes it back.
func (r *Relay) Refuse(refusing bool) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.refusing = refusing
}

// Stall keeps every connection open and lets nothing through, as a middlebox does that forgot them.
func (r *Relay) Stall() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if !r.stalled {
		r.gate.Lock()
		r.stalled = true
	}
}

// Resume ends Stall; what waited goes through.
func (r *Relay) Resume() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.stalled {
		r.gate.Unlock()
		r.stalled = false
	}
}

func (r *Relay) accept() {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return
		}
		go r.pass(near)
	}
}

func (r *Relay) pass(near net.Conn) {
	defer near.Close()
	if !r.hold(near) {
		return
	}
	defer r.release(near)
	far, err := net.DialTimeout("tcp", r.target, 10*time.Second)
	if err != nil {
		return
	}
	defer far.Close()
	if !r.hold(far) {
		return
	}
	defer r.release(far)
	r.accepted.Add(1)
	join(gated{near, r}, gated{far, r})
}

func (r *Relay) hold(connection net.Conn) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.refusing {
		return false
	}
	r.connections[connection] = true
	return true
}

func (r *Relay) release(connection net.Conn) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	delete(r.connections, connection)
}

// gated lets writes through only while the relay is not stalled.
type gated struct {
	net.Conn
	relay *Relay
}

func (g gated) Write(data []byte) (int, error) {
	g.relay.gate.RLock()
	defer g.relay.gate.RUnlock()
	return g.Conn.Write(data)
}

// join copies both ways and ends both connections as soon as one has ended.
func join(a, b net.Conn) {
	done := make(chan struct{}, 2)
	pump := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		done <- struct{}{}
	}
	go pump(a, b)
	go pump(b, a)
	<-done
	a.Close()
	b.Close()
	<-done
}

// Proxy is an HTTP proxy that knows CONNECT only.
type Proxy struct {
	listener net.Listener
	user     string
	password string
	tunnels  atomic.Int64
	refused  atomic.Int64
}

// NewProxy listens on a free port of the address (without port). With a user it wants credentials. It ends with the test.
func NewProxy(t *testing.T, address, user, password string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	return NewProxyOn(t, listener, user, password)
}

// NewProxyOn is NewProxy on a listener of the test's own, such as one that speaks TLS or lies in a network namespace.
func NewProxyOn(t *testing.T, listener net.Listener, user, password string) *Proxy {
	t.Helper()
	p := &Proxy{listener: listener, user: user, password: password}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		listener.Close()
	})
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(ctx, connection)
		}
	}()
	return p
}

// Address returns host:port of the proxy.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Tunnels returns how many connections were passed on, Refused how many were turned away for their credentials.
func (p *Proxy) Tunnels() int64 { return p.tunnels.Load() }
func (p *Proxy) Refused() int64 { return p.refused.Load() }

func (p *Proxy) serve(ctx context.Context, near net.Conn) {
	defer near.Close()
	defer context.AfterFunc(ctx, func() { near.Close() })()
	reader := bufio.NewReader(near)
	request, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	if request.Method != http.MethodConnect {
		_, _ = io.WriteString(near, "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
		return
	}
	if p.user != "" && request.Header.Get("Proxy-Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte(p.user+":"+p.password)) {
		p.refused.Add(1)
		_, _ = io.WriteString(near, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
		return
	}
	far, err := net.DialTimeout("tcp", request.Host, 10*time.Second)
	if err != nil {
		_, _ = io.WriteString(near, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
		return
	}
	defer far.Close()
	p.tunnels.Add(1)
	_, _ = io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n")
	join(buffered{near, reader}, far)
}

// buffered reads first what the reader has already taken from the connection.
type buffered struct {
	net.Conn
	reader *bufio.Reader
}

func (b buffered) Read(data []byte) (int, error) { return b.reader.Read(data) }
