package egress

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
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// authority issues the certificates of an Internet's servers and clients.
type authority struct {
	t      *testing.T
	dir    string
	key    *ecdsa.PrivateKey
	parent *x509.Certificate
	pool   *x509.CertPool
	serial int64
	issued map[string][]*big.Int // serial numbers by the first name
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Must(t, err)
	a := &authority{t: t, dir: t.TempDir(), key: key, pool: x509.NewCertPool(), serial: 1, issued: map[string][]*big.Int{}}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	Must(t, err)
	a.parent, err = x509.ParseCertificate(der)
	Must(t, err)
	a.pool.AddCert(a.parent)
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

// issue makes a certificate for names, the first of which is its common name; one with
// a scheme is a URI.
func (a *authority) issue(names ...string) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Must(a.t, err)
	a.serial++
	a.issued[names[0]] = append(a.issued[names[0]], big.NewInt(a.serial))
	leaf := &x509.Certificate{SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, NotAfter: time.Now().Add(time.Hour)}
	for _, name := range names {
		if strings.Contains(name, "://") {
			id, err := url.Parse(name)
			Must(a.t, err)
			leaf.URIs, leaf.DNSNames = append(leaf.URIs, id), slices.DeleteFunc(slices.Clone(leaf.DNSNames), func(n string) bool { return n == name })
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.parent, &key.PublicKey, a.key)
	Must(a.t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// files writes a certificate and its key, and returns where.
func (a *authority) files(name string, c tls.Certificate) [2]string {
	a.t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	Must(a.t, err)
	return [2]string{a.write(name+".pem", "CERTIFICATE", c.Certificate[0]), a.write(name+".key", "PRIVATE KEY", key)}
}

// revoke writes a list that revokes all certificates so far of names, and returns where.
func (a *authority) revoke(names ...string) string {
	a.t.Helper()
	now := time.Now()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now.Add(-time.Minute), NextUpdate: now.Add(time.Hour)}
	for _, name := range names {
		for _, serial := range a.issued[name] {
			list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: now})
		}
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.parent, a.key)
	Must(a.t, err)
	return a.write(strings.Join(append(names, "crl"), "."), "X509 CRL", der)
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	file := filepath.Join(a.dir, name)
	Must(a.t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return file
}
