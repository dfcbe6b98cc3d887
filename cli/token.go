package cli

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	windlassv1alpha1 "windlass.dev/windlass/api/windlass/v1alpha1"
	"windlass.dev/windlass/pkg/identity"
)

// The ConfigMap in which a hub says how agents reach it.
const (
	hubInfoNamespace = metav1.NamespacePublic
	hubInfoName      = "windlass-hub"
	hubInfoLink      = "linkAddress"
	hubInfoID        = "hubID"
)

const (
	defaultTTL = 15 * time.Minute
	maxTTL     = 30 * 24 * time.Hour
	// defaultChart is where the agent's chart lies in a checkout.
	defaultChart = "charts/agent"
	// agentNamespace is the agent's alone: it may read every Secret there, so a hub's must not be among them.
	agentNamespace = "windlass-agent"
)

var tokens = windlassv1alpha1.SchemeGroupVersion.WithResource("jointokens")

func newToken(c *connection, streams Streams) *cobra.Command {
	command := &cobra.Command{
		Use:   "token",
		Short: "Make, list and delete the tokens by which clusters join",
		Long: `A token lets one agent enrol one cluster, once, within a quarter of an hour. It is worth nothing else:
with it nobody can read or change anything on the hub.`,
		SuggestionsMinimumDistance: 2,
		Args:                       noSuchCommand,
		RunE:                       func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(newTokenCreate(c, streams), newTokenList(c, streams), newTokenDelete(c, streams))
	return command
}

// tokenOptions are the flags of `token create`.
type tokenOptions struct {
	cluster    string
	ttl        time.Duration
	rejoin     bool
	hubAddress string
	hubCA      string
	chart      string
	values     []string // KEY=VALUE, further ones for the chart
	output     string
}

func (o tokenOptions) validate() error {
	if o.cluster != "" {
		if err := identity.ValidateClusterName(o.cluster); err != nil {
			return usage(fmt.Errorf("--cluster: %w", err))
		}
	}
	if o.ttl < time.Second || o.ttl > maxTTL {
		return usage(fmt.Errorf("--ttl %s: a token lives for at least 1s and at most %.0fh", o.ttl, maxTTL.Hours()))
	}
	if o.rejoin && o.cluster == "" {
		return usage(errors.New("--rejoin needs --cluster: it renews the identity of a cluster that has joined before"))
	}
	if o.hubAddress != "" {
		if _, _, err := net.SplitHostPort(o.hubAddress); err != nil {
			return usage(fmt.Errorf("--hub-address: expected HOST:PORT of the hub's agent link: %w", err))
		}
	}
	for _, value := range o.values {
		if key, _, said := strings.Cut(value, "="); !said || strings.TrimSpace(key) == "" {
			return usage(fmt.Errorf("--helm-set %q: expected KEY=VALUE, such as image.repository=registry.example.com/windlass-agent", value))
		}
	}
	if len(o.values) > 0 && o.output != "helm" {
		return usage(fmt.Errorf("--helm-set goes with -o helm, and not with -o %s", o.output))
	}
	return oneOf("-o", o.output, "value", "helm", "command", "json")
}

func newTokenCreate(c *connection, streams Streams) *cobra.Command {
	options := tokenOptions{ttl: defaultTTL, output: "value", chart: defaultChart}
	command := &cobra.Command{
		Use:   "create",
		Short: "Make a token and print it, or the command that joins a cluster with it",
		Long: `Make a token and print it, or the command that joins a cluster with it.

The secret in the token is made here; only its hash is sent to the hub, and the token can't be shown a
second time. Only the result goes to standard output, explanations go to standard error.`,
		Example: `  windlass token create --cluster edge-1
  windlass token create --cluster edge-1 -o helm
  windlass token create --cluster edge-1 -o helm --helm-set image.repository=registry.example.com/windlass-agent
  windlass token create --cluster edge-1 --rejoin   # the agent was reinstalled, or its certificate has expired`,
		Args: exactly(0, "no arguments (the cluster is named by --cluster)"),
		RunE: func(command *cobra.Command, _ []string) error {
			if err := options.validate(); err != nil {
				return err
			}
			h, err := c.dial()
			if err != nil {
				return err
			}
			if err := h.checkCluster(command.Context(), options, streams.Err); err != nil {
				return err
			}
			created, err := createToken(command.Context(), h, options)
			if err != nil {
				return err
			}
			return created.print(streams, options)
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.cluster, "cluster", "", "the one cluster that the token is for (default: the agent says its name)")
	flags.DurationVar(&options.ttl, "ttl", options.ttl, "how long the token can be used")
	flags.BoolVar(&options.rejoin, "rejoin", false, "give a cluster that has joined before a new certificate; the agent must run in that same cluster")
	flags.StringVar(&options.hubAddress, "hub-address", "", "HOST:PORT that agents dial (default: what the hub says)")
	flags.StringVar(&options.hubCA, "hub-ca", "", "file with the hub's own CA certificate (default: the kubeconfig's)")
	flags.StringVar(&options.chart, "chart", options.chart, "chart that -o helm installs: a folder, an archive or a reference")
	flags.StringArrayVar(&options.values, "helm-set", nil, "KEY=VALUE of the chart that -o helm sets as well, such as image.repository of your own registry; may be given several times")
	flags.StringVarP(&options.output, "output", "o", options.output, "value, helm, command or json")
	return command
}

// checkCluster is an error when the hub does not know the cluster that is to come back: a token to rejoin
// would wait for nobody. It warns of a token that a cluster can't use because it has joined already. Who
// may make tokens and not look at clusters is believed.
func (h *hub) checkCluster(ctx context.Context, options tokenOptions, warnings io.Writer) error {
	if options.cluster == "" {
		return nil
	}
	client, err := h.client(clusterv1alpha1.SchemeGroupVersion)
	if err != nil {
		return err
	}
	var cluster clusterv1alpha1.MemberCluster
	err = client.Get().Resource("memberclusters").Name(options.cluster).Do(ctx).Into(&cluster)
	switch {
	case apierrors.IsForbidden(err):
		return nil
	case apierrors.IsNotFound(err) && !noSuchResource(err):
		if options.rejoin {
			return &Failure{Code: CodeNotFound, Err: fmt.Errorf("--rejoin: the hub has no cluster %q that could come back; if the name is right, leave --rejoin away, and the token attaches it anew", options.cluster)}
		}
		return nil
	case err != nil:
		return h.describe(fmt.Errorf("looking for cluster %s on the hub: %w", options.cluster, err))
	}
	if !options.rejoin && meta.IsStatusConditionTrue(cluster.Status.Conditions, clusterv1alpha1.ClusterJoined) {
		fmt.Fprintf(warnings, "Warning: cluster %s has joined already, and its name is its own: no other cluster can use this token. If its agent was reinstalled, make a token with --rejoin.\n", options.cluster)
	}
	return nil
}

// createdToken is a new token and what is needed to use it. It is also the output of -o json.
type createdToken struct {
	APIVersion     string    `json:"apiVersion"`
	Kind           string    `json:"kind"`
	Token          string    `json:"token"`
	ID             string    `json:"id"`
	ClusterName    string    `json:"clusterName,omitempty"`
	Rejoin         bool      `json:"rejoin,omitempty"`
	ExpirationTime time.Time `json:"expirationTime"`
	HubAddress     string    `json:"hubAddress,omitempty"`
	Pin            string    `json:"pin"`

	ttl        time.Duration
	clockAhead time.Duration
}

func createToken(ctx context.Context, h *hub, options tokenOptions) (*createdToken, error) {
	info, err := h.info(ctx)
	if err != nil {
		return nil, err
	}
	address := info.linkAddress
	if options.hubAddress != "" {
		address = options.hubAddress
	}
	if address == "" && (options.output == "helm" || options.output == "command") {
		return nil, usage(fmt.Errorf("-o %s needs the address that agents dial, and the hub does not publish it in ConfigMap %s/%s: give --hub-address HOST:PORT", options.output, hubInfoNamespace, hubInfoName))
	}
	pin, err := h.pin(options.hubCA, info)
	if err != nil {
		return nil, err
	}
	token, err := identity.NewToken(pin)
	if err != nil {
		return nil, fmt.Errorf("making a token: %w", err)
	}
	client, err := h.client(tokens.GroupVersion())
	if err != nil {
		return nil, err
	}
	expires := metav1.NewTime(h.clock.Now().Add(options.ttl + time.Second).Truncate(time.Second)) // objects keep whole seconds
	object := &windlassv1alpha1.JoinToken{
		ObjectMeta: metav1.ObjectMeta{Name: token.ID},
		Spec: windlassv1alpha1.JoinTokenSpec{
			SecretHash:     token.SecretHash(),
			ClusterName:    options.cluster,
			ExpirationTime: &expires,
			Rejoin:         options.rejoin,
		},
	}
	if err := client.Post().Resource(tokens.Resource).Body(object).Do(ctx).Into(&windlassv1alpha1.JoinToken{}); err != nil {
		return nil, h.describe(fmt.Errorf("creating the token on the hub: %w", err))
	}
	ahead, _ := h.clock.Offset()
	return &createdToken{
		APIVersion: outputVersion, Kind: "Token",
		Token: token.String(), ID: token.ID, ClusterName: options.cluster, Rejoin: options.rejoin,
		ExpirationTime: expires.UTC(), HubAddress: address, Pin: pin,
		ttl: options.ttl, clockAhead: ahead,
	}, nil
}

func (t *createdToken) print(streams Streams, options tokenOptions) error {
	t.explain(streams.Err)
	var err error
	switch options.output {
	case "json":
		err = printJSON(streams.Out, t)
	case "helm":
		_, err = fmt.Fprintln(streams.Out, t.helmCommand(options.chart, options.values))
	case "command":
		_, err = fmt.Fprintln(streams.Out, t.agentCommand())
	default:
		_, err = fmt.Fprintln(streams.Out, t.Token)
	}
	return err
}

func (t *createdToken) explain(out io.Writer) {
	whom := "the cluster whose agent uses it first"
	if t.ClusterName != "" {
		whom = "cluster " + t.ClusterName
	}
	fmt.Fprintf(out, "Token %s for %s, good once, for %s. It can't be shown again.\n", t.ID, whom, duration.HumanDuration(t.ttl))
	if t.clockAhead.Abs() > time.Minute {
		direction := "ahead of"
		if t.clockAhead < 0 {
			direction = "behind"
		}
		fmt.Fprintf(out, "Warning: the hub's clock is %s %s this machine's. The token ends by the hub's clock.\n", duration.HumanDuration(t.clockAhead.Abs().Round(time.Minute)), direction)
	}
}

// unnamedCluster stands in a command for the name that the reader has to choose.
const unnamedCluster = "CLUSTER_NAME"

func (t *createdToken) clusterName() string {
	if t.ClusterName == "" {
		return unnamedCluster
	}
	return t.ClusterName
}

// helmCommand can be pasted whether the release is there or not: what an earlier token's command or somebody else has set
// stays. It sets further values the way that whoever gave them would: as numbers, lists and the like where they are such.
func (t *createdToken) helmCommand(chart string, values []string) string {
	lines := []string{
		"helm upgrade --install windlass-agent " + shellQuote(chart),
		"--namespace " + agentNamespace + " --create-namespace --reset-then-reuse-values",
		"--set-string hub.address=" + shellQuote(t.HubAddress),
		"--set-string cluster.name=" + t.clusterName(),
		"--set-string hub.token=" + t.Token,
	}
	for _, value := range values {
		lines = append(lines, "--set "+shellQuote(value))
	}
	return strings.Join(lines, " \\\n  ")
}

// agentCommand hands the token over in the environment: arguments can be read by every process of
// the machine.
func (t *createdToken) agentCommand() string {
	return fmt.Sprintf("WINDLASS_TOKEN=%s \\\n  windlass-agent --hub %s --cluster-name %s --kubeconfig \"$HOME/.kube/config\"",
		t.Token, shellQuote(t.HubAddress), t.clusterName())
}

// shellQuote leaves alone what a shell does.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+=,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// hubInfo is what a hub says of itself.
type hubInfo struct {
	linkAddress string
	hubID       string // hex SHA-256 of the public key of the hub's CA: what agents pin
}

// info is empty for a hub that publishes nothing.
func (h *hub) info(ctx context.Context) (hubInfo, error) {
	client, err := h.client(corev1.SchemeGroupVersion)
	if err != nil {
		return hubInfo{}, err
	}
	var published corev1.ConfigMap
	err = client.Get().Namespace(hubInfoNamespace).Resource("configmaps").Name(hubInfoName).Do(ctx).Into(&published)
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
		return hubInfo{}, nil
	case err != nil:
		return hubInfo{}, h.describe(fmt.Errorf("asking the hub how agents reach it (ConfigMap %s/%s): %w", hubInfoNamespace, hubInfoName, err))
	}
	return hubInfo{linkAddress: published.Data[hubInfoLink], hubID: published.Data[hubInfoID]}, nil
}

// pin is what the agent will know the hub by. It must come from somewhere that nobody on the way
// could have changed: a file, the kubeconfig, or the hub itself over a verified connection.
func (h *hub) pin(caFile string, info hubInfo) (string, error) {
	if caFile != "" {
		data, err := os.ReadFile(caFile)
		if err != nil {
			return "", usage(fmt.Errorf("--hub-ca: %w", err))
		}
		return onlyPin(data, "--hub-ca "+caFile)
	}
	if h.config.Insecure {
		return "", usage(errors.New("the kubeconfig does not verify the hub's certificate, so nothing says which hub this is: give --hub-ca FILE (the hub keeps it in its PKI directory as hub-ca.crt)"))
	}
	data, err := h.authorities()
	if err != nil {
		return "", err
	}
	if info.hubID == "" {
		return onlyPin(data, "the kubeconfig's certificate-authority-data")
	}
	// The API may be reached through a proxy with a certificate of its own; the hub's word still
	// stands, because it came over a connection that the kubeconfig's authority vouches for.
	return info.hubID, nil
}

func onlyPin(data []byte, from string) (string, error) {
	certificates, err := parseCertificates(data)
	if err != nil {
		return "", usage(fmt.Errorf("%s: %w", from, err))
	}
	pins := make([]string, 0, len(certificates))
	for _, certificate := range certificates {
		pins = append(pins, identity.Pin(certificate))
	}
	slices.Sort(pins)
	switch pins = slices.Compact(pins); len(pins) {
	case 1:
		return pins[0], nil
	case 0:
		return "", usage(fmt.Errorf("%s has no certificate: give the hub's own by --hub-ca FILE (the hub keeps it in its PKI directory as hub-ca.crt)", from))
	}
	return "", usage(fmt.Errorf("%s has %d certificates: give the hub's own by --hub-ca FILE (the hub keeps it in its PKI directory as hub-ca.crt)", from, len(pins)))
}

func parseCertificates(data []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parsing a certificate: %w", err)
		}
		all = append(all, certificate)
	}
	return all, nil
}

func newTokenList(c *connection, streams Streams) *cobra.Command {
	output := "text"
	command := &cobra.Command{
		Use:   "list",
		Short: "List the tokens and what became of them",
		Args:  exactly(0, "no arguments"),
		RunE: func(command *cobra.Command, _ []string) error {
			if err := oneOf("-o", output, "text", "json"); err != nil {
				return err
			}
			h, err := c.dial()
			if err != nil {
				return err
			}
			all, err := list(command.Context(), h, "", tokens, func(l *windlassv1alpha1.JoinTokenList) []windlassv1alpha1.JoinToken { return l.Items })
			if err != nil {
				return err
			}
			listed := listTokens(all, h.clock.Now())
			if output == "json" {
				return printJSON(streams.Out, listed)
			}
			return listed.print(streams)
		},
	}
	command.Flags().StringVarP(&output, "output", "o", output, "text or json")
	return command
}

// tokenList is the output of `token list -o json`. No secret is in it: the hub has none.
type tokenList struct {
	APIVersion string        `json:"apiVersion"`
	Kind       string        `json:"kind"`
	Items      []listedToken `json:"items"`

	now time.Time
}

// listedToken is a token on the hub. State is Unused, Used or Expired.
type listedToken struct {
	ID             string     `json:"id"`
	ClusterName    string     `json:"clusterName,omitempty"`
	Rejoin         bool       `json:"rejoin,omitempty"`
	State          string     `json:"state"`
	CreationTime   time.Time  `json:"creationTime"`
	ExpirationTime *time.Time `json:"expirationTime,omitempty"`
	UsedTime       *time.Time `json:"usedTime,omitempty"`
	UsedBy         string     `json:"usedBy,omitempty"`
}

func listTokens(all []windlassv1alpha1.JoinToken, now time.Time) tokenList {
	listed := tokenList{APIVersion: outputVersion, Kind: "TokenList", Items: []listedToken{}, now: now}
	for _, token := range all {
		item := listedToken{
			ID: token.Name, ClusterName: token.Spec.ClusterName, Rejoin: token.Spec.Rejoin, State: "Unused",
			CreationTime: token.CreationTimestamp.UTC(), ExpirationTime: utc(token.Spec.ExpirationTime),
			UsedTime: utc(token.Status.UsedTime), UsedBy: token.Status.ClusterName,
		}
		switch {
		case token.Status.UsedTime != nil || token.Status.PublicKeyHash != "":
			item.State = "Used"
		case token.Spec.ExpirationTime != nil && !now.Before(token.Spec.ExpirationTime.Time):
			item.State = "Expired"
		}
		listed.Items = append(listed.Items, item)
	}
	slices.SortStableFunc(listed.Items, func(a, b listedToken) int { return b.CreationTime.Compare(a.CreationTime) })
	return listed
}

func utc(t *metav1.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

func (l tokenList) print(streams Streams) error {
	if len(l.Items) == 0 {
		_, err := fmt.Fprintln(streams.Err, "There are no tokens. `windlass token create` makes one.")
		return err
	}
	table := tabwriter.NewWriter(streams.Out, 0, 8, 3, ' ', 0)
	fmt.Fprintln(table, "ID\tCLUSTER\tSTATE\tEXPIRES\tUSED BY\tAGE")
	for _, item := range l.Items {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", item.ID, orDash(item.ClusterName), item.State,
			l.expires(item), orDash(item.UsedBy), duration.HumanDuration(l.now.Sub(item.CreationTime)))
	}
	return table.Flush()
}

func (l tokenList) expires(item listedToken) string {
	switch {
	case item.ExpirationTime == nil:
		return "-"
	case item.ExpirationTime.After(l.now):
		return "in " + duration.HumanDuration(item.ExpirationTime.Sub(l.now))
	}
	return duration.HumanDuration(l.now.Sub(*item.ExpirationTime)) + " ago"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func newTokenDelete(c *connection, streams Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "delete ID",
		Short: "Delete a token, so that nobody can use it",
		Long:  "Delete a token, so that nobody can use it. A cluster that has joined with it stays.",
		Args:  exactly(1, "the ID of a token"),
		RunE: func(command *cobra.Command, args []string) error {
			id := args[0]
			if token, err := identity.ParseToken(id); err == nil {
				id = token.ID // the whole token is what people have at hand
			} else if strings.Contains(id, ".") {
				return usage(errors.New("that is neither the ID of a token nor a whole token; `windlass token list` shows the IDs"))
			}
			h, err := c.dial()
			if err != nil {
				return err
			}
			client, err := h.client(tokens.GroupVersion())
			if err != nil {
				return err
			}
			err = client.Delete().Resource(tokens.Resource).Name(id).Do(command.Context()).Error()
			if err != nil {
				return h.describe(fmt.Errorf("deleting token %s: %w", id, err))
			}
			_, err = fmt.Fprintf(streams.Err, "Token %s is deleted.\n", id)
			return err
		},
	}
}
