package proxy

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAFailedDialNamesWhereItWentAlone(t *testing.T) {
	t.Parallel()
	s, server := besideServer(t)
	server.Close()
	_, err := s.cfg.Dial(t.Context(), addrPort(server.Addr()))
	if !errors.Is(err, unix.ECONNREFUSED) || !strings.HasPrefix(err.Error(), "dial tcp "+server.Addr().String()+": ") {
		t.Error(err)
	}
}
