package dnsrelay

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// resolver is a DNS server on loopback that answers by handler, over both transports.
func resolver(t *testing.T, handler dns.HandlerFunc) netip.AddrPort {
	t.Helper()
	for range 20 {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		stream, err := net.Listen("tcp", packets.LocalAddr().String())
		if err != nil { // taken in TCP: try another
			packets.Close()
			continue
		}
		for _, s := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: stream, Handler: handler}} {
			started := make(chan struct{})
			s.NotifyStartedFunc = func() { close(started) }
			go s.ActivateAndServe()
			<-started
			t.Cleanup(func() { s.Shutdown() })
		}
		return packets.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	t.Fatal("no port is free in both transports")
	return netip.AddrPort{}
}

// silent is an address where queries vanish and connections are refused.
func silent(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// serve runs a relay and returns its address for each transport. It ends, with
// all its goroutines, before the test does.
func serve(t *testing.T, cfg Config) map[string]string {
	t.Helper()
	packets, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r, ended := New(cfg), make(chan error, 2)
	go func() { ended <- r.ServePacket(ctx, packets) }()
	go func() { ended <- r.ServeStream(ctx, stream) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			select {
			case err := <-ended:
				if err != nil {
					t.Errorf("the relay ended with %v", err)
				}
			case <-time.After(10 * time.Second):
				t.Error("the relay does not end with its context")
			}
		}
	})
	return map[string]string{"udp": packets.LocalAddr().String(), "tcp": stream.Addr().String()}
}

func servers(list ...netip.AddrPort) func() []netip.AddrPort {
	return func() []netip.AddrPort { return list }
}

func answerWith(address string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		rr, _ := dns.NewRR(q.Question[0].Name + " 30 IN A " + address)
		m.Answer = append(m.Answer, rr)
		w.WriteMsg(m)
	}
}

func question(name string) *dns.Msg { return new(dns.Msg).SetQuestion(name, dns.TypeA) }

func ask(t *testing.T, network, relay string, q *dns.Msg) *dns.Msg {
	t.Helper()
	c := dns.Client{Net: network, Timeout: 10 * time.Second}
	a, _, err := c.Exchange(q, relay)
	if err != nil {
		t.Fatalf("%s: %v", network, err)
	}
	return a
}

func TestAnswersPassUnchanged(t *testing.T) {
	t.Parallel()
	var seen atomic.Pointer[[]byte]
	up := resolver(t, func(w dns.ResponseWriter, q *dns.Msg) {
		raw, _ := q.Pack()
		seen.Store(&raw)
		answerWith("192.0.2.7")(w, q)
	})
	for network, relay := range serve(t, Config{Servers: servers(up)}) {
		q := question("httpbin.org.")
		q.SetEdns0(1232, true)
		a := ask(t, network, relay, q)
		if len(a.Answer) != 1 || a.Answer[0].(*dns.A).A.String() != "192.0.2.7" {
			t.Errorf("%s: got %v", network, a)
		}
		want, _ := q.Pack()
		if got := *seen.Load(); !slices.Equal(got, want) {
			t.Errorf("%s: the resolver saw\n%x\nsent\n%x", network, got, want)
		}
	}
}

func TestNextResolverAnswersWhenTheFirstIsSilent(t *testing.T) {
	t.Parallel()
	up := resolver(t, answerWith("192.0.2.8"))
	relays := serve(t, Config{Servers: servers(silent(t), up), Timeout: 100 * time.Millisecond})
	for network, relay := range relays {
		if a := ask(t, network, relay, question("example.com.")); len(a.Answer) != 1 {
			t.Errorf("%s: got %v", network, a)
		}
	}
}

func TestNoResolverMeansServFail(t *testing.T) {
	t.Parallel()
	for _, list := range [][]netip.AddrPort{nil, {silent(t)}} {
		for network, relay := range serve(t, Config{Servers: servers(list...), Timeout: 50 * time.Millisecond}) {
			q := question("example.com.")
			a := ask(t, network, relay, q)
			if a.Rcode != dns.RcodeServerFailure || len(a.Question) != 1 || a.Question[0] != q.Question[0] {
				t.Errorf("%s, %d resolvers: got %v", network, len(list), a)
			}
		}
	}
}

func TestZoneTransferPassesEveryMessage(t *testing.T) {
	t.Parallel()
	up := resolver(t, func(w dns.ResponseWriter, q *dns.Msg) {
		soa, _ := dns.NewRR("example.com. 30 IN SOA ns.example.com. root.example.com. 1 2 3 4 5")
		rr, _ := dns.NewRR("www.example.com. 30 IN A 192.0.2.9")
		for _, records := range [][]dns.RR{{soa, rr}, {rr}, {rr, soa}} {
			m := new(dns.Msg).SetReply(q)
			m.Answer = records
			w.WriteMsg(m)
		}
	})
	relay := serve(t, Config{Servers: servers(up)})["tcp"]
	q := new(dns.Msg).SetAxfr("example.com.")
	parts, err := new(dns.Transfer).In(q, relay)
	if err != nil {
		t.Fatal(err)
	}
	records := 0
	for p := range parts {
		if p.Error != nil {
			t.Fatal(p.Error)
		}
		records += len(p.RR)
	}
	if records != 5 {
		t.Errorf("got %d records, want 5", records)
	}
}

func TestQueriesOfOneConnectionAreAnsweredInTurn(t *testing.T) {
	t.Parallel()
	up := resolver(t, answerWith("192.0.2.10"))
	c, err := dns.Dial("tcp", serve(t, Config{Servers: servers(up)})["tcp"])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 3 {
		q := question("a.example.com.")
		if err := c.WriteMsg(q); err != nil {
			t.Fatal(err)
		}
		if a, err := c.ReadMsg(); err != nil || a.Id != q.Id {
			t.Fatalf("got %v, %v", a, err)
		}
	}
}

func TestOneSlowQueryDelaysNoOther(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	up := resolver(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Name == "slow.example.com." {
			<-release
		}
		answerWith("192.0.2.11")(w, q)
	})
	relay := serve(t, Config{Servers: servers(up), Timeout: 20 * time.Second})["udp"]
	slow := make(chan *dns.Msg, 1)
	go func() {
		c := dns.Client{Timeout: 20 * time.Second}
		a, _, _ := c.Exchange(question("slow.example.com."), relay)
		slow <- a
	}()
	ask(t, "udp", relay, question("quick.example.com."))
	close(release)
	if a := <-slow; a == nil || len(a.Answer) != 1 {
		t.Errorf("the slow query got %v", a)
	}
}

func TestNoiseIsNotRelayed(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	up := resolver(t, func(w dns.ResponseWriter, q *dns.Msg) { asked.Add(1); answerWith("192.0.2.12")(w, q) })
	relay := serve(t, Config{Servers: servers(up)})["udp"]
	c, err := net.Dial("udp", relay)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answer, _ := new(dns.Msg).SetReply(question("example.com.")).Pack()
	for _, noise := range [][]byte{{}, {1}, make([]byte, 11), answer} {
		c.Write(noise)
	}
	ask(t, "udp", relay, question("example.com."))
	if n := asked.Load(); n != 1 {
		t.Errorf("the resolver saw %d queries, want 1", n)
	}
}

func TestServFailSurvivesAnyQuestion(t *testing.T) {
	t.Parallel()
	for _, m := range []message{
		make(message, 12),
		{0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 5, 'a'},
		{0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 0xc, 0, 1, 0, 1},
		{0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1},
	} {
		var a dns.Msg
		if err := a.Unpack(m.serverFailure()); err != nil || a.Rcode != dns.RcodeServerFailure {
			t.Errorf("%x: got %v, %v", []byte(m), a, err)
		}
	}
}

func TestResolvConfIsReadAgainWhenItChanges(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "resolv.conf")
	c := ResolvConf{Path: path}
	expect := func(want ...string) {
		t.Helper()
		var got []string
		for _, s := range c.Servers() {
			got = append(got, s.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expect("127.0.0.1:53")
	write("# comment\nsearch example.com\nnameserver 127.0.0.53\noptions edns0\n")
	expect("127.0.0.53:53")
	write("nameserver nonsense\nnameserver fe80::1%lo\n nameserver 192.0.2.1 # trailing\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n")
	expect("[fe80::1%lo]:53", "192.0.2.1:53", "192.0.2.2:53")
	write("search nothing.example\n")
	expect("127.0.0.1:53")
}
