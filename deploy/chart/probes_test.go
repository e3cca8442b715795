package chart_test

import (
	"strings"
	"testing"
)

// No probe asks at a port: on the host's network others reach it, and of two agents that
// overlap at an upgrade the one before is who answers there.
func TestNoProbeIsAtAPort(t *testing.T) {
	t.Parallel()
	for _, values := range [][]string{nil, {`metrics.listen="loopback"`}} {
		text := render(t, values...)
		for _, word := range []string{"httpGet", "tcpSocket", "grpc:"} {
			if strings.Contains(text, word) {
				t.Errorf("%q: a probe is by %s", values, word)
			}
		}
		for _, word := range []string{"command: [/sluice, status, --ready]", "command: [/sluice, status, --alive]"} {
			if !strings.Contains(text, word) {
				t.Errorf("%q: no probe has %s", values, word)
			}
		}
	}
}
