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

func TestANameInUseIsAskedForAgainAtTheEndOfItsTTL(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.answers(records(30, "192.0.2.10"))
		f.want(t, "a.test", "192.0.2.10", 1)
		f.answers(records(30, "192.0.2.11"))
		pass(29 * time.Second)
		f.want(t, "A.Test.", "192.0.2.10", 1)
		pass(time.Second + maxJitter)
		f.want(t, "a.test", "192.0.2.11", 2)
	})
}

func TestAbsurdTTLsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.answers(records(0, "192.0.2.10"))
		f.want(t, "a.test", "192.0.2.10", 1)
		pass(999 * time.Millisecond)
		f.want(t, "a.test", "192.0.2.10", 1) // a second, not none
		f.answers(records(1<<31-1, "192.0.2.10"))
		pass(200 * time.Millisecond)
		f.want(t, "a.test", "192.0.2.10", 2)
		pass(59 * time.Minute)
		f.want(t, "a.test", "192.0.2.10", 2)
		pass(time.Minute + maxJitter)
		f.want(t, "a.test", "192.0.2.10", 3)
	})
}

func TestTheSmallestTTLOfAChainCounts(t *testing.T) {
	bubble(t, func(t *testing.T) {
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
		pass(6 * time.Second)
		f.want(t, "a.test", "192.0.2.10", 2)
	})
}

func TestNoSuchNameIsRememberedForAWhile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.answers(rcode(dns.RcodeNameError))
		f.want(t, "a.test", "", 1)
		if _, err := f.Lookup(t.Context(), "a.test"); !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v", err)
		}
		f.answers(records(30, "192.0.2.10"))
		pass(negativeTTL - time.Second)
		f.want(t, "a.test", "", 1)
		pass(time.Second + maxJitter)
		f.want(t, "a.test", "192.0.2.10", 2)
	})
}

func TestAFailureKeepsTheLastGoodAnswerAndNoSuchNameDoesNot(t *testing.T) {
	failures := map[string]func(string, uint16) (*dns.Msg, error){
		"SERVFAIL": rcode(dns.RcodeServerFailure), "REFUSED": rcode(dns.RcodeRefused),
		"silence": func(string, uint16) (*dns.Msg, error) { return nil, os.ErrDeadlineExceeded },
	}
	for name, failure := range failures {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFake(t)
				f.answers(failure)
				f.want(t, "a.test", "", 1) // nothing to fall back on
				f.answers(records(10, "192.0.2.10"))
				pass(failureTTL + maxJitter)
				f.want(t, "a.test", "192.0.2.10", 2)
				f.answers(failure)
				pass(11 * time.Second)
				f.want(t, "a.test", "192.0.2.10", 3)
				pass(500 * time.Millisecond)
				f.want(t, "a.test", "192.0.2.10", 3) // and not asked again at once
				for end := time.Now().Add(staleFor - time.Minute); time.Now().Before(end); pass(time.Minute) {
					if got, err := f.Lookup(t.Context(), "a.test"); join(got) != "192.0.2.10" {
						t.Fatal(got, err)
					}
				}
				if n := f.asked.Load(); n > 1500 {
					t.Errorf("%d questions in a day of failures", n)
				}
				pass(3 * time.Minute)
				if got, err := f.Lookup(t.Context(), "a.test"); err == nil {
					t.Errorf("after a day still %v", got)
				}
				f.answers(records(10, "192.0.2.11"))
				pass(2 * maxFailure)
				if got, err := f.Lookup(t.Context(), "a.test"); join(got) != "192.0.2.11" {
					t.Errorf("after the failures: %v %v", got, err)
				}
			})
		})
	}
	for name, gone := range map[string]func(string, uint16) (*dns.Msg, error){
		"NXDOMAIN": rcode(dns.RcodeNameError), "NODATA": rcode(dns.RcodeSuccess),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFake(t)
				f.answers(records(10, "192.0.2.10"))
				f.want(t, "a.test", "192.0.2.10", 1)
				f.answers(gone)
				pass(11 * time.Second)
				f.want(t, "a.test", "", 2)
			})
		})
	}
}

func TestAFamilyThatFailsKeepsItsLastGoodAddresses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		both := func(name string, qtype uint16) (*dns.Msg, error) {
			if qtype == dns.TypeA {
				return records(10, "192.0.2.10")(name, qtype)
			}
			return &dns.Msg{Answer: []dns.RR{record(name, 10, "2001:db8::10")}}, nil
		}
		f.answers(both)
		f.want(t, "a.test", "192.0.2.10 2001:db8::10", 1)
		f.answers(func(name string, qtype uint16) (*dns.Msg, error) {
			if qtype == dns.TypeAAAA {
				return nil, os.ErrDeadlineExceeded
			}
			return records(10, "192.0.2.11")(name, qtype)
		})
		pass(11 * time.Second)
		f.want(t, "a.test", "192.0.2.11 2001:db8::10", 2)
	})
}

func TestNoLookupOfANameInUseEverWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.answers(records(2, "192.0.2.10"))
		f.want(t, "a.test", "192.0.2.10", 1)
		f.answers(func(name string, qtype uint16) (*dns.Msg, error) {
			time.Sleep(4 * time.Second)
			return records(2, "192.0.2.11")(name, qtype)
		})
		seen := map[string]bool{}
		for range 3000 { // a minute
			start := time.Now()
			got, err := f.Lookup(t.Context(), "a.test")
			if waited := time.Since(start); waited > 0 || err != nil {
				t.Fatalf("waited %v for %v, %v", waited, got, err)
			}
			seen[join(got)] = true
			time.Sleep(20 * time.Millisecond)
		}
		if !seen["192.0.2.11"] {
			t.Error("the new address was never seen")
		}
		f.answers(records(2, "192.0.2.11"))
		pass(5 * time.Second) // the slow ones end
	})
}

func TestANameThatNobodyUsesIsForgotten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.answers(records(60, "192.0.2.10"))
		f.want(t, "a.test", "192.0.2.10", 1)
		pass(time.Hour)
		if n := f.asked.Load(); n > 6 {
			t.Errorf("asked %d times in an hour without use", n)
		}
		if n := len(f.cache) + len(f.queue); n != 0 {
			t.Errorf("%d entries are left", n)
		}
	})
}

func TestANameThatSomebodyMadeUpCostsOneLookup(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.answers(rcode(dns.RcodeNameError))
		for i := range 100 {
			f.Lookup(t.Context(), fmt.Sprintf("n%d.test", i))
		}
		pass(time.Hour)
		if n := f.asked.Load(); n != 100 || len(f.cache) != 0 {
			t.Errorf("%d questions, %d entries left", n, len(f.cache))
		}
	})
}

func TestAFloodOfNamesDoesNotDriveOutThoseInUse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.answers(records(3600, "192.0.2.10"))
		lost := 0
		for i := range 2 * cacheSize {
			if i%1000 == 0 {
				before := f.asked.Load()
				f.Lookup(t.Context(), "used.test")
				if i > 0 && f.asked.Load() != before {
					lost++
				}
			}
			time.Sleep(time.Millisecond)
			f.Lookup(t.Context(), fmt.Sprintf("n%d.test", i))
		}
		if len(f.cache) > cacheSize || lost > 1 {
			t.Errorf("%d entries; the name in use was driven out %d times", len(f.cache), lost)
		}
	})
}

func TestAnAddressThatLeftANameIsItsOwnForAWhile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.answers(records(5, "192.0.2.10"))
		f.want(t, "a.test", "192.0.2.10", 1)
		f.answers(records(3600, "192.0.2.11"))
		pass(6 * time.Second)
		f.want(t, "a.test", "192.0.2.11", 2)
		old, current, other := netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("192.0.2.11"), netip.MustParseAddr("192.0.2.12")
		if !f.Had("A.test", old) || !f.Had("a.test", current) || f.Had("a.test", other) || f.Had("b.test", old) {
			t.Error("shortly after the change")
		}
		pass(recentFor)
		if f.Had("a.test", old) || !f.Had("a.test", current) {
			t.Error("some minutes after the change")
		}
	})
}

func TestRefreshAsksAgainAtMostOnceASecond(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.answers(records(3600, "192.0.2.10"))
		f.want(t, "a.test", "192.0.2.10", 1)
		pass(2 * time.Second)
		for range 100 {
			f.Refresh("a.test")
			pass(10 * time.Millisecond)
		}
		if n := f.asked.Load(); n != 2 {
			t.Errorf("%d questions", n)
		}
		f.Refresh("unknown.test")
	})
}

// Without Run an answer is renewed by whoever comes past its TTL, who does not
// wait; one that is long past it is waited for.
func TestWithoutRunLookupsRenew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f := newFake(t)
		f.Resolver = New(Config{ResolvConf: write(t, "nameserver 192.0.2.1\n"), Hosts: write(t, ""), Exchange: f.exchange})
		defer cancel()
		f.answers(records(10, "192.0.2.10"))
		f.want(t, "a.test", "192.0.2.10", 1)
		f.answers(records(10, "192.0.2.11"))
		pass(12 * time.Second)
		if got, err := f.Lookup(ctx, "a.test"); join(got) != "192.0.2.10" || err != nil {
			t.Error(got, err)
		}
		synctest.Wait()
		f.want(t, "a.test", "192.0.2.11", 2)
		f.answers(records(10, "192.0.2.12"))
		pass(time.Hour)
		f.want(t, "a.test", "192.0.2.12", 3)
	})
}

func TestOfSeveralRunsOneWorksAndAnotherTakesOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.Resolver = New(Config{ResolvConf: write(t, "nameserver 192.0.2.1\n"), Hosts: write(t, ""), Exchange: f.exchange})
		f.answers(records(10, "192.0.2.10"))
		first, endFirst := context.WithCancel(t.Context())
		go f.Run(first)
		synctest.Wait()
		go f.Run(t.Context())
		f.want(t, "a.test", "192.0.2.10", 1)
		pass(11 * time.Second)
		f.want(t, "a.test", "192.0.2.10", 2)
		endFirst()
		pass(11 * time.Second)
		f.want(t, "a.test", "192.0.2.10", 3)
	})
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
	bubble(t, func(t *testing.T) {
		hosts := write(t, "192.0.2.20 A.test b.test # c.test\nrubbish\n2001:db8::1 a.test\n")
		f := newFake(t, write(t, "nameserver 192.0.2.1\n"), hosts)
		f.answers(rcode(dns.RcodeNameError))
		f.want(t, "a.test", "192.0.2.20 2001:db8::1", 0)
		f.want(t, "c.test", "", 1)
		os.WriteFile(hosts, []byte("192.0.2.21 a.test and.more\n"), 0o644)
		pass(hostsTTL + maxJitter)
		f.want(t, "a.test", "192.0.2.21", 1)
	})
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
