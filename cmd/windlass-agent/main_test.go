package main

import (
	"io"
	"strings"
	"testing"
)

func TestATokenThatIsAnArgumentOrTheHubsAddressIsNotPrinted(t *testing.T) {
	const secret = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst"
	token := "wl1.abcdefgh." + secret + "." + strings.Repeat("0", 64)
	for _, arguments := range [][]string{{token}, {"--hub=hub:8443", token}, {"join", token}, {token[20:]}, {"--hub", token}} {
		command := newCommand()
		var output strings.Builder
		command.SetArgs(arguments)
		command.SetOut(&output)
		command.SetErr(io.MultiWriter(&output))
		err := command.ExecuteContext(t.Context())
		if err == nil {
			t.Fatalf("%d arguments were taken", len(arguments))
		}
		if said := err.Error() + output.String(); strings.Contains(said, secret[20:]) || !strings.Contains(said, "WINDLASS_TOKEN") || !strings.Contains(said, "--token-file") {
			t.Errorf("it says %q", said)
		}
	}
}
