package proxy_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
)

// Pair and authorities are replaced one file after the other while every request makes
// a connection of its own.
func TestARotationUnderLoadFailsNoRequest(t *testing.T) {
	t.Parallel()
	servers, clients := newAuthority(t), newAuthorityUnder(t, nil, "clients")
	for _, protocol := range []string{"HTTP", "HTTP2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			s := mutualServer(t, servers, clients, "www.test")
			s.Config.SetKeepAlivesEnabled(false)
			dir := t.TempDir()
			at := dir + "/default/x"
			writePair(t, at, clients.issue(t, "0.test"), servers.PEM())
			r := newRig(t, mesh.RegistryOnly, static("a", "www.test", protocol, 443, s.Listener.Addr().String())+
				destinationRule("www.test", "mode: MUTUAL, credentialName: x"), withCredentials(dir))
			r.to("203.0.113.1:443")
			client := r.client()
			ask := func() (int, string) {
				resp, err := client.Get("http://www.test:443/")
				if err != nil {
					return 0, err.Error()
				}
				defer resp.Body.Close()
				body, _ := io.ReadAll(resp.Body)
				return resp.StatusCode, string(body)
			}
			load, stop := context.WithCancel(t.Context())
			var workers sync.WaitGroup
			defer workers.Wait()
			defer stop()
			var asked atomic.Int64
			for range 4 {
				workers.Go(func() {
					for load.Err() == nil {
						if code, body := ask(); code != 200 {
							t.Errorf("%d %q", code, body)
							return
						}
						asked.Add(1)
					}
				})
			}
			for i := 1; i <= 10; i++ {
				name := fmt.Sprintf("%d.test", i)
				writePair(t, at, clients.issue(t, name), servers.PEM())
				await.True(t, name+" is presented", func() bool { _, body := ask(); return body == "client="+name })
			}
			stop()
			workers.Wait()
			if asked.Load() == 0 {
				t.Error("nothing was asked meanwhile")
			}
		})
	}
}

func TestAPairThatIsTornKeepsTheLastGoodOne(t *testing.T) {
	t.Parallel()
	servers, clients := newAuthority(t), newAuthorityUnder(t, nil, "clients")
	s := mutualServer(t, servers, clients, "www.test")
	s.Config.SetKeepAlivesEnabled(false)
	dir, other := t.TempDir(), t.TempDir()
	at := dir + "/default/x"
	writePair(t, at, clients.issue(t, "one.test"), servers.PEM())
	writePair(t, other, clients.issue(t, "two.test"), servers.PEM())
	r := newRig(t, mesh.RegistryOnly, static("a", "www.test", "HTTP", 443, s.Listener.Addr().String())+
		destinationRule("www.test", "mode: MUTUAL, credentialName: x"), withCredentials(dir))
	r.to("203.0.113.1:443")
	answer := func() string { _, body := r.get("http://www.test:443/"); return body }
	if got := answer(); got != "client=one.test" {
		t.Fatal(got)
	}
	move := func(name string) {
		data, err := os.ReadFile(filepath.Join(other, name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(at, name), data)
	}
	move("tls.crt")
	await.True(t, "the log says so", func() bool {
		if got := answer(); got != "client=one.test" {
			t.Error(got)
		}
		return strings.Contains(r.log.String(), "cannot be read anew")
	})
	for range 3 {
		if got := answer(); got != "client=one.test" {
			t.Error(got)
		}
	}
	move("tls.key")
	await.True(t, "the new pair is presented", func() bool { return answer() == "client=two.test" })
	if log := r.log.String(); strings.Count(log, "cannot be read anew") != 1 || !strings.Contains(log, "credential=default/x") {
		t.Error(log)
	}
}

// What is renewed is for new connections: those that are open go on.
func TestOpenConnectionsOutliveARotation(t *testing.T) {
	t.Parallel()
	a, stranger := newAuthority(t), newAuthorityUnder(t, nil, "stranger CA")
	for _, protocol := range []string{"HTTP", "HTTP2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RemoteAddr) }))
			s.TLS = &tls.Config{Certificates: []tls.Certificate{a.issue(t, "www.test")}}
			s.EnableHTTP2 = true
			s.StartTLS()
			t.Cleanup(s.Close)
			ca := filepath.Join(t.TempDir(), "ca.pem")
			writeFile(t, ca, a.PEM())
			r := newRig(t, mesh.RegistryOnly, static("a", "www.test", protocol, 443, s.Listener.Addr().String())+originate("www.test", ca, ""))
			r.to("203.0.113.1:443")
			client := r.client() // one connection, which gives the server's back before it is read again
			ask := func() (int, string) {
				resp, err := client.Get("http://www.test:443/")
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				body, _ := io.ReadAll(resp.Body)
				return resp.StatusCode, string(body)
			}
			_, first := ask()
			writeFile(t, ca, stranger.PEM())
			if code, again := ask(); code != 200 || again != first {
				t.Errorf("%d %q, then %q: not on the same connection", code, again, first)
			}
			// A new one is judged by the new authorities, the session of the old one too.
			await.True(t, "the new authorities are used", func() bool {
				s.CloseClientConnections()
				code, body := ask()
				return code == 503 && strings.Contains(body, "CERTIFICATE_VERIFY_FAILED")
			})
			writeFile(t, ca, a.PEM())
			await.True(t, "and those from before again", func() bool { code, _ := ask(); return code == 200 })
		})
	}
}

// revoke writes a revocation list of a's that is in force until a moment.
func (a *authority) revoke(t testing.TB, path string, until time.Time, revoked ...*big.Int) {
	t.Helper()
	list, err := a.Revoke(until, revoked)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, list)
}

func TestARevokedServerIsNotSpokenTo(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	up := tlsServer(t, a, "www.test") // whose serial number is 2
	dir := t.TempDir()
	writeFile(t, dir+"/default/x/ca.crt", a.PEM())
	hour := time.Now().Add(time.Hour)
	for name, c := range map[string]struct{ list, tls string }{
		"a file":          {dir + "/crl", fmt.Sprintf("mode: SIMPLE, caCertificates: %s, caCrl: %s/crl", a.file, dir)},
		"in a credential": {dir + "/default/x/ca.crl", "mode: SIMPLE, credentialName: x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a.revoke(t, c.list, hour, big.NewInt(2))
			r := newRig(t, mesh.RegistryOnly, static("a", "www.test", "HTTP", 443, up)+destinationRule("www.test", c.tls), withCredentials(dir))
			r.to("203.0.113.1:443")
			if resp, body := r.get("http://www.test:443/"); resp.StatusCode != 503 || !strings.Contains(body, "CERTIFICATE_VERIFY_FAILED: the certificate") || !strings.Contains(body, "was revoked by") {
				t.Errorf("revoked: %d %q", resp.StatusCode, body)
			}
			a.revoke(t, c.list, hour, big.NewInt(3))
			await.True(t, "it is not on the new list", func() bool { resp, _ := r.get("http://www.test:443/"); return resp.StatusCode == 200 })
		})
	}
}

func TestAListThatHasExpiredLetsNothingPass(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	list := filepath.Join(t.TempDir(), "crl")
	a.revoke(t, list, time.Now().Add(-time.Minute))
	r := newRig(t, mesh.RegistryOnly, static("a", "www.test", "HTTP", 443, tlsServer(t, a, "www.test"))+
		originate("www.test", a.file, ", caCrl: "+list))
	r.to("203.0.113.1:443")
	if resp, body := r.get("http://www.test:443/"); resp.StatusCode != 503 || !strings.Contains(body, "the revocation list of") {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
}

func TestAMissingCredentialStopsItsOwnHostOnly(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	dir := t.TempDir()
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 443, tlsServer(t, a, "a.test"))+
		static("b", "b.test", "HTTP", 443, tlsServer(t, a, "b.test"))+
		destinationRule("a.test", "mode: SIMPLE, credentialName: roots")+destinationRule("b.test", "mode: SIMPLE, caCertificates: "+a.file),
		withCredentials(dir))
	r.to("203.0.113.1:443")
	if resp, body := r.get("http://a.test:443/"); resp.StatusCode != 503 || !strings.Contains(body, `credential "default/roots"`) {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	if resp, body := r.get("http://b.test:443/"); resp.StatusCode != 200 {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	await.True(t, "the log names the credential and what to do", func() bool { // it is written beside the traffic
		log := r.log.String()
		return strings.Contains(log, "default/roots") && strings.Contains(log, "what is missing is named under tls in the DestinationRule for a.test")
	})
	writeFile(t, dir+"/default/roots/cacert", a.PEM()) // it need not be there first
	if resp, body := r.get("http://a.test:443/"); resp.StatusCode != 200 {
		t.Errorf("once it is there: %d %q", resp.StatusCode, body)
	}
}

func TestInsecureSkipVerifyTrustsEveryServer(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "www.test", "HTTP", 443, tlsServer(t, newAuthority(t), "other.test"))+
		destinationRule("www.test", "mode: SIMPLE, insecureSkipVerify: true"))
	r.to("203.0.113.1:443")
	if resp, body := r.get("http://www.test:443/"); resp.StatusCode != 200 || !strings.Contains(body, "sni=www.test") {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
}
