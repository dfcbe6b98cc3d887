package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	"windlass.dev/windlass/pkg/identity"
)

// checkPause is the time between two looks of `check --wait`.
const checkPause = time.Second

type checkOptions struct {
	link  string
	hubCA string
	wait  time.Duration
}

// newCheck is there for scripts, and for the test of the hub's chart: an image without a shell can do no more than run a
// program.
func newCheck(c *connection, streams Streams) *cobra.Command {
	options := checkOptions{}
	command := &cobra.Command{
		Use:   "check",
		Short: "Check that the hub's API and its link answer, and that both are this hub's",
		Long: `Check that the hub's API answers as users reach it, and its link as agents reach it: the certificate there
must be for that host and come from the hub whose API answers. One line says what is well, or what is in
the way.`,
		Example: `  windlass check
  windlass check --link hub.example.com:8443 --wait 2m   # the hub was just installed`,
		Args: exactly(0, "no arguments"),
		RunE: func(command *cobra.Command, _ []string) error {
			if options.link != "" {
				if _, _, err := net.SplitHostPort(options.link); err != nil {
					return usage(fmt.Errorf("--link: expected HOST:PORT of the hub's agent link: %w", err))
				}
			}
			tell := func(err error) { fmt.Fprintf(streams.Err, "waiting: %v\n", err) }
			return until(command.Context(), options.wait, tell, func(ctx context.Context) error {
				return c.check(ctx, options, streams.Out)
			})
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.link, "link", "", "HOST:PORT of the hub's agent link (default: what the hub tells agents)")
	flags.StringVar(&options.hubCA, "hub-ca", "", "file with the hub's own CA certificate (default: the kubeconfig's)")
	flags.DurationVar(&options.wait, "wait", 0, "how long to wait until all is well")
	return command
}

// until tries until it succeeds or the wait is over, and returns the last error. Every new one on the way is told. What was
// used wrongly does not get better.
func until(ctx context.Context, wait time.Duration, tell func(error), try func(context.Context) error) error {
	end := time.Now().Add(wait)
	told := ""
	for {
		err := try(ctx)
		if err == nil || explain(err).Code == CodeUsage || !time.Now().Add(checkPause).Before(end) {
			return err
		}
		if told != err.Error() {
			told = err.Error()
			tell(err)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(checkPause):
		}
	}
}

// check looks once. It reads the kubeconfig each time: in a pod that is a Secret, which may have been written a moment ago.
func (c *connection) check(ctx context.Context, options checkOptions, out io.Writer) error {
	h, err := c.dial()
	if err != nil {
		return err
	}
	if err := h.servesClusters(ctx); err != nil {
		return err
	}
	info, err := h.info(ctx)
	if err != nil {
		return err
	}
	address := options.link
	if address == "" {
		address = info.linkAddress
	}
	if address == "" {
		// A hub that was started a moment ago will.
		return fmt.Errorf("the hub does not publish the address of its link in ConfigMap %s/%s, or it may not be read: give --link HOST:PORT", hubInfoNamespace, hubInfoName)
	}
	pin, err := h.pin(options.hubCA, info)
	if err != nil {
		return err
	}
	if err := checkLink(ctx, address, pin, c.requestTimeout); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "the hub is well: its API answers at %s, and its link at %s\n", h.config.Host, address)
	return err
}

// servesClusters is an error when the API does not answer, does not know the caller, or is not that of a hub.
func (h *hub) servesClusters(ctx context.Context) error {
	client, err := h.client(clusterv1alpha1.SchemeGroupVersion)
	if err != nil {
		return err
	}
	err = client.Get().Resource("memberclusters").Param("limit", strconv.Itoa(1)).Do(ctx).Into(&clusterv1alpha1.MemberClusterList{})
	if err != nil {
		return h.describe(fmt.Errorf("listing clusters: %w", err))
	}
	return nil
}

// checkLink does what an agent does first, and stops where that would hand in its token: it is answered that agents
// enrol by POST. The hub's API has the same authority and the same names, and answers something else.
func checkLink(ctx context.Context, address, pin string, timeout time.Duration) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("the link's address %q is not HOST:PORT: %w", address, err)
	}
	client := &http.Client{Timeout: timeout, Transport: &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS13,
			ServerName: host,
			NextProtos: []string{"http/1.1"},
			// What is trusted is known by its pin alone; VerifyConnection takes the place of the library's verification.
			InsecureSkipVerify: true,
			VerifyConnection: func(state tls.ConnectionState) error {
				return verifyPinned(host, pin, state.PeerCertificates)
			},
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+identity.EnrollPath, nil)
	if err != nil {
		return usage(fmt.Errorf("--link: %w", err))
	}
	response, err := client.Do(request)
	if err != nil {
		message := fmt.Errorf("the hub's link at %s can't be reached: %w", address, err)
		if help := hint(err); help != "" {
			message = fmt.Errorf("%w; %s", message, help)
		}
		return &Failure{Code: CodeUnreachable, Err: message}
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed {
		return fmt.Errorf("what answers at %s (%s) is this hub's, and not its link: is that the port of its API?", address, response.Status)
	}
	return nil
}

// verifyPinned trusts what an agent with a token trusts: a certificate for the host, whose chain brings the authority with
// the pin along.
func verifyPinned(host, pin string, chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return errors.New("it presents no certificate")
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	found := false
	for _, certificate := range chain[1:] {
		if identity.Pin(certificate) == pin {
			roots.AddCert(certificate)
			found = true
			continue
		}
		between.AddCert(certificate)
	}
	if !found {
		return fmt.Errorf("the certificate there is from %q and not from the hub whose API answers: it is another hub, or something on the way ends TLS, which has to be passed through", chain[0].Issuer)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err
}
