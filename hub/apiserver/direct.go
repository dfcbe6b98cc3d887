package apiserver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"k8s.io/client-go/rest"
)

// directly is a client's configuration whose requests are calls of the handler in this process. They go
// through everything that requests from outside go through, but for TLS and HTTP/2. Until serving is closed
// they wait.
func directly(loopback *rest.Config, handler http.Handler, serving <-chan struct{}) *rest.Config {
	config := rest.CopyConfig(loopback)
	config.TLSClientConfig = rest.TLSClientConfig{}
	config.Transport = direct{handler, serving}
	return config
}

// direct is the way from a client to a handler in the same process.
type direct struct {
	handler http.Handler
	serving <-chan struct{}
}

// RoundTrip has the handler serve a request and returns when the reply has begun.
func (d direct) RoundTrip(request *http.Request) (*http.Response, error) {
	select {
	case <-d.serving:
	case <-request.Context().Done():
		if request.Body != nil {
			_ = request.Body.Close()
		}
		return nil, request.Context().Err()
	}
	ctx, cancel := context.WithCancel(request.Context())
	r := &reply{begun: make(chan struct{}), header: http.Header{}, cancel: cancel}
	r.changed.L = &r.mu
	r.forget = context.AfterFunc(request.Context(), func() { r.end(request.Context().Err()) })
	go r.serve(d.handler, incoming(ctx, request))
	<-r.begun
	return r.response(request)
}

// incoming is a client's request as a server sees it.
func incoming(ctx context.Context, request *http.Request) *http.Request {
	seen := request.Clone(ctx)
	seen.URL = &url.URL{Path: request.URL.Path, RawPath: request.URL.RawPath, RawQuery: request.URL.RawQuery}
	seen.RequestURI = seen.URL.RequestURI()
	seen.RemoteAddr = "127.0.0.1:0"
	seen.Proto, seen.ProtoMajor, seen.ProtoMinor = "HTTP/2.0", 2, 0
	if seen.Host == "" {
		seen.Host = request.URL.Host
	}
	if seen.Body == nil {
		seen.Body = http.NoBody
	}
	return seen
}

// mostUnread is how much of a reply is kept for a client that does not read; then its handler waits.
const mostUnread = 1 << 20

// reply is what a handler writes and a client reads. Both may do so at the same time.
type reply struct {
	cancel func()      // ends the handler's context
	forget func() bool // no longer looks at the client's

	// begun is closed when status and header are final, or there will be none.
	begun  chan struct{}
	header http.Header

	mu      sync.Mutex
	changed sync.Cond
	status  int // 0 before it has begun
	sent    http.Header
	unread  bytes.Buffer
	ended   error // nil while more may come
}

// serve runs the handler. One that breaks off breaks the reply off.
func (r *reply) serve(handler http.Handler, request *http.Request) {
	defer func() {
		problem, left := recover(), request.Context().Err()
		switch {
		case left != nil: // what is missing was not left out by the server
			r.end(left)
		case problem != nil:
			r.end(fmt.Errorf("the server broke off its reply to %s %s: %w", request.Method, request.URL.Path, io.ErrUnexpectedEOF))
		default:
			r.WriteHeader(http.StatusOK)
			r.end(io.EOF)
		}
		_ = request.Body.Close()
		r.cancel()
	}()
	handler.ServeHTTP(r, request)
}

// end lets the reader have what there is, and then the error. The first end counts.
func (r *reply) end(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended == nil {
		r.ended = why
		if r.status == 0 {
			close(r.begun)
		}
	}
	r.changed.Broadcast()
}

func (r *reply) response(request *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status == 0 {
		r.cancel()
		r.forget()
		return nil, r.ended
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", r.status, http.StatusText(r.status)), StatusCode: r.status, Header: r.sent,
		Proto: "HTTP/2.0", ProtoMajor: 2, ContentLength: -1, Body: body{r}, Request: request,
	}, nil
}

// Header is the header that the reply will have.
func (r *reply) Header() http.Header { return r.header }

// WriteHeader begins the reply.
func (r *reply) WriteHeader(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status != 0 || r.ended != nil || status < http.StatusOK { // a second one means nothing, and what comes before a reply is for networks
		return
	}
	r.status, r.sent = status, r.header.Clone()
	close(r.begun)
}

// Write adds to the reply.
func (r *reply) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.ended == nil && r.unread.Len() > mostUnread {
		r.changed.Wait()
	}
	if r.ended != nil {
		return 0, r.ended
	}
	r.changed.Broadcast()
	return r.unread.Write(p)
}

// Flush begins the reply; what is written can be read at once.
func (r *reply) Flush() { r.WriteHeader(http.StatusOK) }

// CloseNotify never says anything: the request's context does. The API server takes only those writers for
// ones that can stream that have it, as those of net/http have.
func (r *reply) CloseNotify() <-chan bool { return nil }

// body is a reply as its client reads it.
type body struct{ *reply }

// Read waits until there is something to read, or never will be.
func (b body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.unread.Len() == 0 && b.ended == nil {
		b.changed.Wait()
	}
	if b.unread.Len() == 0 {
		return 0, b.ended
	}
	b.changed.Broadcast()
	return b.unread.Read(p)
}

// Close ends the request, too, if the handler is still at it.
func (b body) Close() error {
	b.forget()
	b.end(context.Canceled)
	b.cancel()
	return nil
}
