package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/sluice-cni/sluice/mesh"
)

// origination is a cluster's TLS made ready at first use: roots read, sessions
// remembered. A file that cannot be read fails each connection with its name,
// and is tried again.
type origination struct {
	settings *mesh.TLSSettings

	mu     sync.Mutex
	config *tls.Config // what all connections share
	named  map[string]*tls.Config
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

// configFor is the configuration for connections to that name, made once. All share
// one store of sessions, so that the next connection to a name resumes the last.
func (o *origination) configFor(sni string, alpn []string) (*tls.Config, error) {
	base, err := o.prepare()
	if err != nil {
		return nil, err
	}
	key := strings.Join(alpn, ",") + " " + sni
	o.mu.Lock()
	defer o.mu.Unlock()
	if config := o.named[key]; config != nil {
		return config, nil
	}
	config := base.Clone()
	config.ServerName, config.NextProtos = sni, alpn
	if !o.settings.InsecureSkipVerify {
		roots, names := base.RootCAs, o.settings.SubjectAltNames
		if len(names) == 0 {
			names = []string{sni}
		}
		config.VerifyConnection = func(cs tls.ConnectionState) error { return verify(cs, roots, names) }
	}
	if o.named == nil || len(o.named) >= maxNamed {
		o.named = map[string]*tls.Config{}
	}
	o.named[key] = config
	return config, nil
}

// prepare builds the part of the configuration that all connections share.
func (o *origination) prepare() (*tls.Config, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.config != nil {
		return o.config, nil
	}
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ClientSessionCache: tls.NewLRUClientSessionCache(64),
		// crypto/tls checks one name only; verify checks chain and names itself.
		InsecureSkipVerify: true,
	}
	if file := o.settings.CACertificates; file != "" && !o.settings.InsecureSkipVerify {
		roots, err := readRoots(file)
		if err != nil {
			return nil, err
		}
		config.RootCAs = roots
	}
	if o.settings.Mode == mesh.TLSMutual {
		pair, err := tls.LoadX509KeyPair(o.settings.ClientCertificate, o.settings.PrivateKey)
		if err != nil {
			return nil, fmt.Errorf("read the client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	o.config = config
	return config, nil
}

func readRoots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read caCertificates: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("caCertificates %q: no certificate in it; it must be PEM", file)
	}
	return roots, nil
}

// verify checks the server's chain against the roots (nil: the system's, which
// SSL_CERT_FILE can name) and its subject alternative names against the accepted
// ones: one match is enough.
func verify(cs tls.ConnectionState, roots *x509.CertPool, names []string) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the server sent no certificate")
	}
	leaf := cs.PeerCertificates[0]
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range cs.PeerCertificates[1:] {
		options.Intermediates.AddCert(c)
	}
	if _, err := leaf.Verify(options); err != nil {
		return explainChain(err, cs.PeerCertificates)
	}
	for _, name := range names {
		if leaf.VerifyHostname(name) == nil || bears(leaf, name) {
			return nil
		}
	}
	return &nameError{certificateNames(leaf), strings.Join(names, " or ")}
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
)

func tlsKeyword(err error) string {
	var verification *tls.CertificateVerificationError
	var unknownAuthority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var name *nameError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &verification), errors.As(err, &unknownAuthority), errors.As(err, &invalid), errors.As(err, &name):
		return certificateKeyword
	case errors.As(err, &record):
		return versionKeyword
	}
	return handshakeKeyword
}
