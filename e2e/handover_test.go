package e2e

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/agent/netns"
	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/dial"
	"github.com/sluice-cni/sluice/proxy/loop"
	"github.com/sluice-cni/sluice/proxy/relay"
)

// applications makes connections as applications in a pod do, hundreds a second.
func applications(t *testing.T, p *egress.Pod) dial.Sockets {
	t.Helper()
	ns, err := netns.OpenPath(p.NS.FDPath())
	egress.Must(t, err)
	t.Cleanup(func() { ns.Close() })
	return ns.Socket
}

// threeProtocols need no DNS: what is measured is not how fast that is.
const threeProtocols = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web}
spec:
  hosts: [web.example.com]
  addresses: ['{{v4 "web.example.com"}}', '{{v6 "web.example.com"}}']
  ports: [{number: 80, name: p, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: '{{v4 "web.example.com"}}'}, {address: '{{v6 "web.example.com"}}'}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: secure}
spec:
  hosts: [secure.example.com]
  addresses: ['{{v4 "secure.example.com"}}', '{{v6 "secure.example.com"}}']
  ports: [{number: 443, name: p, protocol: TLS}]
  resolution: STATIC
  endpoints: [{address: '{{v4 "secure.example.com"}}'}, {address: '{{v6 "secure.example.com"}}'}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db}
spec:
  hosts: [db.example.com]
  addresses: ['{{v4 "db.example.com"}}', '{{v6 "db.example.com"}}']
  ports: [{number: 5432, name: p, protocol: TCP}]
  resolution: STATIC
  endpoints: [{address: '{{v4 "db.example.com"}}'}]
`

// visits are one exchange of each protocol; each says what it was answered.
var visits = []struct {
	host  string
	port  uint16
	visit func(net.Conn) (string, error)
}{
	{"web.example.com", 80, func(c net.Conn) (string, error) { return fetchOver(c, "web.example.com") }},
	{"secure.example.com", 443, func(c net.Conn) (string, error) {
		return fetchOver(tls.Client(c, &tls.Config{ServerName: "secure.example.com", InsecureSkipVerify: true}), "secure.example.com")
	}},
	{"db.example.com", 5432, func(c net.Conn) (string, error) {
		io.WriteString(c, "who?\n")
		return bufio.NewReader(c).ReadString('\n')
	}},
}

func fetchOver(c net.Conn, host string) (string, error) {
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != 200 {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return string(b), err
}

// answering has an internet's three servers answer with a word and their client's address.
func answering(p *egress.Pod, word string) {
	web := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, _ := netip.ParseAddrPort(r.RemoteAddr)
		fmt.Fprintf(w, "%s for %s\n", word, from.Addr())
	})
	p.Net.Web("web.example.com", 80, web)
	p.Net.WebTLS("secure.example.com", 443, web)
	p.Net.TCP("db.example.com", 5432, func(c net.Conn) {
		if _, err := bufio.NewReader(c).ReadString('\n'); err == nil {
			fmt.Fprintf(c, "%s for %s\n", word, c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap())
		}
	})
	p.Apply(threeProtocols)
}

// visit makes one connection in a pod, to an address of either family. It is answered with
// the word, and the proxy's was made from an address of the pod's own.
func visit(t *testing.T, p *egress.Pod, from dial.Sockets, i int, word string) error {
	v, family := visits[i%len(visits)], "IPv4"
	if i%2 == 1 {
		family = "IPv6"
	}
	to := netip.AddrPortFrom(netip.MustParseAddr(p.Net.Lookup(v.host, family)), v.port)
	c, err := from.Conn(t.Context(), "tcp", to)
	if err != nil {
		return fmt.Errorf("%s over %s: %w", v.host, family, err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(await.Patience)) // a busy machine takes its time for TLS
	got, err := v.visit(c)
	said, own := strings.CutPrefix(strings.TrimSpace(got), word+" for ")
	if err == nil && (!own || said != egress.Address && said != egress.AddressIPv6) {
		err = fmt.Errorf("answered %q, want %q for the pod's address", got, word)
	}
	if err != nil {
		return fmt.Errorf("%s over %s: %w", v.host, family, err)
	}
	return nil
}

// Proxies follow one another in a pod whose connections the kernel redirects: none of 150
// a second is refused, reset or ended before its answer.
func TestProxiesThatFollowOneAnotherLoseNoRedirectedConnection(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{Proxy: func(c *proxy.Config) { c.HandsOver, c.DrainTimeout = true, 20*time.Second }})
	answering(p, "here")
	from := applications(t, p)
	var made, lost atomic.Int64
	ended := make(chan struct{})
	var all sync.WaitGroup
	under := make(chan struct{}, 100) // at most: a slow machine has fewer, not ever more
	all.Go(func() {
		ticks := time.NewTicker(time.Second / 150)
		defer ticks.Stop()
		for i := 0; ; i++ {
			select {
			case <-ended:
				return
			case <-ticks.C:
			}
			under <- struct{}{}
			all.Go(func() {
				defer func() { <-under }()
				made.Add(1)
				began := time.Now()
				if err := visit(t, p, from, i, "here"); err != nil && lost.Add(1) < 5 {
					t.Errorf("%v, after %v", err, time.Since(began))
				}
			})
		}
	})
	for range 8 {
		time.Sleep(200 * time.Millisecond) // of traffic
		p.HandOver()
	}
	close(ended)
	all.Wait()
	t.Logf("%d connections, %d lost", made.Load(), lost.Load())
}

// A port that an application had until the proxy reset its connection is still redirected
// by conntrack when the proxy's own next connection happens to get it.
func TestAConnectionFromAPortThatConntrackStillRedirectsArrives(t *testing.T) {
	t.Parallel()
	const port = 40404
	var armed atomic.Bool
	p := egress.New(t, egress.Options{Proxy: func(c *proxy.Config) {
		c.DrainTimeout = 100 * time.Millisecond
		socket := c.Socket
		c.Socket = func(domain, typ int) (int, error) {
			fd, err := socket(domain, typ)
			if err == nil && typ&unix.SOCK_STREAM != 0 && armed.CompareAndSwap(true, false) {
				err = fromPort(fd, port)
			}
			return fd, err
		}
	}})
	answering(p, "here")
	from := applications(t, p)
	open := func(domain, typ int) (int, error) {
		fd, err := from(domain, typ)
		if err == nil {
			err = fromPort(fd, port)
		}
		return fd, err
	}
	to := netip.AddrPortFrom(netip.MustParseAddr(p.Net.Lookup("db.example.com", "IPv4")), 5432)
	c, err := dial.Sockets(open).Conn(t.Context(), "tcp", to)
	egress.Must(t, err)
	defer c.Close()
	await.True(t, "the connection stands", func() bool { return p.Net.Connections("db.example.com") > 0 })
	p.HandOver()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Fatalf("at the end of the drain: %v, want a reset", err)
	}
	armed.Store(true)
	if err := visit(t, p, from, 2, "here"); err != nil {
		t.Error(err)
	}
	if armed.Load() {
		t.Error("the proxy has made no socket")
	}
}

// fromPort has a socket connect from a port of the pod's address.
func fromPort(fd int, port int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	return unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: netip.MustParseAddr(egress.Address).As4()})
}

// Pods of one process have the same addresses, and the same servers are elsewhere for
// each: what they share (event loops, relay, descriptors) mixes nothing up, and when their
// proxies end nothing is left that keeps a namespace.
func TestPodsOfOneProcessKeepApart(t *testing.T) { // not parallel: descriptors are counted
	own, err := os.Readlink("/proc/self/ns/net")
	egress.Must(t, err)
	keep := func() (n int) { // what keeps a namespace of a pod's
		all, err := os.ReadDir("/proc/self/fd")
		egress.Must(t, err)
		for _, f := range all {
			to, _ := os.Readlink("/proc/self/fd/" + f.Name())
			if strings.HasPrefix(to, "socket:") || strings.HasPrefix(to, "net:") && to != own {
				n++
			}
		}
		return n
	}
	const pods, visitors = 6, 20
	var loops loop.Group
	_, err = loops.Open() // as an agent does, so that they outlive each pod
	egress.Must(t, err)
	defer loops.Close()
	engine := relay.New(relay.Config{})
	defer engine.Close()
	shares := proxy.NewShares(proxy.Totals{})
	before := 0
	t.Run("all", func(t *testing.T) {
		before = keep()
		var all sync.WaitGroup
		for i := range pods {
			share := shares.Join()
			t.Cleanup(share.Leave)
			p := egress.New(t, egress.Options{Proxy: func(c *proxy.Config) {
				c.Loops, c.Relay, c.Limits.Share = &loops, engine, share
			}})
			word := fmt.Sprintf("internet %d", i)
			answering(p, word)
			from := applications(t, p)
			for n := range visitors {
				all.Go(func() {
					for j := range 5 {
						if err := visit(t, p, from, n+j, word); err != nil {
							t.Errorf("pod %d: %v", i, err)
						}
					}
				})
			}
		}
		all.Wait()
	})
	await.True(t, "all sockets and namespaces are closed", func() bool { return keep() <= before })
}
