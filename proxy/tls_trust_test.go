package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/credential"
)

// Who reads the log learns which authority is missing, and which setting decides.
func TestTheLogSaysWhatToDoAboutTLSThatFails(t *testing.T) {
	t.Parallel()
	root, stranger := newAuthority(t), newAuthorityUnder(t, nil, "stranger CA")
	silent := newAuthorityUnder(t, root, "middle CA")
	open := newAuthorityUnder(t, root, "middle CA")
	open.sent = [][]byte{open.Cert.Raw}
	complete := newAuthorityUnder(t, root, "middle CA")
	complete.sent = [][]byte{complete.Cert.Raw, root.Cert.Raw}
	rude := newAuthorityUnder(t, nil, "rude\nCA\x1b[31m"+strings.Repeat("x", 1000))
	const system = `a PEM file with that one as caCertificates under tls in the DestinationRule for www.test`
	lacks := func(a *authority) string {
		return `caCertificates \"` + a.file + `\" under tls in the DestinationRule for www.test lacks`
	}
	for name, c := range map[string]struct {
		server, trusted *authority
		names           string
		missing, hint   string
	}{
		"nobody is trusted but the system's":         {root, nil, "www.test", `"CN=test CA"`, system},
		"another is trusted":                         {root, stranger, "www.test", `"CN=test CA"`, lacks(stranger)},
		"the server does not send the one between":   {silent, root, "www.test", `"CN=middle CA"`, lacks(root)},
		"the root of two is missing":                 {open, stranger, "www.test", `"CN=test CA"`, lacks(stranger)},
		"the server sends a root nobody trusts":      {complete, stranger, "www.test", `"CN=test CA"`, lacks(stranger)},
		"the name of the authority is not to be had": {rude, stranger, "www.test", `"CN=rude\nCA\x1b[31mxxx`, "insecureSkipVerify"},
		"another name":                               {root, root, "other.test", "", "subjectAltNames under tls in the DestinationRule for www.test"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := ""
			if c.trusted != nil {
				ca = c.trusted.file
			}
			r := newRig(t, mesh.RegistryOnly, static("a", "www.test", "HTTP", 443, tlsServer(t, c.server, c.names))+originate("www.test", ca, ""))
			r.to("203.0.113.1:443")
			resp, body := r.get("http://www.test:443/")
			if resp.StatusCode != 503 || !strings.Contains(body, "CERTIFICATE_VERIFY_FAILED") ||
				c.missing != "" && !strings.Contains(body, "its authority "+c.missing) || len(body) > 1000 {
				t.Errorf("%d %q\nwant the missing authority %s", resp.StatusCode, body, c.missing)
			}
			r.finish()
			if log := r.log.String(); !strings.Contains(log, "hint=") || !strings.Contains(log, c.hint) {
				t.Errorf("the log does not say\n%s:\n%s", c.hint, log)
			}
		})
	}
}

// Who writes resources of a cluster has no files there to name.
func TestTheLogOfAClustersProxySaysHowASecretAddsAnAuthority(t *testing.T) {
	t.Parallel()
	cluster := func(c *proxy.Config) {
		c.Credentials = credential.NewStore(nil, c.Log)
		c.Credentials.Files = credential.Authorities(t.TempDir())
	}
	r := newRig(t, mesh.RegistryOnly, static("a", "www.test", "HTTP", 443, tlsServer(t, newAuthority(t), "www.test"))+originate("www.test", "", ""), cluster)
	r.to("203.0.113.1:443")
	r.get("http://www.test:443/")
	r.finish()
	if log := r.log.String(); !strings.Contains(log, "name that as credentialName under tls in the DestinationRule for www.test") ||
		!strings.Contains(log, "credentials.namespaces") || !strings.Contains(log, "hostCABundle") || strings.Contains(log, "caCertificates") {
		t.Error(log)
	}
}

func TestTheLogSaysThatAServerSpeaksNoTLS(t *testing.T) {
	t.Parallel()
	up := serve(t, func(http.ResponseWriter, *http.Request) {})
	r := newRig(t, mesh.RegistryOnly, static("a", "www.test", "HTTP", 443, up)+originate("www.test", newAuthority(t).file, ""))
	r.to("203.0.113.1:443")
	r.get("http://www.test:443/")
	r.finish()
	if log := r.log.String(); !strings.Contains(log, "speaks no TLS on that port: set targetPort") {
		t.Error(log)
	}
}
