package enroll

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	"windlass.dev/windlass/pkg/identity"
)

// Authenticate says which cluster's agent a certificate belongs to. It reads the store, so that a
// certificate which was revoked a moment ago is refused by every hub process. A refusal is an
// *identity.Refusal with one of the certificate codes, on which the agent gives its identity up; or with
// CodeClusterRemoved, which says that the store does not have the cluster. Whether it ever had, and so whether
// the agent may be told, is for the link to find out. Any other error means that the store could not be asked,
// or that it does not tell two clusters apart, which a person can mend: the agent comes back.
//
// A cluster has at most two certificates at a time: the recorded one and the one it was renewed
// from. One that ends later than the recorded one is accepted too: the authority issues nothing
// that is not recorded before it is handed out, so the store must have been restored from an older
// backup. A cluster that is being removed is still recognised, because its agent has to clean up.
func (s *Server) Authenticate(ctx context.Context, certificate *x509.Certificate) (clusterName, clusterID string, err error) {
	cluster, err := s.authenticate(ctx, certificate)
	if err != nil {
		var refusal *identity.Refusal
		if errors.As(err, &refusal) {
			s.metrics.authentication.WithLabelValues(string(refusal.Code)).Inc()
		}
		return "", "", err
	}
	return cluster.Name, cluster.Spec.ID, nil
}

func (s *Server) authenticate(ctx context.Context, certificate *x509.Certificate) (*clusterv1alpha1.MemberCluster, error) {
	if err := s.verifyChain(certificate); err != nil {
		return nil, err
	}
	id, err := identity.ClusterIDFromCertificate(certificate)
	if err != nil {
		return nil, refuse(identity.CodeCertificateInvalid, "%v", err)
	}
	cluster, err := s.clusterOf(ctx, certificate, id)
	if err != nil {
		return nil, err
	}
	if cluster == nil {
		return nil, refuse(identity.CodeClusterRemoved, "the cluster of this certificate was removed from the hub; to attach it anew give the agent a new token from `windlass token create`")
	}
	if !accepted(cluster, certificate) {
		refusal := refuse(identity.CodeCertificateRevoked, "this certificate of cluster %q was replaced and is not accepted any more; run `windlass token create --cluster %s --rejoin` on the hub and give the token to the agent", cluster.Name, cluster.Name)
		s.Recorder.Event(cluster, corev1.EventTypeWarning, string(refusal.Code), "refused an agent: "+refusal.Message)
		return nil, refusal
	}
	return cluster, nil
}

// verifyChain does not rely on what the TLS listener has checked.
func (s *Server) verifyChain(certificate *x509.Certificate) error {
	if certificate == nil {
		return refuse(identity.CodeCertificateInvalid, "the agent showed no certificate; it has to enrol first")
	}
	_, err := certificate.Verify(x509.VerifyOptions{
		Roots: s.agentRoots, CurrentTime: s.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return refuse(identity.CodeCertificateExpired, "the certificate is valid from %s to %s and it is %s on the hub; if it has ended, run `windlass token create --rejoin` for its cluster and give the token to the agent",
			certificate.NotBefore.UTC().Format(timeText), certificate.NotAfter.UTC().Format(timeText), s.Now().UTC().Format(timeText))
	case err != nil:
		return refuse(identity.CodeCertificateInvalid, "the certificate was not issued to an agent by this hub")
	}
	return nil
}

func accepted(cluster *clusterv1alpha1.MemberCluster, certificate *x509.Certificate) bool {
	agent := cluster.Status.Agent
	if agent == nil || agent.CertificateSerial == "" {
		return false
	}
	return records(cluster, certificate) ||
		(agent.CertificateExpiresAt != nil && certificate.NotAfter.After(agent.CertificateExpiresAt.Time))
}

// records says whether the certificate was issued to the agent of this very cluster.
func records(cluster *clusterv1alpha1.MemberCluster, certificate *x509.Certificate) bool {
	agent, serial := cluster.Status.Agent, identity.SerialText(certificate)
	return agent != nil && (serial == agent.CertificateSerial || serial == agent.PreviousCertificateSerial)
}

// clusterOf finds the cluster with the id in a certificate, and returns nil when there is none. It remembers names, and
// reads the one cluster from the store every time. All clusters are read only when nobody knows the name: of a thousand
// agents that come back to a new process each would read a thousand.
//
// A name that is remembered may be that of a copy, which has the same id: it counts only for a cluster that records the
// certificate.
func (s *Server) clusterOf(ctx context.Context, certificate *x509.Certificate, id string) (*clusterv1alpha1.MemberCluster, error) {
	if name, ok := s.names.Load(id); ok {
		cluster, err := s.findCluster(ctx, name.(string))
		if err != nil {
			return nil, err
		}
		if cluster != nil && cluster.Spec.ID == id && records(cluster, certificate) {
			return cluster, nil
		}
		s.names.Delete(id)
	}
	clusters, err := s.read(ctx, s.Clusters.WithID(id))
	if err != nil {
		return nil, err
	}
	if found, err := s.only(clusters, certificate, id); found != nil || err != nil {
		return found, err
	}
	if clusters, err = s.Clusters.List(ctx); err != nil {
		return nil, fmt.Errorf("looking for the cluster with id %s: %w", id, err)
	}
	return s.only(clusters, certificate, id)
}

// read reads clusters, without those that are not there any more.
func (s *Server) read(ctx context.Context, names []string) ([]*clusterv1alpha1.MemberCluster, error) {
	var clusters []*clusterv1alpha1.MemberCluster
	for _, name := range names {
		cluster, err := s.findCluster(ctx, name)
		if err != nil {
			return nil, err
		}
		if cluster != nil {
			clusters = append(clusters, cluster)
		}
	}
	return clusters, nil
}

// only finds the one cluster with an id, and remembers the names of all. Of several, one is the original and the others
// were made of its YAML: it is the one that records the certificate.
func (s *Server) only(clusters []*clusterv1alpha1.MemberCluster, certificate *x509.Certificate, id string) (*clusterv1alpha1.MemberCluster, error) {
	var alike, recording []*clusterv1alpha1.MemberCluster
	for _, cluster := range clusters {
		if cluster.Spec.ID == "" {
			continue
		}
		s.names.Store(cluster.Spec.ID, cluster.Name)
		if cluster.Spec.ID != id {
			continue
		}
		alike = append(alike, cluster)
		if records(cluster, certificate) {
			recording = append(recording, cluster)
		}
	}
	switch {
	case len(recording) == 1:
		s.names.Store(id, recording[0].Name)
		return recording[0], nil
	case len(alike) > 1:
		return nil, s.tellCopy(alike)
	case len(alike) == 1:
		return alike[0], nil
	}
	return nil, nil
}

// tellCopy says of clusters with one id that one of them has to go. It is no refusal: the agent would give its identity up,
// and be lost when the copy is gone.
func (s *Server) tellCopy(alike []*clusterv1alpha1.MemberCluster) error {
	err := errors.New(copied(alike[0], alike[1]))
	for _, cluster := range alike {
		s.Recorder.Event(cluster, corev1.EventTypeWarning, string(identity.CodeClusterIDCopied), "turned an agent away, which comes back: "+err.Error())
	}
	return err
}

// copied says that two clusters have one id, and what to do.
func copied(a, b *clusterv1alpha1.MemberCluster) string {
	return fmt.Sprintf("the MemberClusters %q and %q have the same spec.id, so one of them was made from the YAML of the other: "+
		"delete the copy, and make it anew without spec.id if it is to be a cluster of its own", a.Name, b.Name)
}

// Renew issues the next certificate to the agent that presented this one, for the key in a PKCS #10
// request (DER); nothing else in the request is looked at. The chain is DER, the agent's certificate
// first. The presented certificate stays valid until its end: whether the answer arrives is not
// known. Errors are those of Authenticate, and *identity.Refusal for a bad or too frequent request.
func (s *Server) Renew(ctx context.Context, presented *x509.Certificate, request []byte) ([][]byte, error) {
	chain, err := s.renew(ctx, presented, request)
	var refusal *identity.Refusal
	switch {
	case err == nil:
		s.metrics.renewals.WithLabelValues(resultRenewed).Inc()
	case errors.As(err, &refusal):
		s.metrics.renewals.WithLabelValues(string(refusal.Code)).Inc()
	default:
		s.metrics.renewals.WithLabelValues(resultError).Inc()
	}
	return chain, err
}

func (s *Server) renew(ctx context.Context, presented *x509.Certificate, request []byte) ([][]byte, error) {
	public, err := identity.PublicKeyFromRequest(request)
	if err != nil {
		return nil, refuse(identity.CodeInvalidRequest, "%v", err)
	}
	var lost error
	for attempt := range maxAttempts {
		cluster, err := s.authenticate(ctx, presented)
		if err != nil {
			return nil, err
		}
		now := s.Now()
		if attempt == 0 && !s.renewals.allow(cluster.Spec.ID, now) {
			return nil, refuse(identity.CodeTooManyRequests, "the agent of cluster %q asks for new certificates too often", cluster.Name)
		}
		certificate, err := s.issue(cluster, public, now)
		if err != nil {
			return nil, err
		}
		cluster = cluster.DeepCopy()
		recordCertificate(cluster.Status.Agent, certificate, identity.SerialText(presented))
		if _, lost = s.Clusters.UpdateStatus(ctx, cluster); lost == nil {
			s.Log.Info("renewed the certificate of an agent", "cluster", cluster.Name, "serial", identity.SerialText(certificate), "expires", certificate.NotAfter)
			return [][]byte{certificate.Raw, s.AgentsCA.Raw}, nil
		}
		if !apierrors.IsConflict(lost) && !apierrors.IsNotFound(lost) {
			break
		}
	}
	return nil, fmt.Errorf("recording the renewed certificate: %w", lost)
}
