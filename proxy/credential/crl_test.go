package credential

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEveryCertificateOfAChainIsLookedUp(t *testing.T) {
	t.Parallel()
	root, stranger := newAuthority(t, "root", nil), newAuthority(t, "root", nil)
	middle := newAuthority(t, "middle", root)
	leaf, _, _ := middle.issue(t, "leaf")
	other, _, _ := middle.issue(t, "other")
	chain := []*x509.Certificate{leaf, middle.Cert, root.Cert}
	now, soon, past := time.Now(), time.Now().Add(time.Hour), time.Now().Add(-time.Minute)
	for name, c := range map[string]struct {
		lists [][]byte
		chain []*x509.Certificate
		want  string
	}{
		"nothing is revoked":            {[][]byte{root.list(t, soon, nil), middle.list(t, soon, nil)}, chain, ""},
		"another is revoked":            {[][]byte{root.list(t, soon, nil), middle.list(t, soon, nil, other)}, chain, ""},
		"the server's is revoked":       {[][]byte{root.list(t, soon, nil), middle.list(t, soon, nil, other, leaf)}, chain, `"CN=leaf" was revoked by "CN=middle"`},
		"the one between is revoked":    {[][]byte{root.list(t, soon, nil, middle.Cert), middle.list(t, soon, nil)}, chain, `"CN=middle" was revoked by "CN=root"`},
		"the root is revoked":           {[][]byte{root.list(t, soon, nil, root.Cert), middle.list(t, soon, nil)}, chain, `"CN=root" was revoked`},
		"a list is missing":             {[][]byte{middle.list(t, soon, nil)}, chain, `no revocation list of "CN=root"`},
		"the other is missing":          {[][]byte{root.list(t, soon, nil)}, chain, `no revocation list of "CN=middle"`},
		"a list has expired":            {[][]byte{root.list(t, soon, nil), middle.list(t, past, nil)}, chain, `list of "CN=middle" is in force from`},
		"a list is not yet in force":    {[][]byte{root.list(t, soon, nil), middle.list(t, now.Add(3*time.Hour), nil)}, chain, `list of "CN=middle" is in force from`},
		"an expired one and its heir":   {[][]byte{root.list(t, soon, nil), middle.list(t, past, nil, leaf), middle.list(t, soon, nil)}, chain, ""},
		"the newer one decides":         {[][]byte{root.list(t, soon, nil), middle.list(t, soon, nil, leaf), middle.list(t, soon.Add(-time.Minute), nil)}, chain, "was revoked"},
		"a list by a namesake":          {[][]byte{stranger.list(t, soon, nil), middle.list(t, soon, nil)}, chain, `no revocation list of "CN=root"`},
		"and the true one beside it":    {[][]byte{stranger.list(t, soon, nil, middle.Cert), root.list(t, soon, nil), middle.list(t, soon, nil)}, chain, ""},
		"one between that is trusted":   {[][]byte{middle.list(t, soon, nil)}, chain[:2], ""},
		"and the server's is revoked":   {[][]byte{middle.list(t, soon, nil, leaf)}, chain[:2], "was revoked"},
		"a chain of the root alone":     {[][]byte{root.list(t, soon, nil)}, chain[2:], ""},
		"and that is revoked by itself": {[][]byte{root.list(t, soon, nil, root.Cert)}, chain[2:], "was revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lists, err := parseLists(slices.Concat(c.lists...))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time the signatures are known
				err = lists.Check(c.chain, now)
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v\nwant %q", err, c.want)
				}
			}
		})
	}
	if err := (*Lists)(nil).Check(chain, now); err != nil {
		t.Errorf("without lists: %v", err)
	}
}

func TestListsThatSayLessThanTheySeemToAreRefused(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "a", nil)
	for name, id := range map[string]asn1.ObjectIdentifier{"a delta": {2, 5, 29, 27}, "a part of an authority's": {2, 5, 29, 28}} {
		critical := []pkix.Extension{{Id: id, Critical: true, Value: []byte{5, 0}}}
		if _, err := parseLists(a.list(t, time.Now().Add(time.Hour), critical)); err == nil || !strings.Contains(err.Error(), "critical extension "+id.String()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
