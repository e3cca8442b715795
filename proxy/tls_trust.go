package proxy

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/credential"
)

// untrusted is a certificate whose chain leads to nobody who is trusted.
type untrusted struct {
	err       error  // crypto/x509's
	authority string // the subject of who would have to be, in quotes
}

func (e *untrusted) Error() string {
	return fmt.Sprintf("%v: its authority %s is not trusted", e.err, e.authority)
}

func (e *untrusted) Unwrap() error { return e.err }

// explainChain names the authority that is missing where verification of a chain, as
// the server sent it, failed for want of one.
func explainChain(err error, chain []*x509.Certificate) error {
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) {
		return err
	}
	top := chain[0]
	for range chain { // certificates can issue each other
		for _, c := range chain {
			if bytes.Equal(c.RawSubject, top.RawIssuer) {
				top = c
				break
			}
		}
	}
	return &untrusted{err, fmt.Sprintf("%q", clip(top.Issuer.String(), maxNoticeName))} // the server chose the text
}

// hint says what to do about a failed upstream connection, "" where the error
// says all there is.
func (s *Server) hint(err error, c *mesh.Cluster) string {
	all, is := err.(*ejection)
	switch {
	case !is:
		return failureHint(err, c, s.cfg.Credentials.Files == nil)
	case all.hint == "":
		return s.cfg.Command("endpoints "+c.Host) + " says until when"
	}
	return all.hint
}

// failureHint is hint of what is no ejection. files says that resources may name any file, which
// those of a cluster may not.
func failureHint(err error, c *mesh.Cluster, files bool) string {
	if hint := tunnelHint(err); hint != "" {
		return hint
	}
	if c == nil || c.TLS == nil {
		return ""
	}
	rule := "under tls in the DestinationRule for " + c.Host
	var missing *credential.Error
	var chain *untrusted
	var name *nameError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &missing):
		return "what is missing is named " + rule
	case errors.As(err, &chain):
		return authorityHint(c.TLS, rule, files)
	case errors.As(err, &name):
		return "subjectAltNames " + rule + " are the names to accept, sni is the one to ask for"
	case isExpired(err):
		return "the server's certificate, or its authority's, is out of date: whoever runs the server renews it, unless the clock here is wrong"
	case errors.As(err, &record):
		return "the server speaks no TLS on that port: set targetPort in the ServiceEntry, or remove tls from the DestinationRule for " + c.Host
	case isAlert(err) && c.TLS.Mode == mesh.TLSMutual:
		return "the server may not accept the client's certificate that is named " + rule
	case isAlert(err):
		return "the server may want a client's certificate: mode MUTUAL " + rule
	}
	return ""
}

func isExpired(err error) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid) && invalid.Reason == x509.Expired
}

// authorityHint says where an authority is to be added that is missing.
func authorityHint(t *mesh.TLSSettings, rule string, files bool) string {
	switch {
	case t.Credential != "":
		return fmt.Sprintf("the credential %q, named %s, lacks that authority: add it to its ca.crt (or cacert)%s", t.Credential, rule, trustEveryone)
	case t.CACertificates != "":
		return fmt.Sprintf("caCertificates %q %s lacks that authority: add it, as PEM%s", t.CACertificates, rule, trustEveryone)
	case !files:
		return "only the system's authorities are trusted: add that one by the chart's hostCABundle, or put it as ca.crt into a Secret of the pod's namespace, " +
			"which has to be among the chart's credentials.namespaces, and name that as credentialName " + rule + trustEveryone
	}
	return "only the system's authorities are trusted, or those in SSL_CERT_FILE: name a PEM file with that one as caCertificates " +
		rule + trustEveryone
}

const trustEveryone = "; insecureSkipVerify: true there would trust every server"
