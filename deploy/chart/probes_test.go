package chart_test

import (
	"strings"
	"testing"
)

// No agent is ended for what is at a port: on the host's network others reach it.
func TestLivenessIsAskedAtNoPort(t *testing.T) {
	t.Parallel()
	for _, values := range [][]string{nil, {`metrics.listen="loopback"`}} {
		text := render(t, values...)
		if strings.Count(text, "livenessProbe:") != strings.Count(text, "livenessProbe:\n            exec: {command: [/sluice, status, --alive]}") {
			t.Errorf("%q: a liveness probe is at a port", values)
		}
	}
}
