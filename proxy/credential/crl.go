package credential

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Lists are certificate revocation lists (RFC 5280 §5).
type Lists struct{ byIssuer map[string][]*list }

// list is one authority's.
type list struct {
	parsed  *x509.RevocationList // what its signature and its time are checked by
	revoked map[string]struct{}  // serial numbers
	by      atomic.Pointer[x509.Certificate]
}

// parseLists reads PEM. Lists of a kind that is not understood are refused: a delta,
// or one for some certificates of its issuer only, would let revoked ones pass.
func parseLists(data []byte) (*Lists, error) {
	if err := whole(data); err != nil {
		return nil, err
	}
	out := &Lists{byIssuer: map[string][]*list{}}
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		if block.Type != "X509 CRL" {
			continue
		}
		l, err := parseList(block.Bytes)
		if err != nil {
			return nil, err
		}
		issuer := string(l.parsed.RawIssuer)
		out.byIssuer[issuer] = append(out.byIssuer[issuer], l)
	}
	if len(out.byIssuer) == 0 {
		return nil, errors.New("no revocation list in it; it must be PEM (X509 CRL)")
	}
	return out, nil
}

func parseList(der []byte) (*list, error) {
	parsed, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, err
	}
	l := &list{revoked: make(map[string]struct{}, len(parsed.RevokedCertificateEntries))}
	refused := func(id fmt.Stringer) error {
		return fmt.Errorf("the list of %q has the critical extension %s, which is not supported; use a complete list of one authority",
			parsed.Issuer.String(), id)
	}
	for _, e := range parsed.Extensions {
		if e.Critical {
			return nil, refused(e.Id)
		}
	}
	for _, r := range parsed.RevokedCertificateEntries {
		for _, e := range r.Extensions {
			if e.Critical {
				return nil, refused(e.Id)
			}
		}
		l.revoked[string(r.SerialNumber.Bytes())] = struct{}{}
	}
	l.parsed = &x509.RevocationList{
		RawTBSRevocationList: parsed.RawTBSRevocationList, RawIssuer: parsed.RawIssuer, Issuer: parsed.Issuer,
		Signature: parsed.Signature, SignatureAlgorithm: parsed.SignatureAlgorithm,
		ThisUpdate: parsed.ThisUpdate, NextUpdate: parsed.NextUpdate,
	}
	return l, nil
}

// RevocationError is a certificate that is revoked, or of which nobody can say that it
// is not.
type RevocationError struct{ text string }

func (e *RevocationError) Error() string { return e.text }

// Check looks every certificate of a chain up, the server's own first and the trusted
// authority last. As with Envoy, each authority must have a list that is in force:
// without one, or with one that has expired, nothing passes. nil checks nothing.
func (l *Lists) Check(chain []*x509.Certificate, now time.Time) error {
	if l == nil {
		return nil
	}
	for i, c := range chain {
		above := chain[min(i+1, len(chain)-1)]
		if above == c && !bytes.Equal(c.RawIssuer, c.RawSubject) {
			return nil // trusted as it is, whoever issued it
		}
		if err := l.check(c, above, now); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lists) check(c, above *x509.Certificate, now time.Time) error {
	var newest, late *list
	for _, one := range l.byIssuer[string(c.RawIssuer)] {
		switch {
		case !one.isBy(above):
		case !one.inForce(now):
			late = one
		case newest == nil || one.parsed.ThisUpdate.After(newest.parsed.ThisUpdate):
			newest = one
		}
	}
	if newest != nil {
		if _, revoked := newest.revoked[string(c.SerialNumber.Bytes())]; revoked {
			return &RevocationError{fmt.Sprintf("the certificate %s was revoked by %s", named(c), named(above))}
		}
		return nil
	}
	if late != nil {
		return &RevocationError{fmt.Sprintf("the revocation list of %s is in force from %s to %s only",
			named(above), late.parsed.ThisUpdate.UTC().Format(time.RFC3339), late.parsed.NextUpdate.UTC().Format(time.RFC3339))}
	}
	return &RevocationError{fmt.Sprintf("there is no revocation list of %s; where there are lists, each authority of the chain needs one", named(above))}
}

func (l *list) inForce(now time.Time) bool {
	return !now.Before(l.parsed.ThisUpdate) && (l.parsed.NextUpdate.IsZero() || now.Before(l.parsed.NextUpdate))
}

// isBy checks the signature, for each authority once.
func (l *list) isBy(authority *x509.Certificate) bool {
	if by := l.by.Load(); by != nil && by.Equal(authority) {
		return true
	}
	if l.parsed.CheckSignatureFrom(authority) != nil {
		return false
	}
	l.by.Store(authority)
	return true
}

// maxName bounds how much of a name is told; the server may have chosen it.
const maxName = 200

func named(c *x509.Certificate) string {
	name := c.Subject.String()
	if len(name) > maxName {
		name = name[:maxName]
	}
	return fmt.Sprintf("%q", name)
}
