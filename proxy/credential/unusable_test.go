package credential

import (
	"crypto/x509"
	"testing"
	"time"
)

func TestAClientsCertificateThatIsOutOfDateIsTold(t *testing.T) {
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := &x509.Certificate{NotBefore: from, NotAfter: from.AddDate(0, 1, 0)}
	for _, x := range []struct {
		now  time.Time
		want string
	}{
		{from.AddDate(0, 0, 1), ""},
		{from.AddDate(0, 2, 0), "the client's certificate has expired on 2026-02-01T00:00:00Z"},
		{from.AddDate(0, 0, -1), "the client's certificate is not valid before 2026-01-01T00:00:00Z"},
	} {
		got := ""
		if err := outOfDate(c, x.now); err != nil {
			got = err.Error()
		}
		if got != x.want {
			t.Errorf("at %s: %q, want %q", x.now, got, x.want)
		}
	}
}
