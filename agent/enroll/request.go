package enroll

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/hashicorp/go-retryablehttp"

	"windlass.dev/windlass/agent/dial"
	"windlass.dev/windlass/pkg/identity"
)

const (
	requestTimeout = 30 * time.Second
	// maxAnswer is far above an honest answer, which has about 4 KiB.
	maxAnswer = 256 << 10
	// maxRetryAfter bounds how long a hub can send an agent away.
	maxRetryAfter = 5 * time.Minute
	// clockSkew is from when on the clock is worth a warning.
	clockSkew = time.Minute
)

// answer is the hub's, with its clock.
type answer struct {
	identity.EnrollResponse
	// skew is how far the hub's clock is ahead of this machine's; 0 when it is not known.
	skew time.Duration
}

// asked describes a request to enrol for the log, without what was not set.
func (e *Enroller) asked(token identity.Token) []any {
	said := []any{"hub", e.Hub, "token", token.ID}
	if e.ClusterName != "" {
		said = append(said, "cluster", e.ClusterName)
	}
	if proxy := e.Dialer.ProxyFor(e.Hub); proxy != "" {
		said = append(said, "proxy", proxy)
	}
	return said
}

// request asks the hub until it says yes or no. Errors are *StopError or ctx's.
func (e *Enroller) request(ctx context.Context, key *ecdsa.PrivateKey, token identity.Token) (*answer, error) {
	csr, err := identity.NewCertificateRequest(key)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(identity.EnrollRequest{
		Token: token.String(), CSR: csr, ClusterName: e.ClusterName, KubeSystemUID: e.KubeSystemUID,
		Labels: e.Labels, Provider: e.Provider, Region: e.Region, Zones: e.Zones, AgentVersion: e.AgentVersion, Time: e.Now().UTC(),
	})
	if err != nil {
		return nil, fmt.Errorf("writing the request to enrol: %w", err)
	}
	request, err := retryablehttp.NewRequestWithContext(ctx, http.MethodPost, "https://"+e.Hub+identity.EnrollPath, body)
	if err != nil {
		return nil, stop("--hub %q is not HOST:PORT", e.Hub)
	}
	request.Header.Set("Content-Type", "application/json")
	e.Log.Info("asking the hub to enrol this cluster", e.asked(token)...)

	response, err := e.client(token.Pin).Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, stop("cannot enrol with the hub: %v", dial.Explain(err, e.Hub, nil))
	}
	defer response.Body.Close()
	return e.read(response)
}

// client trusts the one hub with the pin, follows no redirect and keeps no connection.
func (e *Enroller) client(pin string) *retryablehttp.Client {
	transport := &http.Transport{
		DialContext:            e.Dialer.DialContext,
		TLSClientConfig:        dial.EnrollTLS(e.Hub, pin, e.Now),
		TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{},
		TLSHandshakeTimeout:    10 * time.Second,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	return &retryablehttp.Client{
		HTTPClient: &http.Client{
			Transport: transport, Timeout: requestTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		RetryMax:     math.MaxInt32,
		RetryWaitMin: e.MinWait,
		RetryWaitMax: e.MaxWait,
		Backoff:      backoff,
		CheckRetry:   e.retry,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
}

// retry goes on after everything that may pass by itself, and says why each time.
func (e *Enroller) retry(ctx context.Context, response *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		err = dial.Explain(err, e.Hub, nil)
		if dial.Terminal(err) {
			return false, err
		}
		e.Log.Warn("could not reach the hub to enrol; trying again", slog.Any("error", err))
		e.Waiting(err)
		return true, nil
	}
	if response.StatusCode == http.StatusTooManyRequests || response.StatusCode >= http.StatusInternalServerError {
		e.Log.Warn("the hub cannot enrol this cluster at the moment; trying again", "status", response.StatusCode)
		e.Waiting(fmt.Errorf("it cannot enrol this cluster at the moment (HTTP %d)", response.StatusCode))
		return true, nil
	}
	return false, nil
}

// backoff doubles, with jitter so that a fleet does not come back in step, and obeys the hub.
func backoff(least, most time.Duration, attempt int, response *http.Response) time.Duration {
	if response != nil {
		if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
			wait := min(time.Duration(seconds)*time.Second, maxRetryAfter)
			return wait + rand.N(wait/2+1)
		}
	}
	wait := most
	if attempt < 16 {
		wait = min(least<<attempt, most)
	}
	return wait/2 + rand.N(wait/2+1)
}

// read takes the hub's yes, or turns its no into words.
func (e *Enroller) read(response *http.Response) (*answer, error) {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, stop("cannot enrol with the hub: its answer broke off: %v", dial.Explain(err, e.Hub, nil))
	}
	if response.StatusCode != http.StatusOK {
		var refusal identity.Refusal
		if err := json.Unmarshal(body, &refusal); err != nil || !hubCode(refusal.Code) || refusal.Message == "" {
			return nil, stop("%s answered with HTTP %d, which no hub does: check that --hub names the hub's link port (8443 by default; in the chart it is hub.address) and not its API or something in between", e.Hub, response.StatusCode)
		}
		return nil, &StopError{Code: refusal.Code, message: "the hub refused to enrol this cluster: " + oneLine(refusal.Message)}
	}
	a := &answer{}
	if err := json.Unmarshal(body, &a.EnrollResponse); err != nil {
		return nil, stop("%s gave an answer that no hub gives: check --hub (hub.address of the chart)", e.Hub)
	}
	hubTime := a.ServerTime
	if hubTime.IsZero() {
		hubTime, _ = http.ParseTime(response.Header.Get("Date"))
	}
	if !hubTime.IsZero() {
		a.skew = hubTime.Sub(e.Now())
	}
	return a, nil
}

// hubCode tells a hub's refusal from the error of another server that also speaks JSON: a Kubernetes
// API server's code is a number.
func hubCode(code identity.Code) bool {
	return code != "" && !strings.ContainsFunc(string(code), func(r rune) bool { return !unicode.IsLetter(r) })
}

// oneLine keeps what came over the network from writing into the log as it likes.
func oneLine(text string) string {
	const limit = 1000
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	if len(text) > limit {
		return strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return text
}

// accept checks that the answer is what was asked for.
func (e *Enroller) accept(a *answer, key *ecdsa.PrivateKey, token identity.Token) (*Identity, error) {
	joined, err := Stored{HubCA: []byte(a.HubCA), Certificate: []byte(a.Certificate), HubID: a.HubID, ClusterName: a.ClusterName, ClusterID: a.ClusterID}.withKey(key)
	if err == nil && joined.HubID != token.Pin {
		err = errors.New("it names another hub than the token")
	}
	if err == nil && e.ClusterName != "" && a.ClusterName != e.ClusterName {
		err = fmt.Errorf("it is for cluster %q", oneLine(a.ClusterName))
	}
	if err == nil {
		err = identity.ValidateClusterName(a.ClusterName)
	}
	if err != nil {
		return nil, stop("the hub's answer to the enrolment cannot be used: %v", err)
	}
	if e.Now().After(joined.Certificate.NotAfter) {
		return nil, stop("this machine's clock is %s; the certificate that the hub has issued would already have ended: set the clock right and start the agent again", describeSkew(a.skew))
	}
	if a.skew.Abs() > clockSkew {
		e.Log.Warn("this machine's clock is " + describeSkew(a.skew) + "; set it right, or certificates will seem to end too early or too late")
	}
	return joined, nil
}

// withKey is the identity of a state that has no key of its own.
func (s Stored) withKey(key *ecdsa.PrivateKey) (*Identity, error) {
	encoded, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	s.Key = encoded
	return s.Identity()
}

func describeSkew(skew time.Duration) string {
	if skew < 0 {
		return fmt.Sprintf("%s ahead of the hub's", (-skew).Round(time.Second))
	}
	return fmt.Sprintf("%s behind the hub's", skew.Round(time.Second))
}
