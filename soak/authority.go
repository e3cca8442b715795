package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// authority signs the servers' certificates. It gives way to a successor again and
// again: each is in the files of roots one change before it signs, and stays one
// change longer than it does.
type authority struct {
	dir string

	mu     sync.Mutex
	serial int64
	roots  [3]root // the last, the one that signs, the next
	client root    // signs what the proxy shows to servers that ask for it
	secret secret  // all that the proxy needs, as Kubernetes mounts it
}

// root is a certificate that signs others.
type root struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(dir string) (*authority, error) {
	a := &authority{dir: dir, secret: secret{dir: filepath.Join(credentials(dir), "default", credentialName)}}
	for i := range a.roots {
		var err error
		if a.roots[i], err = a.newRoot(); err != nil {
			return nil, err
		}
	}
	var err error
	if a.client, err = a.newRoot(); err != nil {
		return nil, err
	}
	return a, errors.Join(replaceFile(clientRootsFile(dir), encode("CERTIFICATE", a.client.cert.Raw)), a.rotate(), a.rotateClient())
}

// rootsFile is one of the two files to verify servers by: in the second a stranger
// comes first. Settings that name the one or the other mean the same.
func (a *authority) rootsFile(variant int) string {
	return filepath.Join(a.dir, []string{"roots.pem", "bundle.pem"}[variant%2])
}

// clientRootsFile is what servers verify their clients by.
func clientRootsFile(dir string) string { return filepath.Join(dir, "clients.pem") }

// identity is what the proxy shows to servers that ask for it: two files.
func (a *authority) identity() (cert, key string) {
	return filepath.Join(a.dir, "client.pem"), filepath.Join(a.dir, "client.key")
}

func leafFile(dir string) string { return filepath.Join(dir, "leaf.pem") }

// template is what every certificate has.
func (a *authority) template(name string) *x509.Certificate {
	a.serial++
	return &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
}

func (a *authority) newRoot() (root, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return root{}, err
	}
	cert := a.template("soak authority")
	cert.IsCA, cert.BasicConstraintsValid, cert.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return root{}, err
	}
	cert, err = x509.ParseCertificate(der)
	return root{key, cert}, err
}

// rotate lets the next authority sign, announces one after it, and gives all servers
// a new key and certificate. Who reads the roots anew before each connection can
// always verify.
func (a *authority) rotate() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	next, err := a.newRoot()
	if err != nil {
		return err
	}
	stranger, err := a.newRoot()
	if err != nil {
		return err
	}
	a.roots = [3]root{a.roots[1], a.roots[2], next}
	own := a.bundle()
	if err := errors.Join(
		replaceFile(a.rootsFile(0), own),
		replaceFile(a.rootsFile(1), append(encode("CERTIFICATE", stranger.cert.Raw), own...))); err != nil {
		return err
	}
	leaf := a.template("soak")
	leaf.DNSNames, leaf.KeyUsage, leaf.ExtKeyUsage = tlsNames, x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	cert, key, err := a.roots[1].sign(leaf)
	if err != nil {
		return err
	}
	return replaceFile(leafFile(a.dir), append(cert, key...))
}

// bundle is every root of the moment.
func (a *authority) bundle() (all []byte) {
	for _, r := range a.roots {
		all = append(all, encode("CERTIFICATE", r.cert.Raw)...)
	}
	return all
}

// rotateClient gives the proxy another certificate and key, one file after the other:
// for a moment they do not fit each other.
func (a *authority) rotateClient() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	leaf := a.template("soak client")
	leaf.KeyUsage, leaf.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	cert, key, err := a.client.sign(leaf)
	if err != nil {
		return err
	}
	if err := a.secret.write(map[string][]byte{"tls.crt": cert, "tls.key": key, "ca.crt": a.bundle()}); err != nil {
		return err
	}
	certFile, keyFile := a.identity()
	return errors.Join(replaceFile(certFile, cert), replaceFile(keyFile, key))
}

// sign gives a certificate and its key, in PEM.
func (r root) sign(leaf *x509.Certificate) (cert, key []byte, err error) {
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, r.cert, own.Public(), r.key)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalECPrivateKey(own)
	return encode("CERTIFICATE", der), encode("EC PRIVATE KEY", secret), err
}

// pool is what servers can be verified by now.
func (a *authority) pool() *x509.CertPool {
	a.mu.Lock()
	defer a.mu.Unlock()
	pool := x509.NewCertPool()
	for _, r := range a.roots {
		pool.AddCert(r.cert)
	}
	return pool
}

// clients is how clients that speak TLS themselves verify servers.
func (a *authority) clients() *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true, // the roots change: VerifyConnection asks for those of the moment
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: a.pool(), DNSName: s.ServerName})
			return err
		},
	}
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// replaceFile writes a file so that no reader sees half of it.
func replaceFile(path string, data []byte) error {
	hidden := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := os.WriteFile(hidden, data, 0o644); err != nil {
		return err
	}
	return os.Rename(hidden, path)
}
