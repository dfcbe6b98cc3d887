// Package dial alone is responsible for the way from an agent to its hub: TCP, directly or through
// an HTTP proxy by CONNECT, the TLS on top of it, and what a person is told when either fails.
package dial

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
)

const (
	defaultTimeout = 10 * time.Second
	// maxProxyHeader bounds what a proxy can make the agent read before the tunnel stands.
	maxProxyHeader = 64 << 10
)

// ProxySecretVariable is the environment variable that names the Secret which HTTPS_PROXY is to come from, when it is to
// come from one: an agent whose proxy is missing must say so, and must not dial directly.
const ProxySecretVariable = "WINDLASS_PROXY_SECRET"

// Config says how to get out of the member's network.
type Config struct {
	// ProxyCAFile holds, as PEM, the authorities that an https:// proxy's certificate may come from.
	// Empty: those of the system.
	ProxyCAFile string
	// Timeout bounds each step: the connection, the proxy's handshake, the proxy's answer. 0 means
	// ten seconds.
	Timeout time.Duration
	// Getenv reads HTTPS_PROXY and NO_PROXY (or the same in lower case); nil means os.Getenv.
	Getenv func(string) string
}

// Dialer opens connections to the hub. It is safe for concurrent use.
type Dialer struct {
	timeout time.Duration
	proxy   func(*url.URL) (*url.URL, error)
	roots   *x509.CertPool
	tcp     net.Dialer
}

// New reads the proxy settings once. It connects to nothing. HTTPS_PROXY is a URL with the scheme
// http or https, or just HOST:PORT, and may hold user and password; NO_PROXY is a list of hosts,
// domains, addresses and networks that are reached without it. As everywhere, localhost and
// loopback addresses never go through a proxy.
func New(c Config) (*Dialer, error) {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Getenv == nil {
		c.Getenv = os.Getenv
	}
	d := &Dialer{timeout: c.Timeout, tcp: net.Dialer{Timeout: c.Timeout}}
	settings := httpproxy.Config{
		HTTPSProxy: either(c.Getenv, "HTTPS_PROXY", "https_proxy"),
		NoProxy:    either(c.Getenv, "NO_PROXY", "no_proxy"),
	}
	if secret := c.Getenv(ProxySecretVariable); secret != "" && settings.HTTPSProxy == "" {
		return nil, fmt.Errorf("Secret %s of the agent's namespace (proxy.existingSecret of the chart) does not exist, or has no key HTTPS_PROXY: make it, such as by kubectl create secret generic %s --from-literal=HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT, and then restart the agent's Deployment", secret, secret)
	}
	if err := checkProxy(settings.HTTPSProxy); err != nil {
		return nil, err
	}
	d.proxy = settings.ProxyFunc()
	if c.ProxyCAFile != "" {
		content, err := os.ReadFile(c.ProxyCAFile)
		if err != nil {
			return nil, fmt.Errorf("reading --proxy-ca-file (proxy.caBundle or proxy.caConfigMap of the chart): %w", err)
		}
		d.roots = x509.NewCertPool()
		if !d.roots.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("--proxy-ca-file %s (proxy.caBundle or proxy.caConfigMap of the chart) holds no certificate in PEM", c.ProxyCAFile)
		}
	}
	return d, nil
}

func either(getenv func(string) string, names ...string) string {
	for _, name := range names {
		if value := getenv(name); value != "" {
			return value
		}
	}
	return ""
}

// checkProxy refuses what the library would silently leave out: the agent would then dial directly.
// The value may hold a password, so nothing of it is repeated.
func checkProxy(value string) error {
	if value == "" {
		return nil
	}
	if !strings.Contains(value, "://") {
		value = "http://" + value
	}
	parsed, err := url.Parse(value)
	if err != nil || parsed.Hostname() == "" {
		return errors.New("HTTPS_PROXY is not a URL such as http://proxy.example:3128; special characters in user or password have to be percent-encoded")
	}
	if parsed.Scheme != "http" && parsed.Scheme != "https" {
		return fmt.Errorf("HTTPS_PROXY has the scheme %q; only http and https proxies are supported", parsed.Scheme)
	}
	return nil
}

// Dial connects to addr, HOST:PORT, over TCP or through the proxy. Its errors are one line for a
// person and never hold credentials. It fits grpc.WithContextDialer.
func (d *Dialer) Dial(ctx context.Context, addr string) (net.Conn, error) {
	proxy, err := d.proxy(&url.URL{Scheme: "https", Host: addr})
	if err != nil {
		// The library's error would repeat the URL.
		return nil, errors.New("HTTPS_PROXY or NO_PROXY cannot be understood")
	}
	if proxy == nil {
		conn, err := d.tcp.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, Explain(err, addr, nil)
		}
		return conn, nil
	}
	return d.throughProxy(ctx, proxy, addr)
}

// DialContext is Dial for http.Transport; network is always TCP.
func (d *Dialer) DialContext(ctx context.Context, _, addr string) (net.Conn, error) {
	return d.Dial(ctx, addr)
}

// ProxyFor names the proxy that Dial uses for addr, without credentials; empty means none.
func (d *Dialer) ProxyFor(addr string) string {
	proxy, err := d.proxy(&url.URL{Scheme: "https", Host: addr})
	if err != nil || proxy == nil {
		return ""
	}
	return proxyName(proxy)
}

func proxyName(proxy *url.URL) string { return proxy.Scheme + "://" + proxyAddress(proxy) }

func proxyAddress(proxy *url.URL) string {
	port := proxy.Port()
	if port == "" {
		port = "80"
		if proxy.Scheme == "https" {
			port = "443"
		}
	}
	return net.JoinHostPort(proxy.Hostname(), port)
}

func (d *Dialer) throughProxy(ctx context.Context, proxy *url.URL, addr string) (net.Conn, error) {
	conn, err := d.reachProxy(ctx, proxy)
	if err != nil {
		return nil, err
	}
	// Everything until the tunnel stands ends with the context or the timeout, whichever is first.
	deadline, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	stop := context.AfterFunc(deadline, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = connect(conn, proxy, addr)
	if !stop() && err == nil {
		err = deadline.Err()
	}
	if err != nil {
		_ = conn.Close()
		if ctx.Err() == nil && deadline.Err() != nil {
			return nil, proxyFailed(proxy, deadline.Err(), "did not answer CONNECT %s within %s", addr, d.timeout)
		}
		return nil, err
	}
	return conn, nil
}

// reachProxy connects to the proxy itself, with TLS when its URL says so.
func (d *Dialer) reachProxy(ctx context.Context, proxy *url.URL) (net.Conn, error) {
	conn, err := d.tcp.DialContext(ctx, "tcp", proxyAddress(proxy))
	if err != nil {
		return nil, proxyFailed(proxy, err, "cannot be reached: %v", err)
	}
	if proxy.Scheme != "https" {
		return conn, nil
	}
	secured := tls.Client(conn, &tls.Config{
		ServerName: proxy.Hostname(), RootCAs: d.roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
	})
	handshake, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	if err := secured.HandshakeContext(handshake); err != nil {
		_ = conn.Close()
		return nil, proxyFailed(proxy, err, "cannot be trusted or does not speak TLS: %v; if its certificate comes from an authority of your own, give that by --proxy-ca-file (proxy.caBundle of the chart)", err)
	}
	return secured, nil
}

// proxyFailed is an error that already says where the failure is: Explain leaves it as it is and
// does not take it for one of the hub's.
func proxyFailed(proxy *url.URL, cause error, format string, values ...any) error {
	return &explained{message: "proxy " + proxyName(proxy) + " " + shorten(fmt.Sprintf(format, values...), 600), cause: cause}
}

// connect asks the proxy for a tunnel. It reads not one byte beyond the proxy's answer, so that conn
// is the tunnel afterwards, as it is.
func connect(conn net.Conn, proxy *url.URL, addr string) error {
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{"User-Agent": {"windlass-agent"}}}
	if user := proxy.User; user != nil {
		password, _ := user.Password()
		request.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := request.Write(conn); err != nil {
		return proxyFailed(proxy, err, "broke off CONNECT %s: %v", addr, err)
	}
	response, err := http.ReadResponse(bufio.NewReader(&byteReader{conn: conn, left: maxProxyHeader}), request)
	if err != nil {
		return proxyFailed(proxy, err, "gave no HTTP answer to CONNECT %s: %v", addr, err)
	}
	if response.StatusCode == http.StatusOK {
		return nil
	}
	// The text of the status line is the proxy's, so it is not repeated; the number has its meaning.
	status := fmt.Sprintf("%d %s", response.StatusCode, http.StatusText(response.StatusCode))
	return &ProxyRefusal{Proxy: proxyName(proxy), Addr: addr, StatusCode: response.StatusCode, text: status, withCredentials: proxy.User != nil}
}

// ProxyRefusal is a proxy's no to a CONNECT.
type ProxyRefusal struct {
	// Proxy is its URL without credentials, Addr what it was asked to connect to.
	Proxy, Addr string
	StatusCode  int

	text            string
	withCredentials bool
}

// Error names the proxy, its answer, and what to do about it.
func (r *ProxyRefusal) Error() string {
	hint := "the proxy has to allow CONNECT to this host and port, or NO_PROXY has to name the host"
	switch {
	case r.StatusCode == http.StatusProxyAuthRequired && r.withCredentials:
		hint = "correct the credentials in HTTPS_PROXY; only Basic authentication is supported"
	case r.StatusCode == http.StatusProxyAuthRequired:
		hint = "set credentials in HTTPS_PROXY (in the chart: in the Secret that proxy.existingSecret names)"
	case r.StatusCode >= 500:
		hint = "the proxy could not reach the hub: check --hub (hub.address of the chart), and that the proxy can resolve and reach it"
	}
	return fmt.Sprintf("proxy %s refused CONNECT %s: %s; %s", r.Proxy, r.Addr, r.text, hint)
}

// byteReader hands out single bytes: a buffered reader on top of it can never hold what belongs to
// the tunnel.
type byteReader struct {
	conn net.Conn
	left int
}

func (r *byteReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.left <= 0 {
		return 0, fmt.Errorf("the answer is longer than %d bytes", maxProxyHeader)
	}
	n, err := r.conn.Read(p[:1])
	r.left -= n
	return n, err
}
