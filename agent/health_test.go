package agent

import (
	"errors"
	"testing"
)

func TestAnAgentThatCannotWriteIsNotReady(t *testing.T) {
	var s standing
	s.set("")
	s.trouble(errors.New("forbidden:\n  leases"))
	if line, ready := s.get(); ready || line != "nothing is written to the member: forbidden: leases" {
		t.Errorf("it says %q, ready: %t", line, ready)
	}
	s.set("") // connected, which does not help
	if _, ready := s.get(); ready {
		t.Error("it is ready although it cannot write")
	}
	s.trouble(nil)
	if line, ready := s.get(); !ready || line != "" {
		t.Errorf("it says %q, ready: %t, although it can write again", line, ready)
	}
}
