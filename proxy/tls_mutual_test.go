package proxy_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/internal/ca"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/credential"
)

// mutualServer wants a client's certificate of an authority, and says who came.
func mutualServer(t testing.TB, a, clients *authority, names ...string) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "client=%s", strings.Join(r.TLS.PeerCertificates[0].DNSNames, ","))
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{a.issue(t, names...)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients.Pool(),
		NextProtos: []string{"h2", "http/1.1"}}
	s.EnableHTTP2 = true
	s.Listener = gentleListener{s.Listener}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// gentleListener's connections, once closed, still take what the peer sends: what was
// said before is not lost to a reset.
type gentleListener struct{ net.Listener }

func (l gentleListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return gentleConn{c.(*net.TCPConn)}, nil
}

type gentleConn struct{ *net.TCPConn }

func (c gentleConn) Close() error {
	err := c.CloseWrite()
	go func() { // until the proxy has closed its side
		io.Copy(io.Discard, c.TCPConn)
		c.TCPConn.Close()
	}()
	return err
}

// writePair puts a certificate with its key, and the authorities, where a credential is.
func writePair(t testing.TB, dir string, pair tls.Certificate, roots []byte) {
	t.Helper()
	cert, key, err := ca.Pair(pair)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "tls.crt"), cert)
	writeFile(t, filepath.Join(dir, "tls.key"), key)
	writeFile(t, filepath.Join(dir, "ca.crt"), roots)
}

// writeFile replaces a file by a whole one, as a mount does.
func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	next := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if err := os.WriteFile(next, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

// withCredentials gives a proxy the credentials below a directory.
func withCredentials(dir string) func(*proxy.Config) {
	return func(c *proxy.Config) { c.Credentials = credential.NewStore(credential.Directory(dir), c.Log) }
}

func destinationRule(host, tls string) string {
	return fmt.Sprintf(`
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: %s}
spec:
  host: %q
  trafficPolicy: {tls: {%s}}
`, strings.TrimPrefix(host, "*."), host, tls)
}

func TestModeMutualPresentsTheClientsCertificate(t *testing.T) {
	t.Parallel()
	servers, clients, strangers := newAuthority(t), newAuthorityUnder(t, nil, "clients"), newAuthorityUnder(t, nil, "strangers")
	up := mutualServer(t, servers, clients, "www.test").Listener.Addr().String()
	dir := t.TempDir()
	writePair(t, dir+"/default/good", clients.issue(t, "me.test"), servers.PEM())
	writePair(t, dir+"/default/strange", strangers.issue(t, "me.test"), servers.PEM())
	writePair(t, dir+"/default/distrustful", clients.issue(t, "me.test"), strangers.PEM())
	good := dir + "/default/good/"
	files := fmt.Sprintf("mode: MUTUAL, clientCertificate: %stls.crt, privateKey: %stls.key, caCertificates: %s", good, good, servers.file)
	for _, protocol := range []string{"HTTP", "HTTP2"} {
		for name, c := range map[string]struct{ tls, want, hint string }{
			"from files":               {files, "client=me.test", ""},
			"from a credential":        {"mode: MUTUAL, credentialName: good", "client=me.test", ""},
			"of a scheme":              {"mode: MUTUAL, credentialName: kubernetes://good", "client=me.test", ""},
			"without a look":           {"mode: MUTUAL, credentialName: distrustful, insecureSkipVerify: true", "client=me.test", ""},
			"none where none is asked": {"mode: SIMPLE, credentialName: good", "TLS_error:|HANDSHAKE_FAILURE: remote error: tls: certificate required", "mode MUTUAL under tls in the DestinationRule for www.test"},
			"one the server refuses":   {"mode: MUTUAL, credentialName: strange", "TLS_error:|HANDSHAKE_FAILURE: remote error: tls: ", "may not accept the client's certificate"},
			"a server nobody knows":    {"mode: MUTUAL, credentialName: distrustful", "TLS_error:|CERTIFICATE_VERIFY_FAILED: ", `the credential \"distrustful\"`},
			"a credential not there":   {"mode: MUTUAL, credentialName: missing", `TLS_error:|Secret is not supplied: credential "default/missing": there is no directory `, "what is missing is named under tls"},
		} {
			t.Run(protocol+" "+name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, mesh.RegistryOnly, static("a", "www.test", protocol, 443, up)+destinationRule("www.test", c.tls), withCredentials(dir))
				r.to("203.0.113.1:443")
				resp, body := r.get("http://www.test:443/")
				fine := strings.HasPrefix(c.want, "client=")
				if (resp.StatusCode == 200) != fine || !fine && resp.StatusCode != 503 || !strings.Contains(body, c.want) {
					t.Errorf("%d %q\nwant %s", resp.StatusCode, body, c.want)
				}
				r.finish()
				if !fine && (!strings.Contains(r.access.String(), "UF") || !strings.Contains(r.log.String(), "upstream failed") || !strings.Contains(r.log.String(), c.hint)) {
					t.Errorf("access log: %s\nlog: %s", r.access, r.log)
				}
			})
		}
	}
}
