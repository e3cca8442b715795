package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/sluice-cni/sluice/internal/ca"
)

// authority signs the servers' certificates. It gives way to a successor again and
// again: each is in the files of roots one change before it signs, and stays one
// change longer than it does.
type authority struct {
	dir string

	mu     sync.Mutex
	roots  [3]*ca.Authority // the last, the one that signs, the next
	client *ca.Authority    // signs what the proxy shows to servers that ask for it
	secret secret           // all that the proxy needs, as Kubernetes mounts it
}

func newAuthority(dir string) (*authority, error) {
	a := &authority{dir: dir, secret: secret{dir: filepath.Join(credentials(dir), "default", credentialName)}}
	for i := range a.roots {
		var err error
		if a.roots[i], err = newRoot(); err != nil {
			return nil, err
		}
	}
	var err error
	if a.client, err = newRoot(); err != nil {
		return nil, err
	}
	return a, errors.Join(replaceFile(clientRootsFile(dir), a.client.PEM()), a.rotate(), a.rotateClient())
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

func newRoot() (*ca.Authority, error) { return ca.New("soak authority") }

// rotate lets the next authority sign, announces one after it, and gives all servers
// a new key and certificate. Who reads the roots anew before each connection can
// always verify.
func (a *authority) rotate() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	next, err := newRoot()
	if err != nil {
		return err
	}
	stranger, err := newRoot()
	if err != nil {
		return err
	}
	a.roots = [3]*ca.Authority{a.roots[1], a.roots[2], next}
	own := a.bundle()
	if err := errors.Join(
		replaceFile(a.rootsFile(0), own),
		replaceFile(a.rootsFile(1), append(stranger.PEM(), own...))); err != nil {
		return err
	}
	cert, key, err := issue(a.roots[1], tlsNames...)
	if err != nil {
		return err
	}
	return replaceFile(leafFile(a.dir), append(cert, key...))
}

// bundle is every root of the moment.
func (a *authority) bundle() (all []byte) {
	for _, r := range a.roots {
		all = append(all, r.PEM()...)
	}
	return all
}

// rotateClient gives the proxy another certificate and key, one file after the other:
// for a moment they do not fit each other.
func (a *authority) rotateClient() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	cert, key, err := issue(a.client, "client.soak")
	if err != nil {
		return err
	}
	if err := a.secret.write(map[string][]byte{"tls.crt": cert, "tls.key": key, "ca.crt": a.bundle()}); err != nil {
		return err
	}
	certFile, keyFile := a.identity()
	return errors.Join(replaceFile(certFile, cert), replaceFile(keyFile, key))
}

// issue gives a certificate and its key, in PEM.
func issue(by *ca.Authority, names ...string) (cert, key []byte, err error) {
	c, err := by.Issue(names...)
	if err != nil {
		return nil, nil, err
	}
	return ca.Pair(c)
}

// pool is what servers can be verified by now.
func (a *authority) pool() *x509.CertPool {
	a.mu.Lock()
	defer a.mu.Unlock()
	pool := x509.NewCertPool()
	for _, r := range a.roots {
		pool.AddCert(r.Cert)
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

// replaceFile writes a file so that no reader sees half of it.
func replaceFile(path string, data []byte) error {
	hidden := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := os.WriteFile(hidden, data, 0o644); err != nil {
		return err
	}
	return os.Rename(hidden, path)
}
