package dial

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// greet is a server that speaks first: what it says must arrive unharmed behind a proxy's answer.
func greet(conn net.Conn) {
	_, _ = io.WriteString(conn, "hello from the hub")
}

func newDialer(t testing.TB, c Config) *Dialer {
	t.Helper()
	if c.Getenv == nil {
		c.Getenv = environment()
	}
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func hears(t testing.TB, d *Dialer, addr string) net.Conn {
	t.Helper()
	conn, err := d.Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != "hello from the hub" {
		t.Errorf("heard %q, %v", got, err)
	}
	return conn
}

func TestWithoutAProxyItDialsDirectly(t *testing.T) {
	addr := serve(t, greet)
	d := newDialer(t, Config{})
	conn := hears(t, d, addr)
	if _, ok := conn.(*net.TCPConn); !ok {
		t.Errorf("a %T: gRPC needs the TCP connection itself for its timeouts", conn)
	}
	if d.ProxyFor(addr) != "" {
		t.Error("it names a proxy")
	}
}

func TestAPlainProxyConnectsAndLeavesTheConnectionAsItIs(t *testing.T) {
	p := &proxy{hosts: map[string]string{"hub.test:8443": serve(t, greet)}}
	d := newDialer(t, Config{Getenv: environment("HTTPS_PROXY", "http://"+serve(t, p.handle))})
	conn := hears(t, d, "hub.test:8443")
	if _, ok := conn.(*net.TCPConn); !ok {
		t.Errorf("a %T: gRPC needs the TCP connection itself for its timeouts", conn)
	}
	if diff := cmp.Diff([]string{"CONNECT hub.test:8443"}, p.seen()); diff != "" {
		t.Error(diff)
	}
}

func TestProxySettings(t *testing.T) {
	p := &proxy{hosts: map[string]string{"hub.test:8443": serve(t, greet), "10.1.2.3:8443": serve(t, greet)}}
	at := serve(t, p.handle)
	for _, c := range []struct {
		reason      string
		environment []string
		addr        string
		proxied     bool
	}{
		{"upper case", []string{"HTTPS_PROXY", "http://" + at}, "hub.test:8443", true},
		{"lower case", []string{"https_proxy", "http://" + at}, "hub.test:8443", true},
		{"without a scheme", []string{"HTTPS_PROXY", at}, "hub.test:8443", true},
		{"HTTP_PROXY is for plain HTTP", []string{"HTTP_PROXY", "http://" + at}, "hub.test:8443", false},
		{"NO_PROXY names the host", []string{"HTTPS_PROXY", at, "NO_PROXY", "hub.test"}, "hub.test:8443", false},
		{"NO_PROXY names the domain", []string{"HTTPS_PROXY", at, "no_proxy", "x.example,.test"}, "hub.test:8443", false},
		{"NO_PROXY names the network", []string{"HTTPS_PROXY", at, "NO_PROXY", "10.0.0.0/8"}, "10.1.2.3:8443", false},
		{"NO_PROXY names another port", []string{"HTTPS_PROXY", at, "NO_PROXY", "hub.test:443"}, "hub.test:8443", true},
		{"NO_PROXY names everything", []string{"HTTPS_PROXY", at, "NO_PROXY", "*"}, "hub.test:8443", false},
		{"loopback never goes through a proxy", []string{"HTTPS_PROXY", at}, "127.0.0.1:8443", false},
	} {
		t.Run(c.reason, func(t *testing.T) {
			d := newDialer(t, Config{Getenv: environment(c.environment...)})
			if got := d.ProxyFor(c.addr) != ""; got != c.proxied {
				t.Errorf("proxied %t, want %t", got, c.proxied)
			}
		})
	}
}

const password = "canary p%ss:word"

func TestCredentialsGoToTheProxyAndNowhereElse(t *testing.T) {
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+password))
	p := &proxy{hosts: map[string]string{"hub.test:8443": serve(t, greet)}, authorization: want}
	at := serve(t, p.handle)
	hears(t, newDialer(t, Config{Getenv: environment("HTTPS_PROXY", "http://user:canary%20p%25ss%3Aword@"+at)}), "hub.test:8443")

	for _, c := range []struct{ reason, proxy, want string }{
		{"no credentials", "http://" + at, "proxy http://" + at + " refused CONNECT hub.test:8443: 407 Proxy Authentication Required; set credentials in HTTPS_PROXY"},
		{"wrong credentials", "http://user:canarywrong@" + at, "proxy http://" + at + " refused CONNECT hub.test:8443: 407 Proxy Authentication Required; correct the credentials in HTTPS_PROXY"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			d := newDialer(t, Config{Getenv: environment("HTTPS_PROXY", c.proxy)})
			_, err := d.Dial(t.Context(), "hub.test:8443")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v\nwant %s", err, c.want)
			}
			if strings.Contains(fmt.Sprintf("%+v %#v", err, err)+d.ProxyFor("hub.test:8443"), "canary") {
				t.Errorf("credentials are shown: %v", err)
			}
			if !Terminal(err) {
				t.Error("without other credentials there is no use in trying again")
			}
		})
	}
}

func TestAnEncryptedProxyIsTrustedByTheUsersAuthority(t *testing.T) {
	ca := newAuthority(t, "corporate")
	p := &proxy{hosts: map[string]string{"hub.test:8443": serve(t, greet)}}
	at := serve(t, overTLS(ca.issue(t, []string{"127.0.0.1"}, validNow), p.handle))
	hears(t, newDialer(t, Config{ProxyCAFile: ca.file(t), Getenv: environment("HTTPS_PROXY", "https://"+at)}), "hub.test:8443")

	_, err := newDialer(t, Config{Getenv: environment("HTTPS_PROXY", "https://user:canary@"+at)}).Dial(t.Context(), "hub.test:8443")
	if err == nil || !strings.Contains(err.Error(), "proxy https://"+at) || !strings.Contains(err.Error(), "--proxy-ca-file") {
		t.Errorf("without the file: %v", err)
	}
	if err := Explain(err, "hub.test:8443", nil); strings.Contains(err.Error(), "passthrough") || strings.Contains(err.Error(), "canary") {
		t.Errorf("the proxy's certificate is taken for the hub's: %v", err)
	}
}

func TestAProxyThatFailsIsNamed(t *testing.T) {
	for _, c := range []struct {
		reason string
		handle func(net.Conn)
		want   string
	}{
		{"it closes the connection", func(net.Conn) {}, "gave no HTTP answer to CONNECT hub.test:8443"},
		{"it speaks something else", func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n") }, "gave no HTTP answer"},
		{"it forbids", answering("HTTP/1.1 403 <b>Forbidden</b>\r\n\r\n"), "refused CONNECT hub.test:8443: 403 Forbidden; the proxy has to allow CONNECT"},
		{"it cannot reach the hub", answering("HTTP/1.1 503 x\r\n\r\n"), "503 Service Unavailable; the proxy could not reach the hub"},
		{"it redirects to a login page", answering("HTTP/1.1 302 Found\r\nLocation: http://login\r\n\r\n"), "refused CONNECT hub.test:8443: 302 Found"},
		{"its answer has no end", func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := io.WriteString(c, "X: "+strings.Repeat("y", 1000)+"\r\n"); err != nil {
					return
				}
			}
		}, "longer than"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			at := serve(t, c.handle)
			_, err := newDialer(t, Config{Getenv: environment("HTTPS_PROXY", "http://user:canary@"+at)}).Dial(t.Context(), "hub.test:8443")
			if err == nil || !strings.Contains(err.Error(), "proxy http://"+at) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v\nwant %s", err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "<b>") || strings.Contains(err.Error(), "\n")) {
				t.Errorf("not fit to be shown: %q", err)
			}
			if Terminal(err) {
				t.Error("a proxy may be better later")
			}
		})
	}
}

func answering(text string) func(net.Conn) {
	return func(conn net.Conn) {
		buffer := make([]byte, 4096)
		_, _ = conn.Read(buffer)
		_, _ = io.WriteString(conn, text)
	}
}

func TestAProxyThatIsSilentIsGivenUp(t *testing.T) {
	at := serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	d := newDialer(t, Config{Timeout: 100 * time.Millisecond, Getenv: environment("HTTPS_PROXY", "http://"+at)})
	_, err := d.Dial(t.Context(), "hub.test:8443")
	if err == nil || !strings.Contains(err.Error(), "did not answer CONNECT hub.test:8443 within 100ms") {
		t.Errorf("error %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	d = newDialer(t, Config{Timeout: time.Hour, Getenv: environment("HTTPS_PROXY", "http://"+at)})
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := d.Dial(ctx, "hub.test:8443"); err == nil {
		t.Error("it went on after its context had ended")
	}
}

func TestBadSettingsAreRefusedAtOnceWithoutTheirContent(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		reason string
		config Config
		want   string
	}{
		{"a password that is not encoded", Config{Getenv: environment("HTTPS_PROXY", "http://user:canary%zz@proxy:3128")}, "percent-encoded"},
		{"another kind of proxy", Config{Getenv: environment("HTTPS_PROXY", "socks5://user:canary@proxy:1080")}, `the scheme "socks5"`},
		{"a Secret that is not there", Config{Getenv: environment(ProxySecretVariable, "way-out")}, "Secret way-out of the agent's namespace (proxy.existingSecret of the chart) does not exist, or has no key HTTPS_PROXY"},
		{"no host", Config{Getenv: environment("HTTPS_PROXY", "http://")}, "not a URL"},
		{"a file that is not there", Config{ProxyCAFile: empty + "x"}, "--proxy-ca-file"},
		{"a file without a certificate", Config{ProxyCAFile: empty}, "holds no certificate in PEM"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			if c.config.Getenv == nil {
				c.config.Getenv = environment()
			}
			_, err := New(c.config)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %s", err, c.want)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("credentials are shown: %v", err)
			}
		})
	}
}

func TestAHubThatCannotBeReachedIsOneClearLine(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := listener.Addr().String()
	_ = listener.Close()
	for _, c := range []struct{ reason, addr, want string }{
		{"nobody listens", refused, refused + " refused the connection; check that the hub is running"},
		{"no such name", "hub.invalid:8443", "hub.invalid:8443: "},
	} {
		t.Run(c.reason, func(t *testing.T) {
			_, err := newDialer(t, Config{Timeout: 5 * time.Second}).Dial(t.Context(), c.addr)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want %s", err, c.want)
			}
			if Terminal(err) {
				t.Error("it may be there later")
			}
			if again := Explain(fmt.Errorf("transport: %w", err), c.addr, nil); again.Error() != err.Error() {
				t.Errorf("explained twice it says %v", again)
			}
		})
	}
	if err := Explain(&net.DNSError{Name: "hub.x", IsNotFound: true}, "hub.x:8443", nil); !strings.Contains(err.Error(), "does not exist for this machine's DNS") {
		t.Error(err)
	}
	if err := Explain(&net.DNSError{Name: "hub.x", Err: "server misbehaving"}, "hub.x:8443", nil); !strings.Contains(err.Error(), "DNS does not answer") {
		t.Error(err)
	}
	if err := Explain(&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, "hub.x:8443", nil); !strings.Contains(err.Error(), "did not answer in time") {
		t.Error(err)
	}
	if err := Explain(context.Canceled, "hub.x:8443", nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if Explain(nil, "hub.x:8443", nil) != nil {
		t.Error("nothing was explained")
	}
}
