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

// authority signs the servers' certificates. Two files hold it, one of them beside
// a stranger: settings that name the one or the other mean the same.
type authority struct {
	dir    string
	key    *ecdsa.PrivateKey
	root   *x509.Certificate
	der    []byte
	serial int64
}

func newAuthority(dir string) (*authority, error) {
	a := &authority{dir: dir}
	if err := a.make(); err != nil {
		return nil, err
	}
	stranger := &authority{dir: dir}
	if err := stranger.make(); err != nil {
		return nil, err
	}
	own, other := encode("CERTIFICATE", a.der), encode("CERTIFICATE", stranger.der)
	return a, errors.Join(
		os.WriteFile(a.roots(0), own, 0o644),
		os.WriteFile(a.roots(1), append(other, own...), 0o644),
		a.rotate())
}

// roots is one of the two files to verify servers by.
func (a *authority) roots(variant int) string {
	return filepath.Join(a.dir, []string{"roots.pem", "bundle.pem"}[variant%2])
}

func (a *authority) make() (err error) {
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	a.root = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "soak authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.der, err = x509.CreateCertificate(rand.Reader, a.root, a.root, a.key.Public(), a.key)
	return err
}

// rotate gives all servers a new key and certificate.
func (a *authority) rotate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	a.serial++
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial + 1), Subject: pkix.Name{CommonName: "soak"}, DNSNames: tlsNames,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.root, key.Public(), a.key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	both := append(encode("CERTIFICATE", der), encode("EC PRIVATE KEY", secret)...)
	return replaceFile(leafFile(a.dir), both)
}

func leafFile(dir string) string { return filepath.Join(dir, "leaf.pem") }

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

// freshLeaf serves the newest certificate in a file.
type freshLeaf struct {
	file string

	mu   sync.Mutex
	from time.Time
	pair *tls.Certificate
}

func (f *freshLeaf) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.file)
	if err != nil {
		return nil, err
	}
	if f.pair == nil || !info.ModTime().Equal(f.from) {
		pair, err := tls.LoadX509KeyPair(f.file, f.file)
		if err != nil {
			return nil, err
		}
		f.pair, f.from = &pair, info.ModTime()
	}
	return f.pair, nil
}
