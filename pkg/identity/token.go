// Package identity alone decides how clusters, their certificates and join tokens are named and
// recognised, and what an agent and a hub say to each other when the agent enrols.
package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

const (
	// tokenVersion starts every token, so that a later format is told apart.
	tokenVersion = "wl1"
	// secretBytes and idBytes are how much randomness a token carries.
	secretBytes = 32
	idBytes     = 8
	// maxTokenLength bounds what is looked at; a token is a third as long.
	maxTokenLength = 512
)

// lowerBase32 writes bytes with a-z and 2-7: a double click selects all of it and it is a valid
// object name.
var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

var (
	tokenIDPattern = regexp.MustCompile(`^[a-z0-9]{6,40}$`)
	secretPattern  = regexp.MustCompile(`^[a-z2-7]{52}$`)
	pinPattern     = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Token lets one agent enrol one cluster. Whoever holds the secret may do so: it never goes into a
// log, an error or an object.
type Token struct {
	// ID is the name of the JoinToken object. It is no secret.
	ID string
	// Secret is 256 random bits.
	Secret string
	// Pin is the Pin of the hub authority that the agent will find.
	Pin string
}

// NewToken makes a token for the hub whose authority has this pin.
func NewToken(pin string) (Token, error) {
	if !pinPattern.MatchString(pin) {
		return Token{}, fmt.Errorf("making a token: the hub's pin %q is not the SHA-256 of a public key in hex", pin)
	}
	random := make([]byte, idBytes+secretBytes)
	// Read never fails on the platforms Go supports: it ends the program instead.
	_, _ = rand.Read(random)
	return Token{
		ID:     lowerBase32.EncodeToString(random[:idBytes]),
		Secret: lowerBase32.EncodeToString(random[idBytes:]),
		Pin:    pin,
	}, nil
}

// LooksLikeToken says whether a text is a join token, or was meant as one: then it is not to be repeated in a message.
func LooksLikeToken(text string) bool { return strings.HasPrefix(text, tokenVersion+".") }

// ParseToken reads a token as people paste it: white space and quotes around it are dropped. Its
// errors never repeat what was given.
func ParseToken(text string) (Token, error) {
	if len(text) > maxTokenLength {
		return Token{}, fmt.Errorf("the join token is %d characters long; a token has the form wl1.<id>.<secret>.<pin> and about 135 characters", len(text))
	}
	text = strings.Trim(text, " \t\r\n\"'")
	if text == "" {
		return Token{}, errors.New("the join token is empty")
	}
	parts := strings.Split(text, ".")
	if len(parts) != 4 {
		return Token{}, fmt.Errorf("the join token has %d parts between dots, not the four of wl1.<id>.<secret>.<pin>; was all of it copied?", len(parts))
	}
	if parts[0] != tokenVersion {
		return Token{}, fmt.Errorf("the join token does not begin with %q; it is of another version or no Windlass token", tokenVersion+".")
	}
	t := Token{ID: parts[1], Secret: parts[2], Pin: parts[3]}
	switch {
	case !tokenIDPattern.MatchString(t.ID):
		return Token{}, errors.New("the join token's second part is not a token id; was all of it copied?")
	case !secretPattern.MatchString(t.Secret):
		return Token{}, errors.New("the join token's third part is not a secret of 52 characters; was all of it copied?")
	case !pinPattern.MatchString(t.Pin):
		return Token{}, errors.New("the join token's last part is not a pin of 64 hex digits; was all of it copied?")
	}
	return t, nil
}

// String is the whole token with its secret, for the one person who asked for it. What is logged
// or shown elsewhere is Redacted.
func (t Token) String() string {
	return strings.Join([]string{tokenVersion, t.ID, t.Secret, t.Pin}, ".")
}

// Redacted names the token without its secret.
func (t Token) Redacted() string { return tokenVersion + "." + t.ID + ".…" }

// GoString keeps the secret out of %#v.
func (t Token) GoString() string { return t.Redacted() }

// SecretHash is what the hub stores: the SHA-256 of the secret, in hex. The secret has 256 random
// bits, so a slow hash would add nothing.
func (t Token) SecretHash() string {
	sum := sha256.Sum256([]byte(t.Secret))
	return hex.EncodeToString(sum[:])
}

// Pin is the SHA-256 of the certificate's SubjectPublicKeyInfo, in hex. Of the hub authority it is
// also the hub's id.
func Pin(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}
