package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/credential"
)

// origination is a cluster's TLS made ready: what it is made from is looked at for each
// connection, so that what is renewed is used at once. Connections that are open stay.
type origination struct {
	settings  *mesh.TLSSettings
	store     *credential.Store
	namespace string // of the workload, which has the credentials

	mu       sync.Mutex
	set      *credential.Set
	material *credential.Material // what config is made from
	config   *tls.Config          // what all connections share
	named    map[string]*tls.Config
	released bool
}

// maxNamed bounds the configurations that are kept, of which a wildcard host may
// ask for any number.
const maxNamed = 256

// handshake speaks TLS over tcp as a client. sni is the name that is asked for
// and, unless the settings name others, the one the certificate must have.
// alpn is what is offered.
func (o *origination) handshake(ctx context.Context, tcp net.Conn, sni string, alpn []string) (net.Conn, error) {
	config, err := o.configFor(sni, alpn)
	if err != nil {
		return nil, err
	}
	c := tls.Client(tcp, config)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// ready says why no connection can be made; there is no need to ask a server then.
func (o *origination) ready() error {
	if o.settings == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.config != nil {
		return nil
	}
	return o.prepare()
}

// configFor is the configuration for connections to that name, made once for what it
// is made from. All share one store of sessions, so that the next connection to a name
// resumes the last.
func (o *origination) configFor(sni string, alpn []string) (*tls.Config, error) {
	key := strings.Join(alpn, ",") + " " + sni
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.prepare(); err != nil {
		return nil, err
	}
	if config := o.named[key]; config != nil {
		return config, nil
	}
	config := o.config.Clone()
	config.ServerName, config.NextProtos = sni, alpn
	if !o.settings.InsecureSkipVerify {
		trusted, names := o.material, o.settings.SubjectAltNames
		if len(names) == 0 {
			names = []string{sni}
		}
		config.VerifyConnection = func(cs tls.ConnectionState) error { return verify(cs, trusted, names) }
	}
	if o.named == nil || len(o.named) >= maxNamed {
		o.named = map[string]*tls.Config{}
	}
	o.named[key] = config
	return config, nil
}

// prepare builds the part of the configuration that all connections share, anew when
// what it is made from is: sessions of before would go on under what was trusted then.
func (o *origination) prepare() error {
	if o.set == nil {
		o.set = o.store.Open(credential.For(o.settings, o.namespace))
	}
	material, err := o.set.Material()
	if err != nil || material == o.material {
		return err
	}
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ClientSessionCache: tls.NewLRUClientSessionCache(64),
		// crypto/tls checks one name only; verify checks chain and names itself.
		InsecureSkipVerify: true,
	}
	if pair := material.Pair; pair != nil {
		// Whatever authorities the server asks for, as Envoy does: it may know better.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
	}
	o.material, o.config, o.named = material, config, nil
	return nil
}

// release lets go of what others may share.
func (o *origination) release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.set != nil && !o.released {
		o.released = true
		o.set.Close()
	}
}

// verify checks the server's chain against the roots (nil: the system's, which
// SSL_CERT_FILE can name) and the revocation lists, and its subject alternative names
// against the accepted ones: one match is enough. It is asked when a session is resumed
// as well.
func verify(cs tls.ConnectionState, trusted *credential.Material, names []string) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the server sent no certificate")
	}
	leaf := cs.PeerCertificates[0]
	options := x509.VerifyOptions{Roots: trusted.Roots, Intermediates: x509.NewCertPool()}
	for _, c := range cs.PeerCertificates[1:] {
		options.Intermediates.AddCert(c)
	}
	chains, err := leaf.Verify(options)
	if err != nil {
		return explainChain(err, cs.PeerCertificates)
	}
	if err := notRevoked(chains, trusted.CRL); err != nil {
		return err
	}
	for _, name := range names {
		if leaf.VerifyHostname(name) == nil || bears(leaf, name) {
			return nil
		}
	}
	return &nameError{certificateNames(leaf), strings.Join(names, " or ")}
}

// notRevoked is nil when one of the chains that lead to a trusted authority is whole.
func notRevoked(chains [][]*x509.Certificate, lists *credential.Lists) (err error) {
	for _, chain := range chains {
		if err = lists.Check(chain, time.Now()); err == nil {
			return nil
		}
	}
	return err
}

// nameError is a certificate for somebody else.
type nameError struct{ has, wanted string }

func (e *nameError) Error() string {
	return fmt.Sprintf("the certificate is for %s, not for %s", e.has, e.wanted)
}

// bears reports whether a subject alternative name is that very text: a wildcard
// as it is written, or a URI.
func bears(leaf *x509.Certificate, name string) bool {
	for _, d := range leaf.DNSNames {
		if strings.EqualFold(d, name) {
			return true
		}
	}
	for _, u := range leaf.URIs {
		if u.String() == name {
			return true
		}
	}
	return false
}

func certificateNames(leaf *x509.Certificate) string {
	names := append([]string(nil), leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	for _, u := range leaf.URIs {
		names = append(names, u.String())
	}
	if len(names) == 0 {
		return "no name (its subject is " + leaf.Subject.String() + ")"
	}
	return strings.Join(names, ", ")
}

// tlsReason is the failure between Envoy's markers. BoringSSL's numbers are not
// to be had; the keyword that people look for is.
func tlsReason(err error) string {
	return "TLS_error:|" + tlsKeyword(err) + ": " + err.Error() + "|:TLS_error_end"
}

// BoringSSL's words for a failure, those that people look for.
const (
	certificateKeyword = "CERTIFICATE_VERIFY_FAILED"
	versionKeyword     = "WRONG_VERSION_NUMBER"
	handshakeKeyword   = "HANDSHAKE_FAILURE"
	missingKeyword     = "Secret is not supplied" // not BoringSSL's: Envoy's own
)

func tlsKeyword(err error) string {
	var verification *tls.CertificateVerificationError
	var unknownAuthority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var name *nameError
	var record tls.RecordHeaderError
	var revoked *credential.RevocationError
	var missing *credential.Error
	switch {
	case errors.As(err, &missing):
		return missingKeyword
	case errors.As(err, &verification), errors.As(err, &unknownAuthority), errors.As(err, &invalid), errors.As(err, &name),
		errors.As(err, &revoked):
		return certificateKeyword
	case errors.As(err, &record):
		return versionKeyword
	}
	return handshakeKeyword
}
