package main

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// In an image there may be no certificate authorities: Mozilla's, as of the module's
// version, are used where the system has none. crypto/x509 decides that; not to bring
// them where one of the usual files is there spares every start 130 certificates.
func init() {
	if firstBundle(bundles) != "" {
		return
	}
	pool := x509.NewCertPool()
	for root := range bundle.Roots() {
		certificate, err := x509.ParseCertificate(root.Certificate)
		switch {
		case err != nil:
			panic(err) // of what is linked in
		case root.Constraint == nil:
			pool.AddCert(certificate)
		default:
			pool.AddCertWithConstraint(certificate, root.Constraint)
		}
	}
	x509.SetFallbackRoots(pool)
}

// bundles are where distributions have theirs (crypto/x509/root_linux.go).
var bundles = []string{
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
	"/etc/pki/tls/cacert.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
}

// certificateFolders are looked at beside them.
var certificateFolders = []string{"/etc/ssl/certs", "/etc/pki/tls/certs"}

// authorities are all places of the system's certificate authorities.
func authorities() []string {
	all := slices.Concat(certificateFolders, bundles)
	if name := os.Getenv("SSL_CERT_FILE"); name != "" {
		all = append(all, name)
	}
	return append(all, filepath.SplitList(os.Getenv("SSL_CERT_DIR"))...)
}

func firstBundle(names []string) string {
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && info.Size() > 0 {
			return name
		}
	}
	return ""
}

// trusted says which certificate authorities are in force where a resource names none, for
// the log: a folder that was mounted over the usual one may hold links to nowhere.
func trusted(bundles, folders []string) string {
	if name := firstBundle(bundles); name != "" {
		return name
	}
	for _, folder := range folders {
		files, _ := filepath.Glob(filepath.Join(folder, "*"))
		for _, name := range files {
			if text, err := os.ReadFile(name); err == nil && bytes.Contains(text, []byte("-----BEGIN CERTIFICATE-----")) {
				return folder
			}
		}
	}
	return "Mozilla's, which are in this program: the system has none"
}
