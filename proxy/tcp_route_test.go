package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/dns"
)

// Of these addresses of loopback one is a name's, one is where its service is, and one
// is a stranger's.
const (
	atName     = "127.0.0.2"
	atEndpoint = "127.0.0.3"
	atStranger = "127.0.0.4"
)

// tellers are servers on one port that say at which address they were reached.
func tellers(t *testing.T) (port string) {
	t.Helper()
	port = "0"
	for _, at := range []string{atName, atEndpoint, atStranger} {
		l, err := net.Listen("tcp", net.JoinHostPort(at, port))
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ = net.SplitHostPort(serveOn(t, l, func(c net.Conn) {
			io.WriteString(c, at)
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
		}))
	}
	return port
}

// databases register db.test on a port, without addresses, in every resolution.
func databases(port string) map[string]string {
	entry := none("db.test", "TCP", port)
	with := func(resolution, more string) string { return strings.Replace(entry, "NONE", resolution, 1) + more }
	return map[string]string{
		"NONE":                    entry,
		"DNS":                     with("DNS", ""),
		"STATIC":                  with("STATIC", "  endpoints: [{address: "+atEndpoint+"}]\n"),
		"DNS with endpoints":      with("DNS", "  endpoints: [{address: there.test}]\n"),
		"NONE, without protocol":  strings.Replace(entry, "protocol: TCP", "protocol: ''", 1),
		"STATIC, beside another":  with("STATIC", "  endpoints: [{address: "+atEndpoint+"}]\n") + "---" + none("other.test", "TCP", port),
		"led to another's server": with("DNS", "") + "---" + strings.Replace(none("there.test", "TCP", port), "NONE", "DNS", 1) + ledTo("db.test", "there.test"),
	}
}

// ledTo is a VirtualService that sends opaque bytes for one host to another.
func ledTo(host, other string) string {
	return fmt.Sprintf(`
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v}
spec: {hosts: [%s], tcp: [{route: [{destination: {host: %s}}]}]}
`, host, other)
}

// said is what a teller says to a connection that begins with text, "" where that is
// refused.
func (r *rig) said(dst, text string) string {
	r.t.Helper()
	r.to(dst)
	c, err := r.dialFromElsewhere()
	if err != nil {
		return ""
	}
	defer c.Close()
	io.WriteString(c, text)
	b, _ := io.ReadAll(c)
	return string(b)
}

// dialFromElsewhere is for where the proxy goes on to the very place that the connection
// was going to: the kernel may give both the same port, and if both came from one address
// the one would be taken for the other.
func (r *rig) dialFromElsewhere() (net.Conn, error) {
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.5")}}
	c, err := from.Dial("tcp", r.addr)
	if err == nil {
		c.SetDeadline(time.Now().Add(time.Minute))
	}
	return c, err
}

func (r *rig) knowsTheTellers() {
	r.names.Store("db.test", []string{atName})
	r.names.Store("there.test", []string{atEndpoint})
}

func TestUnderAllowAnyAPortOfTCPSendsStrangersWhereTheyWereGoing(t *testing.T) {
	t.Parallel()
	for what, yaml := range databases("PORT") {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			port := tellers(t)
			r := newRig(t, mesh.AllowAny, strings.ReplaceAll(yaml, "PORT", port))
			r.knowsTheTellers()
			cluster := "outbound|" + port + "||"
			for dst, want := range map[string]string{atStranger: "PassthroughCluster", atName: cluster} {
				if got := r.said(dst+":"+port, "\x00\x01"); want != cluster && got != dst || got == "" {
					t.Errorf("to %s: %q answered", dst, got)
				}
				await.Silence(t, func() string { return r.notLogged(want) })
			}
		})
	}
}

// notLogged says so where the access log does not have a text.
func (r *rig) notLogged(text string) string {
	if log := r.access.String(); !strings.Contains(log, text) {
		return text + " is not in the access log: " + log
	}
	return ""
}

// A port on which HTTP, or TLS under other names, is registered beside the database.
func TestAnUnknownServerNameIsNotForAPortsTCP(t *testing.T) {
	t.Parallel()
	for _, policy := range []mesh.OutboundPolicy{mesh.AllowAny, mesh.RegistryOnly} {
		for _, beside := range []string{"HTTP", "TLS"} {
			for what, yaml := range databases("PORT") {
				t.Run(fmt.Sprint("policy ", policy, ", ", beside, ", ", what), func(t *testing.T) {
					t.Parallel()
					port := tellers(t)
					r := newRig(t, policy, strings.ReplaceAll(yaml, "PORT", port)+"\n---"+none("h.test", beside, port))
					proxy.WaitForFirstBytes(r.server, time.Minute)
					r.knowsTheTellers()
					want := ""
					if policy == mesh.AllowAny {
						want = atStranger
					}
					hello := string(helloFor(t, "unknown.test"))
					if got := r.said(atStranger+":"+port, hello); got != want {
						t.Errorf("to a stranger: %q, want %q", got, want)
					}
					if policy == mesh.RegistryOnly {
						await.Silence(t, func() string { return r.notLogged("BlackHoleCluster") })
					}
					if got := r.said(atName+":"+port, hello); got == "" {
						t.Error("to the database's own address: refused")
					}
				})
			}
		}
	}
}

// A name whose DNS is slow holds up the connection that asks, not the event loop it
// began on.
func TestAConnectionThatWaitsForANameHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	port := tellers(t)
	answer := make(chan struct{})
	var accepted atomic.Int32
	var r *rig
	r = newRig(t, mesh.AllowAny, none("db.test", "TCP", port), func(c *proxy.Config) {
		resolver := dns.Config{ResolvConf: "/dev/null", Hosts: "/dev/null"}
		resolver.Exchange = func(ctx context.Context, q *mdns.Msg, server string) (*mdns.Msg, error) {
			<-answer
			return r.answer(ctx, q, server)
		}
		c.Resolver = dns.New(resolver)
		goingTo := c.OriginalDst
		c.OriginalDst = func(fd int, from netip.AddrPort) (netip.AddrPort, error) {
			defer accepted.Add(1)
			return goingTo(fd, from)
		}
	})
	r.knowsTheTellers()
	r.to(atStranger + ":" + port)
	waiting := make([]net.Conn, 32) // more than there are loops
	for i := range waiting {
		c, err := r.dialFromElsewhere()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		waiting[i] = c
	}
	await.Silence(t, func() string {
		if n := accepted.Load(); n < int32(len(waiting)) {
			return fmt.Sprint(n, " connections were accepted")
		}
		return ""
	})
	r.to(atStranger + ":1") // a port on which nothing is registered, and nobody is
	if _, err := r.dial().Read(make([]byte, 1)); !isReset(err) {
		t.Errorf("another connection: %v", err)
	}
	close(answer)
	for _, c := range waiting {
		if got, err := io.ReadAll(c); string(got) != atStranger {
			t.Errorf("%q %v", got, err)
		}
	}
}
