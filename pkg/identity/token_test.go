package identity

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var testPin = strings.Repeat("0123456789abcdef", 4)

func newTestToken(t testing.TB) Token {
	t.Helper()
	token, err := NewToken(testPin)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestATokenIsReadBackAsItWasWritten(t *testing.T) {
	token := newTestToken(t)
	text := token.String()
	for _, c := range []struct{ reason, text string }{
		{"as it is", text},
		{"with the newline of an editor", text + "\n"},
		{"with Windows line ends and spaces", "  " + text + " \r\n"},
		{"in the quotes of a shell or of YAML", `"` + text + `"`},
	} {
		t.Run(c.reason, func(t *testing.T) {
			got, err := ParseToken(c.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(token, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTwoTokensShareNothingButThePin(t *testing.T) {
	a, b := newTestToken(t), newTestToken(t)
	if a.ID == b.ID || a.Secret == b.Secret || a.SecretHash() == b.SecretHash() {
		t.Error("two tokens have the same id, secret or hash")
	}
	if a.Pin != b.Pin {
		t.Error("the pin is the hub's and not the token's")
	}
}

func TestATokenIsNotMadeForSomethingThatIsNoPin(t *testing.T) {
	if _, err := NewToken("abc"); err == nil {
		t.Error("accepted")
	}
}

func TestABrokenTokenIsRefusedWithoutRepeatingIt(t *testing.T) {
	token := newTestToken(t)
	for _, c := range []struct{ reason, text, want string }{
		{"nothing at all", "", "is empty"},
		{"only white space", " \n", "is empty"},
		{"a part is missing", strings.Join([]string{"wl1", token.ID, token.Secret}, "."), "3 parts"},
		{"a part too many", token.String() + ".x", "5 parts"},
		{"a later version", "wl2" + strings.TrimPrefix(token.String(), "wl1"), `begin with "wl1."`},
		{"an id that is no object name", strings.Join([]string{"wl1", "A_B", token.Secret, testPin}, "."), "token id"},
		{"a secret that was cut off", strings.Join([]string{"wl1", token.ID, token.Secret[:40], testPin}, "."), "secret of 52"},
		{"a secret in upper case", strings.Join([]string{"wl1", token.ID, strings.ToUpper(token.Secret), testPin}, "."), "secret of 52"},
		{"a pin that was cut off", token.String()[:len(token.String())-1], "pin of 64"},
		{"an empty pin", strings.Join([]string{"wl1", token.ID, token.Secret, ""}, "."), "pin of 64"},
		{"ten megabytes", strings.Repeat("x", 10<<20), "characters long"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			_, err := ParseToken(c.text)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one that says %q", err, c.want)
			}
			if strings.Contains(err.Error(), token.Secret[:20]) || len(err.Error()) > 300 {
				t.Errorf("the error repeats what was given: %.400s", err)
			}
		})
	}
}

func TestOnlyStringShowsTheSecret(t *testing.T) {
	token := newTestToken(t)
	for _, shown := range []string{token.Redacted(), fmt.Sprintf("%#v", token), token.SecretHash()} {
		if strings.Contains(shown, token.Secret) {
			t.Errorf("%q shows the secret", shown)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(newTestToken(f).String())
	f.Add(`"wl1.a.b.c"`)
	f.Add("wl1....")
	f.Add(" \r\n'")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseToken(text)
		if err != nil {
			if token != (Token{}) {
				t.Errorf("a refused token is %#v and not empty", token)
			}
			return
		}
		again, err := ParseToken(token.String())
		if err != nil || again != token {
			t.Errorf("%#v was written and read back as %#v, %v", token, again, err)
		}
	})
}
