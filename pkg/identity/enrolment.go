package identity

import "time"

// EnrollPath is where an agent posts its EnrollRequest, on the link port, over HTTPS with ALPN http/1.1.
const EnrollPath = "/v1/enroll"

// EnrollRequest is an agent's first word to a hub. Fields that a hub does not know are ignored.
type EnrollRequest struct {
	// Token is the whole join token.
	Token string `json:"token"`
	// CSR is a PKCS #10 request in DER (base64 in JSON). Only its public key is used.
	CSR []byte `json:"csr"`
	// ClusterName is the name the cluster shall have. Empty: the name the token is bound to.
	ClusterName string `json:"clusterName,omitempty"`
	// KubeSystemUID is the UID of the namespace kube-system, which tells clusters apart.
	KubeSystemUID string `json:"kubeSystemUID"`
	// Labels, Provider, Region and Zones describe a cluster that this request makes known to the
	// hub. They do not change a MemberCluster that is there already.
	Labels   map[string]string `json:"labels,omitempty"`
	Provider string            `json:"provider,omitempty"`
	Region   string            `json:"region,omitempty"`
	Zones    []string          `json:"zones,omitempty"`
	// AgentVersion and Time, the agent's clock, are for the hub's records only.
	AgentVersion string    `json:"agentVersion,omitempty"`
	Time         time.Time `json:"time,omitzero"`
}

// EnrollResponse is the hub's answer.
type EnrollResponse struct {
	// Certificate is the agent's certificate and then its authority's, PEM.
	Certificate string `json:"certificate"`
	// HubCA is the authority that signs the hub's serving certificates, PEM.
	HubCA string `json:"hubCA"`
	HubID string `json:"hubID"`
	// ClusterName and ClusterID are who the agent is now.
	ClusterName string    `json:"clusterName"`
	ClusterID   string    `json:"clusterID"`
	ServerTime  time.Time `json:"serverTime"`
	// Warnings are for the agent's log.
	Warnings []string `json:"warnings,omitempty"`
}

// Code says why a hub refuses an agent.
type Code string

// Why a hub refuses to enrol an agent.
const (
	// CodeTokenUnknown covers a token that the hub does not have and a wrong secret: whoever does
	// not hold a secret learns nothing about which tokens exist.
	CodeTokenUnknown           Code = "TokenUnknown"
	CodeTokenExpired           Code = "TokenExpired"
	CodeTokenUsed              Code = "TokenUsed"
	CodeTokenForAnotherCluster Code = "TokenForAnotherCluster"
	CodeClusterWaitsForToken   Code = "ClusterWaitsForToken"
	CodeClusterNameTaken       Code = "ClusterNameTaken"
	CodeClusterAlreadyJoined   Code = "ClusterAlreadyJoined"
	CodeClusterHasAnotherName  Code = "ClusterHasAnotherName"
	CodeClusterIsTheHub        Code = "ClusterIsTheHub"
	CodeClusterIDCopied        Code = "ClusterIDCopied"
	CodeClusterRemoved         Code = "ClusterRemoved"
	CodeInvalidRequest         Code = "InvalidRequest"
	CodeRequestTooLarge        Code = "RequestTooLarge"
	CodeTooManyRequests        Code = "TooManyRequests"
	CodeUnavailable            Code = "Unavailable"
)

// Why a hub refuses an agent's certificate. CodeClusterRemoved is one more reason.
const (
	CodeCertificateInvalid Code = "CertificateInvalid"
	CodeCertificateExpired Code = "CertificateExpired"
	CodeCertificateRevoked Code = "CertificateRevoked"
)

// Temporary says whether the same request may succeed a little later.
func (c Code) Temporary() bool { return c == CodeTooManyRequests || c == CodeUnavailable }

// Refusal is a hub's no, as the body of an HTTP answer and as an error. Message is one line for a
// person and says what to do.
type Refusal struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// Error is the message.
func (r *Refusal) Error() string { return r.Message }
