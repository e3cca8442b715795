package credential

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// Whoever writes resources names none of the files of the one who reads them, whatever the
// path looks like.
func TestAuthoritiesAreTheOnlyFilesThatResourcesMayName(t *testing.T) {
	t.Parallel()
	may := Authorities("/etc/ssl/certs", "/etc/ssl/cert.pem", "")
	for path, allowed := range map[string]bool{
		"/etc/ssl/certs/ca-certificates.crt":              true,
		"/etc/ssl/certs/own/a.pem":                        true,
		"/etc/ssl/cert.pem":                               true,
		"/etc/ssl//certs/./a.pem":                         true,
		"/etc/ssl/certs":                                  true, // which is no file
		"/etc/ssl/certs2/a.pem":                           false,
		"/etc/ssl/private/a.pem":                          false,
		"/etc/ssl/certs/../private/a.pem":                 false,
		"/proc/1/root/etc/ssl/certs/a.pem":                false,
		"/run/sluice/credentials/shop/partner.json":       false,
		"/etc/ssl/certs/../../../proc/1/root/etc/shadow":  false,
		"etc/ssl/certs/a.pem":                             false,
		"a.pem":                                           false,
		"../../etc/ssl/certs/a.pem":                       false,
		"/":                                               false,
		"/var/lib/kubelet/pki/kubelet-client-current.pem": false,
	} {
		for _, field := range []string{"caCertificates", "spec.trafficPolicy.tls.caCrl"} {
			if err := may(field, path); (err == nil) != allowed {
				t.Errorf("%s %q: %v", field, path, err)
			}
		}
		for _, field := range []string{"clientCertificate", "spec.subsets[0].trafficPolicy.tls.privateKey"} {
			if err := may(field, path); err == nil || !strings.Contains(err.Error(), "credentialName") {
				t.Errorf("%s %q: %v", field, path, err)
			}
		}
	}
}

func TestAFileThatMayNotBeNamedIsNotRead(t *testing.T) {
	t.Parallel()
	a, dir := newAuthority(t, "a", nil), t.TempDir()
	_, cert, key := a.issue(t, "one")
	w := Wanted{CACertificates: write(t, dir+"/ca", a.PEM()), Verify: true}
	own := w
	own.ClientCertificate, own.PrivateKey, own.Present = write(t, dir+"/cert", cert), write(t, dir+"/key", key), true
	s := clock(Directory(dir), &bytes.Buffer{})
	s.Files = Authorities(dir)
	if m, err := s.Open(w).Material(); err != nil || m.Roots == nil {
		t.Errorf("authorities that may be named: %v", err)
	}
	if m, err := s.Open(own).Material(); err == nil || !strings.Contains(err.Error(), `clientCertificate "`+dir+`/cert": is a file of the node's`) {
		t.Errorf("a client's certificate: %v, %v", m, err)
	}
	s.Files = Authorities("/etc/ssl/certs")
	if m, err := s.Open(Wanted{CACertificates: dir + "/ca2", Verify: true}).Material(); err == nil || strings.Contains(err.Error(), os.ErrNotExist.Error()) {
		t.Errorf("whether a file is there is told: %v, %v", m, err)
	}
	write(t, dir+"/shop/partner/tls.crt", cert)
	write(t, dir+"/shop/partner/tls.key", key)
	write(t, dir+"/shop/partner/ca.crt", a.PEM())
	if m, err := s.Open(Wanted{Namespace: "shop", Name: "partner", Present: true, Verify: true}).Material(); err != nil || m.Pair == nil {
		t.Errorf("a credential: %v", err)
	}
}
