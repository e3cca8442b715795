package ca_test

import (
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/ca"
)

func TestWhatItIssuesIsVerifiedByItAlone(t *testing.T) {
	t.Parallel()
	root, err := ca.New("root")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := ca.New("root")
	if err != nil {
		t.Fatal(err)
	}
	middle, err := root.Under("middle")
	if err != nil {
		t.Fatal(err)
	}
	between := x509.NewCertPool()
	between.AddCert(middle.Cert)
	for _, by := range []*ca.Authority{root, middle} {
		c, err := by.Issue("www.test", "spiffe://cluster.local/ns/shop", "*.test")
		if err != nil {
			t.Fatal(err)
		}
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			o := x509.VerifyOptions{DNSName: "other.test", Roots: root.Pool(), Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}}
			if _, err := c.Leaf.Verify(o); err != nil {
				t.Error(err)
			}
			o.Roots = stranger.Pool()
			if _, err := c.Leaf.Verify(o); err == nil {
				t.Error("a namesake's is trusted")
			}
		}
		if len(c.Leaf.URIs) != 1 || c.Leaf.Subject.CommonName != "www.test" {
			t.Errorf("%v, %v", c.Leaf.URIs, c.Leaf.Subject)
		}
		text, err := by.Revoke(time.Now().Add(time.Hour), []*big.Int{c.Leaf.SerialNumber})
		if err != nil || len(text) == 0 {
			t.Errorf("%q, %v", text, err)
		}
	}
}
