package v1alpha1

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func at(t time.Time) *metav1.Time { return &metav1.Time{Time: t} }

// expectErrors asks that there are as many errors as expected and that each begins as expected.
func expectErrors(t *testing.T, errs field.ErrorList, expected ...string) {
	t.Helper()
	if len(errs) != len(expected) {
		t.Errorf("%d errors, want %d: %v", len(errs), len(expected), errs)
		return
	}
	for i, err := range errs {
		if !strings.HasPrefix(err.Error(), expected[i]) {
			t.Errorf("error %q does not begin with %q", err, expected[i])
		}
	}
}

func validToken() *JoinToken {
	return &JoinToken{
		ObjectMeta: metav1.ObjectMeta{Name: "k7tq2m"},
		Spec:       JoinTokenSpec{SecretHash: strings.Repeat("0a", 32), ExpirationTime: at(now.Add(15 * time.Minute))},
	}
}

func TestTokens(t *testing.T) {
	tests := []struct {
		reason string
		change func(*JoinToken)
		want   []string
	}{
		{reason: "for any cluster", change: func(*JoinToken) {}},
		{reason: "for one cluster, again", change: func(t *JoinToken) { t.Spec.ClusterName, t.Spec.Rejoin = "edge-1", true }},
		{"again for nobody in particular", func(t *JoinToken) { t.Spec.Rejoin = true }, []string{"spec.clusterName: Required value: a token with rejoin: true is for one cluster"}},
		{"an id with the dot that divides a token", func(t *JoinToken) { t.Name = "a.b" }, []string{`metadata.name: Invalid value: "a.b"`}},
		{"the secret instead of its hash, which must not be repeated", func(t *JoinToken) { t.Spec.SecretHash = "the secret" },
			[]string{"spec.secretHash: Invalid value: must be the SHA-256 of the secret, as 64 lower case hex digits"}},
		{"no hash", func(t *JoinToken) { t.Spec.SecretHash = "" }, []string{"spec.secretHash: Invalid value"}},
		{"a hash in capitals", func(t *JoinToken) { t.Spec.SecretHash = strings.Repeat("0A", 32) }, []string{"spec.secretHash: Invalid value"}},
		{"a cluster that can't be", func(t *JoinToken) { t.Spec.ClusterName = "Edge" }, []string{`spec.clusterName: Invalid value: "Edge"`}},
		{"no end", func(t *JoinToken) { t.Spec.ExpirationTime = nil }, []string{"spec.expirationTime: Required value"}},
		{"over already", func(t *JoinToken) { t.Spec.ExpirationTime = at(now) },
			[]string{`spec.expirationTime: Invalid value: "2026-05-01T12:00:00Z": must lie in the future: it is now 2026-05-01T12:00:00Z on the hub`}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			token := validToken()
			test.change(token)
			errs := ValidateJoinToken(token, now)
			expectErrors(t, errs, test.want...)
			for _, err := range errs {
				if strings.Contains(err.Error(), `"the secret"`) {
					t.Error("the error repeats the secret")
				}
			}
		})
	}
}

func TestWhatATokenIsWorthNeverChanges(t *testing.T) {
	token := validToken()
	token.Labels = map[string]string{"site": "north"}
	expectErrors(t, ValidateJoinTokenUpdate(token, validToken()))
	token.Spec.ExpirationTime = at(now.Add(time.Hour))
	expectErrors(t, ValidateJoinTokenUpdate(token, validToken()), "spec: Forbidden: can't be changed: delete the token and create another")
}

func TestAUsedTokenStaysBoundToItsKey(t *testing.T) {
	used := validToken()
	used.Status = JoinTokenStatus{PublicKeyHash: strings.Repeat("1", 64), ClusterName: "edge-1", UsedTime: at(now)}
	expectErrors(t, ValidateJoinTokenStatusUpdate(used, validToken()))
	expectErrors(t, ValidateJoinTokenStatusUpdate(used.DeepCopy(), used))
	stolen := used.DeepCopy()
	stolen.Status.PublicKeyHash, stolen.Status.ClusterName = strings.Repeat("2", 64), "edge-2"
	expectErrors(t, ValidateJoinTokenStatusUpdate(stolen, used), "status.publicKeyHash: Forbidden: can't be changed", `status.clusterName: Forbidden: can't be changed: the token enrolled cluster "edge-1"`)
	expectErrors(t, ValidateJoinTokenStatusUpdate(validToken(), used), "status.publicKeyHash: Forbidden", "status.clusterName: Forbidden")
	used.Status.PublicKeyHash = "not a hash"
	expectErrors(t, ValidateJoinTokenStatusUpdate(used, validToken()), `status.publicKeyHash: Invalid value: "not a hash"`)
}
