package proxy

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAFailedDialNamesWhereItWentAlone(t *testing.T) {
	t.Parallel()
	s, _ := besideServer(t)
	closed := ClosedPort(t)
	_, err := s.cfg.Dial(t.Context(), closed)
	if !errors.Is(err, unix.ECONNREFUSED) || !strings.HasPrefix(err.Error(), "dial tcp "+closed.String()+": ") {
		t.Error(err)
	}
}
