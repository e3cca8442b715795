package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/vip"
)

// given is what a DNS proxy answered.
type given map[string]string

func (g given) Gave(name string, addr netip.Addr) bool { return g[name] == addr.String() }

// hello is a server that speaks first, and its port on loopback.
func hello(t *testing.T, text string) (port uint16) {
	t.Helper()
	return netip.MustParseAddrPort(tcpServer(t, func(c *net.TCPConn) { io.WriteString(c, text) })).Port()
}

func answersGiven(g given) func(*proxy.Config) {
	return func(c *proxy.Config) { c.Answers = g }
}

// unresolved is a ServiceEntry of resolution NONE.
func unresolved(name, host, protocol string, port uint16) string {
	return fmt.Sprintf("\n---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: %s}\nspec: {hosts: ['%s'], ports: [{number: %d, name: p, protocol: %s}], resolution: NONE}\n", name, host, port, protocol)
}

func TestAnAddressTheApplicationWasGivenIsTheNames(t *testing.T) {
	t.Parallel()
	port := hello(t, "HTTP/1.1 204 No Content\r\n\r\n")
	r := newRig(t, mesh.RegistryOnly, unresolved("a", "api.test", "HTTP", port), answersGiven(given{"api.test": "127.0.0.1"}))
	r.names.Store("api.test", []string{"192.0.2.9"}) // what a lookup gives now is another one
	r.to(fmt.Sprintf("127.0.0.1:%d", port))
	request := func(host string) string {
		return "GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"
	}
	if got := r.raw(request("api.test")); !strings.HasPrefix(got, "HTTP/1.1 204") {
		t.Errorf("got %q", got)
	}
	if got := r.raw(request("other.test")); !strings.HasPrefix(got, "HTTP/1.1 502") {
		t.Errorf("an unregistered name: %q", got)
	}
}

func TestAnAddressGivenForAnotherNameIsNotThisOnes(t *testing.T) {
	t.Parallel()
	port := hello(t, "leak")
	r := newRig(t, mesh.RegistryOnly, unresolved("a", "db.test", "TCP", port), answersGiven(given{"evil.test": "127.0.0.1"}))
	r.names.Store("db.test", []string{"192.0.2.9"})
	r.to(fmt.Sprintf("127.0.0.1:%d", port))
	if got := r.greeting(); got != "" {
		t.Errorf("got %q", got)
	}
}

// Two names of resolution NONE on one port are told apart by what the application
// was answered.
func TestAnswersTellNamesOnOnePortApart(t *testing.T) {
	t.Parallel()
	port := hello(t, "db")
	r := newRig(t, mesh.RegistryOnly, unresolved("a", "a.test", "TCP", port)+unresolved("b", "b.test", "TCP", port), answersGiven(given{"b.test": "127.0.0.1"}))
	r.names.Store("a.test", []string{"192.0.2.9"})
	r.names.Store("b.test", []string{"192.0.2.10"})
	r.to(fmt.Sprintf("127.0.0.1:%d", port))
	if got := r.greeting(); got != "db" {
		t.Errorf("got %q", got)
	}
}

// greeting is what a server that speaks first says through the proxy, "" where the
// connection is refused.
func (r *rig) greeting() string {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		return ""
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	b, _ := io.ReadAll(c)
	return string(b)
}

// applyVirtual gives the rig's hosts one address each, in turn.
func (r *rig) applyVirtual(policy mesh.OutboundPolicy, yaml string) map[string][]netip.Addr {
	r.t.Helper()
	resources, issues := mesh.Decode("test.yaml", []byte(yaml), mesh.DecodeOptions{})
	if issues.HasErrors() {
		r.t.Fatal(issues)
	}
	out := map[string][]netip.Addr{}
	snapshot, _ := mesh.Build(resources, mesh.Options{Policy: policy, Virtual: func(wanted []vip.Wanted) map[string][]netip.Addr {
		for i, w := range wanted {
			out[w.Host] = []netip.Addr{netip.AddrFrom4([4]byte{240, 240, 9, byte(i + 1)})}
		}
		return out
	}})
	r.server.Update(snapshot)
	return out
}

func TestEachVirtualAddressLeadsToItsHost(t *testing.T) {
	t.Parallel()
	a, b := hello(t, "a"), hello(t, "b")
	r := newRig(t, mesh.RegistryOnly, "")
	at := r.applyVirtual(mesh.RegistryOnly, static("a", "a.test", "TCP", 27017, fmt.Sprintf("127.0.0.1:%d", a))+static("b", "b.test", "MONGO", 27017, fmt.Sprintf("127.0.0.1:%d", b)))
	for host, want := range map[string]string{"a.test": "a", "b.test": "b"} {
		r.to(netip.AddrPortFrom(at[host][0], 27017).String())
		if got := r.greeting(); got != want {
			t.Errorf("%s: got %q", host, got)
		}
	}
	r.to("240.240.9.77:27017")
	if got := r.greeting(); got != "" {
		t.Errorf("a virtual address that no host has: got %q", got)
	}
}

// Whoever reads the log knows names, not which virtual address is whose.
func TestWhatIsRefusedAtAVirtualAddressIsLoggedByItsName(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, "")
	at := r.applyVirtual(mesh.RegistryOnly, static("a", "a.test", "TCP", 27017, "127.0.0.1:1")+static("b", "b.test", "TCP", 27017, "127.0.0.1:1"))
	for _, host := range []string{"a.test", "b.test"} {
		r.to(netip.AddrPortFrom(at[host][0], 27018).String())
		if got := r.greeting(); got != "" {
			t.Errorf("%s: got %q", host, got)
		}
		for _, want := range []string{"host=" + host + " ", "hosts: [" + host + "], ports: [{number: 27018, name: tcp, protocol: TCP}]"} {
			if !strings.Contains(r.log.String(), want) {
				t.Errorf("the log does not say %s", want)
			}
		}
	}
}

func TestUnderAllowAnyAnotherPortOfAVirtualAddressIsTheNames(t *testing.T) {
	t.Parallel()
	other := hello(t, "other port")
	r := newRig(t, mesh.AllowAny, "")
	at := r.applyVirtual(mesh.AllowAny, static("a", "a.test", "TCP", 27017, "127.0.0.1:1"))
	r.names.Store("a.test", []string{"127.0.0.1"})
	r.to(netip.AddrPortFrom(at["a.test"][0], other).String())
	if got := r.greeting(); got != "other port" {
		t.Errorf("got %q", got)
	}
	r.to(fmt.Sprintf("240.240.9.77:%d", other))
	if got := r.greeting(); got != "" {
		t.Errorf("a virtual address that no host has: got %q", got)
	}
}

// Neither what the application was given nor a virtual address is a way around the
// addresses that DNS may not lead to.
func TestNoAnswerLeadsToAnUnsafeAddress(t *testing.T) {
	t.Parallel()
	port := hello(t, "inside")
	r := newRig(t, mesh.RegistryOnly, unresolved("a", "api.test", "TCP", port), answersGiven(given{"api.test": "127.0.0.1"}),
		func(c *proxy.Config) { c.UnsafeRanges = nil })
	r.names.Store("api.test", []string{"127.0.0.1"})
	r.to(fmt.Sprintf("127.0.0.1:%d", port))
	if got := r.greeting(); got != "" {
		t.Errorf("given as an answer: %q", got)
	}
	r = newRig(t, mesh.AllowAny, "", func(c *proxy.Config) { c.UnsafeRanges = nil })
	at := r.applyVirtual(mesh.AllowAny, static("a", "a.test", "TCP", 27017, "127.0.0.1:1"))
	r.names.Store("a.test", []string{"127.0.0.1"})
	r.to(netip.AddrPortFrom(at["a.test"][0], port).String())
	if got := r.greeting(); got != "" {
		t.Errorf("by a virtual address: %q", got)
	}
}
