package proxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// Names below a wildcard have connections of their own, since each is verified by its
// name. One that lies idle for a name gives way to another name's.
func TestAnIdleConnectionOfAnotherNameGivesWay(t *testing.T) {
	t.Parallel()
	for _, m := range modes {
		if m.service == "h1" {
			m.service = "h1tls"
		} else if m.service == "h2c" {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			entry := m.serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) })
			entry, _, _ = strings.Cut(entry[1:], "\n---") // without its rule
			r := newRig(t, mesh.RegistryOnly, "")
			r.apply(mesh.RegistryOnly, strings.ReplaceAll(entry, "a.example.com", "*.example.com")+
				rule("'*.example.com'", "connectionPool: {tcp: {maxConnections: 1}}, tls: {mode: SIMPLE, insecureSkipVerify: true}"))
			c := m.client(r)
			c.Timeout = 5 * time.Second
			for range 3 {
				for _, name := range []string{"a.example.com", "inner.example.com"} {
					resp, err := c.Get("http://" + name + "/")
					if err != nil {
						t.Fatal(err)
					}
					body, _ := io.ReadAll(resp.Body)
					if resp.Body.Close(); resp.StatusCode != 200 || string(body) != name {
						t.Fatalf("%s: %d %q", name, resp.StatusCode, body)
					}
				}
			}
		})
	}
}
