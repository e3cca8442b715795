package main

import (
	"crypto/tls"
	"os"

	"github.com/sluice-cni/sluice/internal/ca"
)

// newAuthority makes a certificate for host and a file with the authority behind it.
func newAuthority() (tls.Certificate, string, error) {
	a, err := ca.New("bench authority")
	if err != nil {
		return tls.Certificate{}, "", err
	}
	leaf, err := a.Issue(host)
	if err != nil {
		return leaf, "", err
	}
	file, err := os.CreateTemp("", "sluice-bench-ca-*.pem")
	if err != nil {
		return leaf, "", err
	}
	defer file.Close()
	file.Chmod(0o644)
	_, err = file.Write(a.PEM())
	return leaf, file.Name(), err
}
