package dns

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

// Servers listen on port 53 of loopback addresses of the binary's own namespace.
func TestMain(m *testing.M) { labtest.Main(m) }

// fake is a DNS server without a network. Its tests run in bubbles of time.
type fake struct {
	*Resolver
	asked  atomic.Int32 // questions for A
	mu     sync.Mutex
	answer func(name string, qtype uint16) (*dns.Msg, error)
}

// newFake comes with Run at work. files are a resolv.conf and a hosts file.
func newFake(t *testing.T, files ...string) *fake {
	t.Helper()
	f := &fake{}
	cfg := Config{ResolvConf: write(t, "nameserver 192.0.2.1\noptions attempts:1\n"), Hosts: write(t, ""), Exchange: f.exchange}
	if len(files) > 0 {
		cfg.ResolvConf = files[0]
	}
	if len(files) > 1 {
		cfg.Hosts = files[1]
	}
	f.Resolver = New(cfg)
	go f.Run(t.Context())
	return f
}

// bubble runs a test in a time of its own.
func bubble(t *testing.T, test func(*testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, test)
}

// pass lets time pass, and what is due then happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (f *fake) exchange(_ context.Context, q *dns.Msg, _ string) (*dns.Msg, error) {
	if q.Question[0].Qtype == dns.TypeA {
		f.asked.Add(1)
	}
	f.mu.Lock()
	answer := f.answer
	f.mu.Unlock()
	m, err := answer(strings.TrimSuffix(q.Question[0].Name, "."), q.Question[0].Qtype)
	if m != nil {
		code := m.Rcode
		m.SetReply(q)
		m.Rcode = code
	}
	return m, err
}

func (f *fake) answers(answer func(string, uint16) (*dns.Msg, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// records answers A with one address of that TTL, AAAA with nothing.
func records(ttl uint32, addr string) func(string, uint16) (*dns.Msg, error) {
	return func(name string, qtype uint16) (*dns.Msg, error) {
		m := new(dns.Msg)
		if qtype == dns.TypeA {
			m.Answer = []dns.RR{record(name, ttl, addr)}
		}
		return m, nil
	}
}

func record(name string, ttl uint32, addr string) dns.RR {
	kind := "A"
	if strings.Contains(addr, ":") {
		kind = "AAAA"
	}
	rr, err := dns.NewRR(fmt.Sprintf("%s. %d IN %s %s", name, ttl, kind, addr))
	if err != nil {
		panic(err)
	}
	return rr
}

func rcode(code int) func(string, uint16) (*dns.Msg, error) {
	return func(string, uint16) (*dns.Msg, error) { return &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: code}}, nil }
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func (f *fake) want(t *testing.T, name, addrs string, asked int32) {
	t.Helper()
	got, err := f.Lookup(t.Context(), name)
	if s := join(got); s != addrs || (err == nil) != (addrs != "") {
		t.Errorf("%s: got %q, %v; want %q", name, s, err, addrs)
	}
	if n := f.asked.Load(); n != asked {
		t.Errorf("%s: %d questions so far, want %d", name, n, asked)
	}
}

func join(addrs []netip.Addr) string {
	var all []string
	for _, a := range addrs {
		all = append(all, a.String())
	}
	return strings.Join(all, " ")
}
