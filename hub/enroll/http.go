package enroll

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"windlass.dev/windlass/pkg/identity"
)

const (
	// maxBody is far above an honest request, which has about 1 KiB.
	maxBody = 64 << 10
	// maxText bounds every text that is stored.
	maxText   = 253
	maxLabels = 64
	maxZones  = 64
	// clockSkew is from when on an agent's clock is worth a line in the log.
	clockSkew = time.Minute
	// retryAfter is what an agent is told to wait, in seconds.
	retryAfter = "5"
)

var kubeSystemUIDPattern = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

// ServeHTTP answers POST identity.EnrollPath. The caller has no certificate; what it may do is
// decided by the token in the body alone. Time limits for reading and writing are the listener's.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != identity.EnrollPath {
		http.Error(w, "this is the agent link of a Windlass hub; agents enrol by POST "+identity.EnrollPath, http.StatusNotFound)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "agents enrol by POST", http.StatusMethodNotAllowed)
		return
	}
	response, err := s.enrol(w, r)
	if err != nil {
		s.answerError(w, r, err)
		return
	}
	answer(w, http.StatusOK, response)
}

func (s *Server) enrol(w http.ResponseWriter, r *http.Request) (*identity.EnrollResponse, error) {
	if now := s.Now(); !s.requests.allow(clientOf(r.RemoteAddr), now) || !s.all.AllowN(now, 1) {
		return nil, badRequest(refuse(identity.CodeTooManyRequests, "too many requests to enrol from this address; the agent tries again by itself"))
	}
	application, refusal := readApplication(w, r)
	if refusal != nil {
		return nil, badRequest(refusal)
	}
	if skew := application.Time.Sub(s.Now()); !application.Time.IsZero() && skew.Abs() > clockSkew {
		s.Log.Warn("the clock of an agent that enrols is off", "skew", skew.Round(time.Second), "cluster", application.ClusterName, "from", r.RemoteAddr)
	}
	grant, err := s.redeem(r.Context(), *application)
	if err != nil {
		return nil, err
	}
	result := resultEnrolled
	if grant.rejoined {
		result = resultRejoined
	}
	s.metrics.enrolments.WithLabelValues(result).Inc()
	s.Joined()
	s.Log.Info("enrolled an agent", "result", result, "cluster", grant.cluster.Name, "clusterID", grant.cluster.Spec.ID,
		"token", application.token.ID, "serial", identity.SerialText(grant.certificate), "from", r.RemoteAddr, "agentVersion", application.AgentVersion)
	return &identity.EnrollResponse{
		Certificate: certificatePEM(grant.certificate.Raw) + certificatePEM(s.AgentsCA.Raw),
		HubCA:       certificatePEM(s.HubCA.Raw),
		HubID:       s.hubID,
		ClusterName: grant.cluster.Name,
		ClusterID:   grant.cluster.Spec.ID,
		ServerTime:  s.Now().UTC(),
		Warnings:    grant.warnings,
	}, nil
}

// badRequest is a refusal that concerns nothing on the hub.
func badRequest(refusal *identity.Refusal) error {
	return &refused{Refusal: refusal, reason: string(refusal.Code), stranger: true}
}

// readApplication checks the form of a request; nothing in it is trusted before the token is.
func readApplication(w http.ResponseWriter, r *http.Request) (*application, *identity.Refusal) {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	var request identity.EnrollRequest
	if err := decoder.Decode(&request); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, refuse(identity.CodeRequestTooLarge, "the request is larger than %d bytes", maxBody)
		}
		return nil, refuse(identity.CodeInvalidRequest, "the request is not the JSON of an agent that enrols")
	}
	if decoder.More() {
		return nil, refuse(identity.CodeInvalidRequest, "the request has something after its JSON")
	}
	token, err := identity.ParseToken(request.Token)
	if err != nil {
		return nil, refuse(identity.CodeInvalidRequest, "%v", err)
	}
	public, err := identity.PublicKeyFromRequest(request.CSR)
	if err != nil {
		return nil, refuse(identity.CodeInvalidRequest, "%v", err)
	}
	keyHash, err := identity.PublicKeyHash(public)
	if err != nil {
		return nil, refuse(identity.CodeInvalidRequest, "%v", err)
	}
	if err := checkDescription(request); err != nil {
		return nil, refuse(identity.CodeInvalidRequest, "%v", err)
	}
	return &application{EnrollRequest: request, token: token, public: public, keyHash: keyHash}, nil
}

func checkDescription(r identity.EnrollRequest) error {
	if r.ClusterName != "" {
		if err := identity.ValidateClusterName(r.ClusterName); err != nil {
			return fmt.Errorf("--cluster-name (cluster.name of the chart): %w", err)
		}
	}
	if !kubeSystemUIDPattern.MatchString(r.KubeSystemUID) {
		return errors.New("the UID of the namespace kube-system is missing or is not a UID; the agent reads it from its cluster and needs the right to")
	}
	if len(r.Labels) > maxLabels || len(r.Zones) > maxZones {
		return fmt.Errorf("--labels and --zones (cluster.labels and cluster.zones of the chart): at most %d and %d are allowed", maxLabels, maxZones)
	}
	for key, value := range r.Labels {
		if err := identity.ValidateClusterLabel(key, value); err != nil {
			return fmt.Errorf("--labels (cluster.labels of the chart): %w", err)
		}
	}
	for _, text := range append([]string{r.Provider, r.Region, r.AgentVersion}, r.Zones...) {
		if !plainText(text) {
			return fmt.Errorf("--provider, --region and --zones (cluster.provider and so on of the chart): each is at most %d printable characters", maxText)
		}
	}
	return nil
}

func plainText(text string) bool {
	return len(text) <= maxText && utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// answerError tells the agent why not. What went wrong inside the hub is for the hub's log only.
func (s *Server) answerError(w http.ResponseWriter, r *http.Request, err error) {
	if no, ok := asRefused(err); ok {
		s.report(no)
		s.Log.Warn("refused to enrol an agent", "reason", no.reason, "message", no.Message, "from", r.RemoteAddr)
		if no.Code.Temporary() {
			w.Header().Set("Retry-After", retryAfter)
		}
		answer(w, statusOf(no.Code), no.Refusal)
		return
	}
	s.metrics.enrolments.WithLabelValues(resultError).Inc()
	s.Log.Error("could not enrol an agent", "error", err, "from", r.RemoteAddr)
	w.Header().Set("Retry-After", retryAfter)
	answer(w, http.StatusServiceUnavailable, refuse(identity.CodeUnavailable, "the hub cannot enrol agents at the moment; its log says why, and the agent tries again by itself"))
}

func statusOf(code identity.Code) int {
	switch code {
	case identity.CodeTokenUnknown:
		return http.StatusUnauthorized
	case identity.CodeTokenExpired, identity.CodeTokenUsed, identity.CodeTokenForAnotherCluster:
		return http.StatusForbidden
	case identity.CodeClusterWaitsForToken, identity.CodeClusterNameTaken, identity.CodeClusterAlreadyJoined, identity.CodeClusterHasAnotherName, identity.CodeClusterIsTheHub, identity.CodeClusterIDCopied, identity.CodeClusterRemoved:
		return http.StatusConflict
	case identity.CodeRequestTooLarge:
		return http.StatusRequestEntityTooLarge
	case identity.CodeTooManyRequests:
		return http.StatusTooManyRequests
	case identity.CodeUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// An error here means that the agent is gone; it will come again.
	_ = json.NewEncoder(w).Encode(body)
}
