package proxy

import (
	"context"
	"net/netip"
	"strings"
	"testing"
)

func TestAFailedDialNamesWhereItWentAlone(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := dialPlain(Mark(0))(ctx, netip.MustParseAddrPort("192.0.2.1:81"))
	if err == nil || !strings.HasPrefix(err.Error(), "dial tcp 192.0.2.1:81: ") {
		t.Error(err)
	}
}
