package proxy

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/mesh"
)

func TestAHintSaysWhoRenewsWhatHasExpired(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("handshake: %w", x509.CertificateInvalidError{Reason: x509.Expired, Cert: &x509.Certificate{}})
	if hint := failureHint(err, &mesh.Cluster{Host: "a.test", TLS: &mesh.TLSSettings{}}, true); !strings.Contains(hint, "is out of date") {
		t.Error(hint)
	}
}

func TestTheHintAboutAFullPoolNamesTheLimits(t *testing.T) {
	t.Parallel()
	s := &Server{cfg: Config{Command: func(words string) string { return "sluice-in-its-place " + words }}}
	e := &entry{refusal: Overloaded, failure: &connectError{err: poolFull}, cluster: &mesh.Cluster{Host: "a.test"}}
	if text := fmt.Sprint(s.refusalNotice(e).about...); !strings.Contains(text, "raise maxConnections") || !strings.Contains(text, "DestinationRule for a.test") ||
		!strings.Contains(text, "sluice-in-its-place clusters a.test") {
		t.Error(text)
	}
	e.failure = nil
	if text := fmt.Sprint(s.refusalNotice(e).about...); strings.Contains(text, "maxConnections") {
		t.Error(text)
	}
}
