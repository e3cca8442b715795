package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/observed"
)

// refusals are those that an observer is told would be.
type refusals struct {
	mu   sync.Mutex
	told []proxy.Refusal

	table *observed.Table
}

func (r *refusals) Observe(e proxy.Event) {
	if e.Kind == proxy.WouldRefuse {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.told = append(r.told, e.Refusal)
	}
}

func (r *refusals) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.told)
}

func observing(t *testing.T, yaml string) (*rig, *refusals) {
	told := &refusals{table: observed.New()}
	return newRig(t, mesh.Observe, yaml, func(c *proxy.Config) { c.Observer, c.Observed = told, told.table }), told
}

// rows writes the table, without times and ports.
func (r *refusals) rows() string {
	var out []string
	rows, _ := r.table.Rows()
	for _, row := range rows {
		at := row.Name
		if row.Address.IsValid() {
			at = row.Address.String()
		}
		out = append(out, fmt.Sprintf("%s %s %s %d", row.Namespace, row.Protocol, at, row.Count))
	}
	return strings.Join(out, ", ")
}

func TestObserveLetsPassAndNotesWhatRegistryOnlyWouldRefuse(t *testing.T) {
	t.Parallel()
	for _, app := range []string{"h1", "h2"} {
		t.Run(app, func(t *testing.T) {
			t.Parallel()
			m := mode{app: app, service: map[string]string{"h1": "h1", "h2": "h2c"}[app]}
			r, told := observing(t, "")
			yaml := m.serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) })
			r.apply(mesh.Observe, yaml)
			r.to(endpointOf(yaml))
			c := m.client(r)
			if resp, body := fetch(t, c, getRequest(t, "http://Stranger.test:8080/")); resp.StatusCode != 200 || body != "Stranger.test:8080" {
				t.Fatalf("%d %q", resp.StatusCode, body)
			}
			if want := "default " + map[string]string{"h1": "HTTP", "h2": "HTTP2"}[app] + " stranger.test 1"; told.count() != 1 || told.rows() != want {
				t.Errorf("told %v, rows %q", told.told, told.rows())
			}
			await.Silence(t, func() string { return r.notLogged(`"would_refuse":"unregistered"}`) })
			await.Silence(t, func() string {
				if log := r.log.String(); !strings.Contains(log, "REGISTRY_ONLY would refuse this") || !strings.Contains(log, "hosts: [stranger.test]") {
					return log
				}
				return ""
			})
		})
	}
}

// endpointOf is where the server of a static entry listens.
func endpointOf(yaml string) string {
	_, address, _ := strings.Cut(yaml, "endpoints: [{address: ")
	host, port, _ := strings.Cut(address, ", ports: {p: ")
	port, _, _ = strings.Cut(port, "}")
	return host + ":" + port
}

func TestObserveNotesNothingOfWhatIsRegistered(t *testing.T) {
	t.Parallel()
	r, told := observing(t, static("a", "api.test", "HTTP", 80, serve(t, echo)))
	for range 3 { // on a goroutine, then on a lane
		if resp, _ := r.get("http://api.test/"); resp.StatusCode != 200 {
			t.Fatal(resp.StatusCode)
		}
	}
	if told.count() != 0 || strings.Contains(r.access.String(), "would_refuse") {
		t.Errorf("told %v; %s", told.told, r.access)
	}
}

func TestObserveNotesOpaqueConnectionsWhenTheyBegin(t *testing.T) {
	t.Parallel()
	for what, first := range map[string]string{"tls": string(helloFor(t, "stranger.test")), "tcp": "\x00\x01\x02\x03"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r, told := observing(t, "")
			r.to(tcpServer(t, func(c *net.TCPConn) { io.Copy(c, c) }))
			c := r.dial()
			io.WriteString(c, first)
			if back, err := bufio.NewReader(c).Peek(len(first)); err != nil || string(back) != first {
				t.Fatalf("%q, %v", back, err)
			}
			want := map[string]string{"tls": "default TLS stranger.test 1", "tcp": "default TCP 127.0.0.1 1"}[what]
			if told.count() != 1 || told.rows() != want { // and it goes on
				t.Errorf("told %v, rows %q", told.told, told.rows())
			}
			c.Close()
			await.Silence(t, func() string { return r.notLogged(`"would_refuse":"unregistered"}`) })
		})
	}
}

// On an event loop, where a request is decided without a goroutine of its own.
func TestObserveNotesEachRequestOnce(t *testing.T) {
	t.Parallel()
	r, told := observing(t, "")
	proxy.GoToLanes(r.server)
	r.to(serve(t, echo))
	c := r.dial()
	in := bufio.NewReader(c)
	for range 5 {
		if resp, _ := exchange(t, c, in, "GET", "GET / HTTP/1.1\r\nHost: stranger.test\r\n\r\n"); resp.StatusCode != 200 {
			t.Fatal(resp.StatusCode)
		}
	}
	if told.count() != 5 || told.rows() != "default HTTP stranger.test 5" {
		t.Errorf("told %v, rows %q", told.told, told.rows())
	}
}

// What names refuse is refused whatever the policy about strangers: Observe says nothing of it.
func TestObserveDoesNotExcuseAForgedName(t *testing.T) {
	t.Parallel()
	r, told := observing(t, none("a.test", "HTTP", "80"))
	if resp, _ := r.get("http://a.test/"); resp.StatusCode == 200 || told.count() != 0 {
		t.Errorf("%d, told %v", resp.StatusCode, told.told)
	}
}
