package dnsproxy

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sluice-cni/sluice/internal/heard"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/vip"
)

// rig is a server on loopback, its resolvers played by a function.
type rig struct {
	t      testing.TB
	server *Server
	udp    string
	tcp    string
	book   vip.Book
	log    *heard.Text

	mu     sync.Mutex
	world  func(*dns.Msg) (*dns.Msg, error)
	asked  []string // what the resolvers were asked, "name TYPE"
	events []Event
}

const podSearch = "search default.svc.cluster.local svc.cluster.local cluster.local ec2.internal\noptions ndots:5\n"

func newRig(t testing.TB, yaml string, change ...func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, log: &heard.Text{}, world: func(q *dns.Msg) (*dns.Msg, error) { return rcode(q, dns.RcodeNameError), nil }}
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver 192.0.2.53\n"+podSearch), 0o600); err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	r.udp, r.tcp = udp.LocalAddr().String(), tcp.Addr().String()
	cfg := Config{
		Packets: []*net.UDPConn{udp}, Streams: []*net.TCPListener{tcp}, ResolvConf: resolv,
		Exchange:  r.exchange,
		Reachable: func() (bool, bool) { return true, true },
		Observe: func(e Event) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.events = append(r.events, e)
		},
		Log: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	for _, f := range change {
		f(&cfg)
	}
	if r.server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	r.apply(mesh.RegistryOnly, yaml)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.server.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(r.log)
		}
	})
	return r
}

func (r *rig) apply(policy mesh.OutboundPolicy, yaml string) {
	r.t.Helper()
	r.server.Update(r.snapshot(policy, yaml))
}

func (r *rig) snapshot(policy mesh.OutboundPolicy, yaml string) *mesh.Snapshot {
	resources, issues := mesh.Decode("test.yaml", []byte(yaml), mesh.DecodeOptions{})
	if issues.HasErrors() {
		r.t.Fatal(issues)
	}
	s, _ := mesh.Build(resources, mesh.Options{Policy: policy, Virtual: func(wanted []vip.Wanted) map[string][]netip.Addr {
		r.book, _ = r.book.Assign(wanted, time.Now())
		out := map[string][]netip.Addr{}
		for _, w := range wanted {
			if slot, ok := r.book.Slot(w.Host); ok {
				out[w.Host] = []netip.Addr{slot.IPv4(), slot.IPv6()}
			}
		}
		return out
	}})
	return s
}

// exchange is the resolver.
func (r *rig) exchange(ctx context.Context, q *dns.Msg, _ string) (*dns.Msg, error) {
	r.mu.Lock()
	r.asked = append(r.asked, question(q))
	world := r.world
	r.mu.Unlock()
	type outcome struct {
		m   *dns.Msg
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		m, err := world(q)
		done <- outcome{m, err}
	}()
	select {
	case o := <-done:
		return o.m, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *rig) answers(f func(*dns.Msg) (*dns.Msg, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.world, r.asked = f, nil
}

func (r *rig) questions() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.asked)
}

func (r *rig) sources() []Source {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Source
	for _, e := range r.events {
		out = append(out, e.Source)
	}
	return out
}

func question(q *dns.Msg) string {
	return strings.TrimSuffix(q.Question[0].Name, ".") + " " + dns.TypeToString[q.Question[0].Qtype]
}

// zone answers from lines of zone file text; a name that has none does not exist.
func zone(lines ...string) func(*dns.Msg) (*dns.Msg, error) {
	var records []dns.RR
	for _, l := range lines {
		rr, err := dns.NewRR(l)
		if err != nil {
			panic(err)
		}
		records = append(records, rr)
	}
	return func(q *dns.Msg) (*dns.Msg, error) {
		m := new(dns.Msg).SetReply(q)
		name, known := strings.ToLower(q.Question[0].Name), false
		for _, rr := range records {
			h := rr.Header()
			if strings.ToLower(h.Name) != name {
				continue
			}
			known = true
			if h.Rrtype == dns.TypeCNAME || h.Rrtype == q.Question[0].Qtype {
				m.Answer = append(m.Answer, dns.Copy(rr))
			}
			if c, ok := rr.(*dns.CNAME); ok {
				name = strings.ToLower(c.Target)
			}
		}
		if !known {
			m.Rcode = dns.RcodeNameError
		}
		return m, nil
	}
}

func rcode(q *dns.Msg, code int) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.Rcode = code
	return m
}

// ask puts a question over UDP.
func (r *rig) ask(name string, qtype uint16, change ...func(*dns.Msg)) *dns.Msg {
	r.t.Helper()
	return r.over("udp", name, qtype, change...)
}

func (r *rig) over(network, name string, qtype uint16, change ...func(*dns.Msg)) *dns.Msg {
	r.t.Helper()
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	for _, f := range change {
		f(q)
	}
	to := r.udp
	if network == "tcp" {
		to = r.tcp
	}
	m, _, err := (&dns.Client{Net: network, Timeout: 10 * time.Second, UDPSize: 4096}).Exchange(q, to)
	if err != nil {
		r.t.Fatalf("%s: %v", question(q), err)
	}
	return m
}

// brief is an answer in a line: code, records without class.
func brief(m *dns.Msg) string {
	out := dns.RcodeToString[m.Rcode]
	for _, rr := range m.Answer {
		out += " " + strings.TrimSuffix(rr.Header().Name, ".") + "/" + dns.TypeToString[rr.Header().Rrtype]
		switch rr := rr.(type) {
		case *dns.A:
			out += "=" + rr.A.String()
		case *dns.AAAA:
			out += "=" + rr.AAAA.String()
		case *dns.CNAME:
			out += "=" + strings.TrimSuffix(rr.Target, ".")
		case *dns.PTR:
			out += "=" + strings.TrimSuffix(rr.Ptr, ".")
		}
	}
	return out
}

func serviceEntry(name, spec string) string {
	return fmt.Sprintf("\n---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: %s}\nspec: {%s}\n", name, spec)
}

func tcp(name, host string) string {
	return serviceEntry(name, "hosts: ['"+host+"'], ports: [{number: 27017, name: p, protocol: TCP}], resolution: DNS")
}

func http(name, host, resolution string) string {
	return serviceEntry(name, "hosts: ['"+host+"'], ports: [{number: 80, name: p, protocol: HTTP}], resolution: "+resolution)
}

// v4 and v6 are a host's virtual addresses.
func (r *rig) v4(host string) string {
	slot, _ := r.book.Slot(host)
	return slot.IPv4().String()
}

func (r *rig) v6(host string) string {
	slot, _ := r.book.Slot(host)
	return slot.IPv6().String()
}

func mustAddr(text string) netip.Addr { return netip.MustParseAddr(text) }
