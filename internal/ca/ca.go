// Package ca is a certificate authority for the servers and clients of tests, of the demo
// and of the benchmarks. What it issues is in force for a day.
package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Authority signs certificates. It may be asked by several at once.
type Authority struct {
	Cert *x509.Certificate

	key  *ecdsa.PrivateKey
	last atomic.Int64 // serial number that it gave out
}

// New is an authority that has signed itself, by the serial number 1.
func New(name string) (*Authority, error) {
	a, err := unsigned()
	if err != nil {
		return nil, err
	}
	a.Cert, err = a.sign(authority(name), a.key)
	return a, err
}

// Under is an authority that a has signed.
func (a *Authority) Under(name string) (*Authority, error) {
	below, err := unsigned()
	if err != nil {
		return nil, err
	}
	below.last.Store(1)
	below.Cert, err = a.sign(authority(name), below.key)
	return below, err
}

func unsigned() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return &Authority{key: key}, err
}

func authority(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

// Issue makes a certificate, for a server or for a client. The first of names is its
// common name; one with a scheme is a URI, each other one the name of a host. Those of an
// authority have the serial numbers 2, 3 and so on.
func (a *Authority) Issue(names ...string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf := &x509.Certificate{
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for i, name := range names {
		if i == 0 {
			leaf.Subject.CommonName = name
		}
		if !strings.Contains(name, "://") {
			leaf.DNSNames = append(leaf.DNSNames, name)
			continue
		}
		id, err := url.Parse(name)
		if err != nil {
			return tls.Certificate{}, err
		}
		leaf.URIs = append(leaf.URIs, id)
	}
	leaf, err = a.sign(leaf, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// sign completes what a certificate is to be for the owner of a key.
func (a *Authority) sign(c *x509.Certificate, of *ecdsa.PrivateKey) (*x509.Certificate, error) {
	c.SerialNumber = big.NewInt(a.last.Add(1))
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	above := a.Cert
	if above == nil {
		above = c // its own
	}
	der, err := x509.CreateCertificate(rand.Reader, c, above, of.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// Revoke makes a revocation list, as PEM, that is in force for the two hours before until.
func (a *Authority) Revoke(until time.Time, serials []*big.Int, extensions ...pkix.Extension) ([]byte, error) {
	list := &x509.RevocationList{
		Number: big.NewInt(a.last.Add(1)), ThisUpdate: until.Add(-2 * time.Hour), NextUpdate: until, ExtraExtensions: extensions,
	}
	for _, serial := range serials {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: serial, RevocationTime: list.ThisUpdate})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.Cert, a.key)
	return encode("X509 CRL", der), err
}

// PEM is the authority's own certificate.
func (a *Authority) PEM() []byte { return encode("CERTIFICATE", a.Cert.Raw) }

// Pool is that authority as the only one that is trusted.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Cert)
	return pool
}

// Pair is a certificate and its key as the texts of two files.
func Pair(c tls.Certificate) (cert, key []byte, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	return encode("CERTIFICATE", c.Certificate[0]), encode("PRIVATE KEY", der), err
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
