package egress

import (
	"crypto/tls"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/ca"
)

// authority issues the certificates of an Internet's servers and clients.
type authority struct {
	*ca.Authority
	t      *testing.T
	dir    string
	issued map[string][]*big.Int // serial numbers by the first name
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	made, err := ca.New("test")
	Must(t, err)
	a := &authority{Authority: made, t: t, dir: t.TempDir(), issued: map[string][]*big.Int{}}
	a.write("ca.pem", a.PEM())
	return a
}

// issue makes a certificate as Issue does.
func (a *authority) issue(names ...string) tls.Certificate {
	a.t.Helper()
	c, err := a.Issue(names...)
	Must(a.t, err)
	a.issued[names[0]] = append(a.issued[names[0]], c.Leaf.SerialNumber)
	return c
}

// files writes a certificate and its key, and returns where.
func (a *authority) files(name string, c tls.Certificate) [2]string {
	a.t.Helper()
	cert, key, err := ca.Pair(c)
	Must(a.t, err)
	return [2]string{a.write(name+".pem", cert), a.write(name+".key", key)}
}

// revoke writes a list that revokes all certificates so far of names, and returns where.
func (a *authority) revoke(names ...string) string {
	a.t.Helper()
	var serials []*big.Int
	for _, name := range names {
		serials = append(serials, a.issued[name]...)
	}
	list, err := a.Revoke(time.Now().Add(time.Hour), serials)
	Must(a.t, err)
	return a.write(strings.Join(append(names, "crl"), "."), list)
}

func (a *authority) write(name string, data []byte) string {
	a.t.Helper()
	file := filepath.Join(a.dir, name)
	Must(a.t, os.WriteFile(file, data, 0o600))
	return file
}
