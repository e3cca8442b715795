package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// applyService puts a Service of a cluster in force, whose cluster IP and port are a
// server's, and has connections go there.
func (r *rig) applyService(at string, s mesh.Service) {
	r.t.Helper()
	to := netip.MustParseAddrPort(at)
	for i := range s.Ports {
		s.Ports[i].Port = to.Port()
	}
	if s.External == "" && len(s.Endpoints) == 0 {
		s.Addresses = []netip.Addr{to.Addr()}
	}
	resource, issues := mesh.FromService(s, "")
	if resource == nil {
		r.t.Fatal(issues)
	}
	snapshot, _ := mesh.Build([]*mesh.Resource{resource}, mesh.Options{})
	r.server.Update(snapshot)
	r.to(at)
}

func TestAServiceIsCalledByEachOfItsNames(t *testing.T) {
	t.Parallel()
	for _, m := range []mode{{app: "h1", service: "h1"}, {app: "h2", service: "h2c"}} {
		for what, endpoints := range map[string][]netip.Addr{"cluster IP": nil, "headless": {netip.MustParseAddr("127.0.0.1")}} {
			t.Run(m.app+" "+what, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, mesh.RegistryOnly, "")
				at := endpointOf(m.serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) }))
				protocol := map[string]string{"h1": "http", "h2c": "kubernetes.io/h2c"}[m.service]
				r.applyService(at, mesh.Service{Namespace: "default", Name: "web", Endpoints: endpoints, Ports: []mesh.ServicePort{{AppProtocol: protocol}}})
				c := m.client(r)
				for _, host := range []string{"web", "web.default", "web.default.svc", "web.default.svc.cluster.local", "WEB.default:80", at} {
					if resp, body := fetch(t, c, getRequest(t, "http://"+host+"/")); resp.StatusCode != 200 || body != host {
						t.Errorf("%s: %d %q", host, resp.StatusCode, body)
					}
				}
				for host, want := range map[string]bool{"web-0.web": endpoints != nil, "web.other": false, "other": false, "default.svc": false} {
					if resp, _ := fetch(t, c, getRequest(t, "http://"+host+"/")); (resp.StatusCode == 200) != want {
						t.Errorf("%s: %d", host, resp.StatusCode)
					}
				}
			})
		}
	}
}

// On an event loop.
func TestAServiceIsCalledByItsShortNameOnALane(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, "")
	proxy.GoToLanes(r.server)
	r.applyService(serve(t, echo), mesh.Service{Namespace: "default", Name: "web", Ports: []mesh.ServicePort{{Name: "http"}}})
	c := r.dial()
	in := bufio.NewReader(c)
	for range 3 {
		if resp, _ := exchange(t, c, in, "GET", "GET / HTTP/1.1\r\nHost: web\r\n\r\n"); resp.StatusCode != 200 {
			t.Fatal(resp.StatusCode)
		}
	}
}

func TestOpaqueBytesReachAServiceByItsAddress(t *testing.T) {
	t.Parallel()
	for what, first := range map[string]string{"tls": string(helloFor(t, "web.default.svc")), "tcp": "\x00\x01\x02\x03"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, mesh.RegistryOnly, "")
			at := tcpServer(t, func(c *net.TCPConn) { io.Copy(c, c) })
			r.applyService(at, mesh.Service{Namespace: "default", Name: "web", Ports: []mesh.ServicePort{{AppProtocol: what}}})
			c := r.dial()
			io.WriteString(c, first)
			if back, err := bufio.NewReader(c).Peek(len(first)); err != nil || string(back) != first {
				t.Fatalf("%d bytes back, %v", len(back), err)
			}
			r.to("127.0.0.2:" + portIn(at))
			stranger := r.dial()
			io.WriteString(stranger, first)
			if n, err := stranger.Read(make([]byte, 1)); n > 0 || err == nil {
				t.Errorf("another address: %d, %v", n, err)
			}
		})
	}
}

func portIn(at string) string {
	_, port, _ := net.SplitHostPort(at)
	return port
}
