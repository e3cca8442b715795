package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

// Servers listen on port 53 of loopback addresses of the binary's own namespace.
func TestMain(m *testing.M) { labtest.Main(m) }

// fake is a DNS server without a network, and a clock that tests turn.
type fake struct {
	*Resolver
	clock  atomic.Int64 // seconds
	asked  atomic.Int32 // questions for A
	mu     sync.Mutex
	answer func(name string, qtype uint16) (*dns.Msg, error)
}

func newFake(t *testing.T, files ...string) *fake {
	t.Helper()
	f := &fake{}
	f.clock.Store(1_000_000)
	cfg := Config{ResolvConf: write(t, "nameserver 192.0.2.1\noptions attempts:1\n"), Hosts: write(t, ""), Exchange: f.exchange}
	if len(files) > 0 {
		cfg.ResolvConf = files[0]
	}
	if len(files) > 1 {
		cfg.Hosts = files[1]
	}
	f.Resolver = New(cfg)
	f.Resolver.now = func() time.Time { return time.Unix(f.clock.Load(), 0) }
	return f
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

func TestAnAnswerLivesAsLongAsItsTTL(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.answers(records(30, "192.0.2.10"))
	f.want(t, "a.test", "192.0.2.10", 1)
	f.answers(records(30, "192.0.2.11"))
	f.clock.Add(29)
	f.want(t, "A.Test.", "192.0.2.10", 1)
	f.clock.Add(1)
	f.want(t, "a.test", "192.0.2.11", 2)
}

func TestAbsurdTTLsAreBounded(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.answers(records(0, "192.0.2.10"))
	f.want(t, "a.test", "192.0.2.10", 1)
	f.want(t, "a.test", "192.0.2.10", 1) // a second, not none
	f.clock.Add(1)
	f.answers(records(1<<31-1, "192.0.2.10"))
	f.want(t, "a.test", "192.0.2.10", 2)
	f.clock.Add(3600)
	f.want(t, "a.test", "192.0.2.10", 3)
}

func TestTheSmallestTTLOfAChainCounts(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.answers(func(name string, qtype uint16) (*dns.Msg, error) {
		alias, _ := dns.NewRR(name + ". 5 IN CNAME b.test.")
		m := &dns.Msg{Answer: []dns.RR{alias}}
		if qtype == dns.TypeA {
			m.Answer = append(m.Answer, record("b.test", 300, "192.0.2.10"))
		}
		return m, nil
	})
	f.want(t, "a.test", "192.0.2.10", 1)
	f.clock.Add(5)
	f.want(t, "a.test", "192.0.2.10", 2)
}

func TestNoSuchNameIsRememberedForAWhile(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.answers(rcode(dns.RcodeNameError))
	f.want(t, "a.test", "", 1)
	if _, err := f.Lookup(t.Context(), "a.test"); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	f.answers(records(30, "192.0.2.10"))
	f.want(t, "a.test", "", 1)
	f.clock.Add(int64(negativeTTL / time.Second))
	f.want(t, "a.test", "192.0.2.10", 2)
}

func TestAFailureKeepsTheLastGoodAnswerAndNoSuchNameDoesNot(t *testing.T) {
	t.Parallel()
	failures := map[string]func(string, uint16) (*dns.Msg, error){
		"SERVFAIL": rcode(dns.RcodeServerFailure), "REFUSED": rcode(dns.RcodeRefused),
		"silence": func(string, uint16) (*dns.Msg, error) { return nil, os.ErrDeadlineExceeded },
	}
	for name, failure := range failures {
		f := newFake(t)
		f.answers(failure)
		f.want(t, "a.test", "", 1) // nothing to fall back on
		f.clock.Add(2)
		f.answers(records(10, "192.0.2.10"))
		f.want(t, "a.test", "192.0.2.10", 2)
		f.answers(failure)
		f.clock.Add(10)
		f.want(t, "a.test", "192.0.2.10", 3)
		f.want(t, "a.test", "192.0.2.10", 3) // and not asked again at once
		f.clock.Add(int64(staleFor / time.Second))
		f.want(t, "a.test", "", 4)
		if t.Failed() {
			t.Fatal(name)
		}
	}
	f := newFake(t)
	f.answers(records(10, "192.0.2.10"))
	f.want(t, "a.test", "192.0.2.10", 1)
	f.clock.Add(10)
	f.answers(rcode(dns.RcodeNameError))
	f.want(t, "a.test", "", 2)
}

func TestASlowServerIsNotWaitedForWhereAStaleAnswerIsAtHand(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.answers(records(10, "192.0.2.10"))
	f.want(t, "a.test", "192.0.2.10", 1)
	release := make(chan struct{})
	f.answers(func(name string, qtype uint16) (*dns.Msg, error) {
		<-release
		return records(10, "192.0.2.11")(name, qtype)
	})
	f.clock.Add(10)
	if got, err := f.Lookup(t.Context(), "a.test"); join(got) != "192.0.2.10" || err != nil {
		t.Errorf("%v %v", got, err)
	}
	close(release)
	await(t, func() bool { got, _ := f.Lookup(t.Context(), "a.test"); return join(got) == "192.0.2.11" })
}

func await(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}

func TestLookupsOfOneNameAreOneQuestion(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	release := make(chan struct{})
	f.answers(func(name string, qtype uint16) (*dns.Msg, error) {
		<-release
		return records(10, "192.0.2.10")(name, qtype)
	})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if got, err := f.Lookup(t.Context(), "a.test"); len(got) != 1 || err != nil {
				t.Errorf("%v %v", got, err)
			}
		})
	}
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Lookup(impatient, "a.test"); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that gave up got %v", err)
	}
	close(release)
	all.Wait()
	if n := f.asked.Load(); n != 1 {
		t.Errorf("%d questions", n)
	}
}

func TestTheHostsFileComesFirstAndItsChangesCount(t *testing.T) {
	t.Parallel()
	hosts := write(t, "192.0.2.20 A.test b.test # c.test\nrubbish\n2001:db8::1 a.test\n")
	f := newFake(t, write(t, "nameserver 192.0.2.1\n"), hosts)
	f.answers(rcode(dns.RcodeNameError))
	f.want(t, "a.test", "192.0.2.20 2001:db8::1", 0)
	f.want(t, "c.test", "", 1)
	os.WriteFile(hosts, []byte("192.0.2.21 a.test and.more\n"), 0o644)
	f.clock.Add(int64(hostsTTL / time.Second))
	f.want(t, "a.test", "192.0.2.21", 1)
}

func TestAnAddressIsItsOwnAnswer(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.want(t, "192.0.2.5", "192.0.2.5", 0)
	f.want(t, "2001:db8::5", "2001:db8::5", 0)
}

func TestOnlyShortNamesAreSearched(t *testing.T) {
	t.Parallel()
	f := newFake(t, write(t, "search one.test two.test.\nnameserver 192.0.2.1\noptions ndots:5\n"))
	var asked []string
	f.answers(func(name string, qtype uint16) (*dns.Msg, error) {
		if qtype == dns.TypeA {
			asked = append(asked, name)
		}
		if name == "db.two.test" {
			return records(10, "192.0.2.10")(name, qtype)
		}
		return rcode(dns.RcodeNameError)(name, qtype)
	})
	f.want(t, "a.b", "", 1)
	if _, err := f.Lookup(t.Context(), "db"); err != nil {
		t.Error(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if want := []string{"a.b", "db", "db.one.test", "db.two.test"}; !slices.Equal(asked, want) {
		t.Errorf("asked %v, want %v", asked, want)
	}
}

// server answers on port 53 of a loopback address, over UDP and TCP.
func server(t *testing.T, handle dns.HandlerFunc) string {
	t.Helper()
	addr := fmt.Sprintf("127.0.53.%d", nextServer.Add(1))
	packets, err := net.ListenPacket("udp", addr+":53")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", addr+":53")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: handle}, {Listener: listener, Handler: handle}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe()
		<-started
		t.Cleanup(func() { s.Shutdown() })
	}
	return addr
}

var nextServer atomic.Int32

func zone(addr string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{record(strings.TrimSuffix(q.Question[0].Name, "."), 1, addr)}
		}
		w.WriteMsg(m)
	}
}

func real(t *testing.T, conf string) *Resolver {
	return New(Config{ResolvConf: write(t, conf), Hosts: write(t, "")})
}

func TestATruncatedAnswerIsAskedForAgainOverTCP(t *testing.T) {
	t.Parallel()
	many := func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			m.Truncated = true
		} else if q.Question[0].Qtype == dns.TypeA {
			for i := range 200 {
				m.Answer = append(m.Answer, record("a.test", 60, fmt.Sprintf("192.0.2.%d", i)))
			}
		}
		w.WriteMsg(m)
	}
	got, err := real(t, "nameserver "+server(t, many)+"\n").Lookup(t.Context(), "a.test")
	if len(got) != 200 || err != nil {
		t.Errorf("%d addresses, %v", len(got), err)
	}
}

func TestAServerThatNeverAnswersAAAAHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	answer := zone("192.0.2.10")
	addr := server(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Qtype == dns.TypeA {
			answer(w, q)
		}
	})
	start := time.Now()
	got, err := real(t, "nameserver "+addr+"\n").Lookup(t.Context(), "a.test")
	if join(got) != "192.0.2.10" || err != nil || time.Since(start) > 1500*time.Millisecond {
		t.Errorf("%v %v after %v", got, err, time.Since(start))
	}
}

func TestTheNextServerIsAskedWhereOneIsSilentOrFails(t *testing.T) {
	t.Parallel()
	silent := server(t, func(dns.ResponseWriter, *dns.Msg) {})
	failing := server(t, func(w dns.ResponseWriter, q *dns.Msg) { w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)) })
	good := server(t, zone("192.0.2.10"))
	r := real(t, fmt.Sprintf("nameserver %s\nnameserver %s\nnameserver %s\noptions timeout:1\n", silent, failing, good))
	if got, err := r.Lookup(t.Context(), "a.test"); join(got) != "192.0.2.10" || err != nil {
		t.Errorf("%v %v", got, err)
	}
}

func TestAnAnswerToAnotherQuestionIsNotTaken(t *testing.T) {
	t.Parallel()
	addr := server(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Question[0].Name = "other.test."
		m.Answer = []dns.RR{record("other.test", 60, "192.0.2.66")}
		w.WriteMsg(m)
	})
	if got, err := real(t, "nameserver "+addr+"\noptions timeout:1 attempts:1\n").Lookup(t.Context(), "a.test"); err == nil {
		t.Errorf("took %v", got)
	}
}

func TestAChangeOfResolvConfIsFollowed(t *testing.T) {
	t.Parallel()
	first, second := server(t, zone("192.0.2.1")), server(t, zone("192.0.2.2"))
	conf := write(t, "nameserver "+first+"\n")
	r := New(Config{ResolvConf: conf, Hosts: write(t, "")})
	if got, err := r.Lookup(t.Context(), "a.test"); join(got) != "192.0.2.1" || err != nil {
		t.Fatalf("%v %v", got, err)
	}
	os.WriteFile(conf, []byte("# changed\nnameserver "+second+"\n"), 0o644)
	await(t, func() bool { got, _ := r.Lookup(t.Context(), "a.test"); return join(got) == "192.0.2.2" })
}

func TestResolvConfIsReadAsTheCLibraryDoes(t *testing.T) {
	t.Parallel()
	s := readSettings(write(t, "; comment\nnameserver 192.0.2.1\nnameserver rubbish\nnameserver 2001:db8::1\nnameserver fe80::1%lo\nnameserver 192.0.2.4\nsearch a b\ndomain c\noptions timeout:90 attempts:9 rotate ndots:x\n"))
	if want := []string{"192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%lo]:53"}; !slices.Equal(s.servers, want) {
		t.Errorf("servers %v", s.servers)
	}
	if !slices.Equal(s.search, []string{"c"}) || s.timeout != 30*time.Second || s.attempts != 5 {
		t.Errorf("%+v", s)
	}
	if s := readSettings("/nowhere"); !slices.Equal(s.servers, []string{"127.0.0.1:53"}) || s.attempts != 2 {
		t.Errorf("without a file: %+v", s)
	}
}

// Not parallel: goroutines are counted.
func TestNoGoroutineIsLeftAfterLookups(t *testing.T) {
	silent := server(t, func(dns.ResponseWriter, *dns.Msg) {})
	good := server(t, zone("192.0.2.10"))
	before := runtime.NumGoroutine()
	bad := real(t, "nameserver "+silent+"\noptions timeout:1 attempts:1\n")
	r := real(t, "nameserver "+good+"\n")
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			bad.Lookup(ctx, fmt.Sprintf("n%d.test", i))
			r.Lookup(t.Context(), fmt.Sprintf("n%d.test", i))
		})
	}
	all.Wait()
	await(t, func() bool { return runtime.NumGoroutine() <= before })
}
