package dnsproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/sluice-cni/sluice/mesh"
	sluicedns "github.com/sluice-cni/sluice/proxy/dns"
)

func TestIdenticalQuestionsAreOne(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	began, release := make(chan struct{}, 8), make(chan struct{})
	r.answers(func(q *dns.Msg) (*dns.Msg, error) {
		began <- struct{}{}
		<-release
		return zone("x.test. 60 IN A 192.0.2.1")(q)
	})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if got := brief(r.ask("X.test", dns.TypeA)); got != "NOERROR x.test/A=192.0.2.1" {
				t.Error(got)
			}
		})
	}
	<-began
	close(release)
	all.Wait()
	r.ask("x.test", dns.TypeA)
	if asked := r.questions(); len(asked) != 1 {
		t.Errorf("asked %v", asked)
	}
	if m := r.ask("x.test", dns.TypeA, func(m *dns.Msg) { m.SetEdns0(1232, true) }); len(m.Answer) != 1 || len(r.questions()) != 2 {
		t.Errorf("an answer without signatures serves one who wants them: %s", m)
	}
}

// Resolvers that do not do what they should, on real sockets.
func TestFaultyResolversAreGotRound(t *testing.T) {
	t.Parallel()
	good := zone("x.test. 60 IN A 192.0.2.1")
	for what, fault := range map[string]func(w dns.ResponseWriter, q *dns.Msg){
		"silent":  func(dns.ResponseWriter, *dns.Msg) {},
		"failing": func(w dns.ResponseWriter, q *dns.Msg) { w.WriteMsg(rcode(q, dns.RcodeServerFailure)) },
		"refusing": func(w dns.ResponseWriter, q *dns.Msg) {
			w.WriteMsg(rcode(q, dns.RcodeRefused))
		},
		"wrong id": func(w dns.ResponseWriter, q *dns.Msg) {
			m := forged(q)
			m.Id++
			w.WriteMsg(m)
		},
		"wrong question": func(w dns.ResponseWriter, q *dns.Msg) {
			m := forged(q)
			m.Question[0].Name = "y.test."
			w.WriteMsg(m)
		},
		"from another source": func(w dns.ResponseWriter, q *dns.Msg) {
			b, _ := forged(q).Pack()
			if c, err := net.Dial("udp", w.RemoteAddr().String()); err == nil {
				c.Write(b)
				c.Close()
			}
		},
		"noise": func(w dns.ResponseWriter, q *dns.Msg) { w.Write([]byte{1, 2, 3}) },
		"other names' records": func(w dns.ResponseWriter, q *dns.Msg) {
			m, _ := good(q)
			m.Answer = append([]dns.RR{address("y.test", mustAddr("203.0.113.66"))}, m.Answer...)
			w.WriteMsg(m)
		},
		"virtual addresses": func(w dns.ResponseWriter, q *dns.Msg) {
			m, _ := good(q)
			m.Answer = append(m.Answer, address("x.test", mustAddr("240.240.1.1")))
			w.WriteMsg(m)
		},
		"without EDNS": func(w dns.ResponseWriter, q *dns.Msg) {
			if q.IsEdns0() != nil {
				w.WriteMsg(rcode(q, dns.RcodeFormatError))
				return
			}
			m, _ := good(q)
			w.WriteMsg(m)
		},
		"cut over UDP": func(w dns.ResponseWriter, q *dns.Msg) {
			m, _ := good(q)
			if w.LocalAddr().Network() == "udp" {
				m.Answer, m.Truncated = nil, true
			}
			w.WriteMsg(m)
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			bad := resolver(t, fault)
			second := resolver(t, func(w dns.ResponseWriter, q *dns.Msg) {
				m, _ := good(q)
				w.WriteMsg(m)
			})
			r := newRig(t, "", func(c *Config) { c.Exchange = between(bad, second) })
			if got := brief(r.ask("x.test", dns.TypeA)); got != "NOERROR x.test/A=192.0.2.1" {
				t.Error(got)
			}
		})
	}
}

func TestTheResolverThatAnsweredLastIsAskedFirst(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	bad := resolver(t, func(w dns.ResponseWriter, q *dns.Msg) {
		asked.Add(1)
		w.WriteMsg(rcode(q, dns.RcodeServerFailure))
	})
	good := resolver(t, func(w dns.ResponseWriter, q *dns.Msg) { w.WriteMsg(rcode(q, dns.RcodeNameError)) })
	r := newRig(t, "", func(c *Config) {
		if err := os.WriteFile(c.ResolvConf, []byte("nameserver 192.0.2.1\nnameserver 192.0.2.2\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c.Exchange = func(ctx context.Context, q *dns.Msg, server string) (*dns.Msg, error) {
			to := map[string]string{"192.0.2.1:53": bad, "192.0.2.2:53": good}[server]
			return sluicedns.Through(nil)(ctx, q, to)
		}
	})
	for i := range 5 {
		if got := brief(r.ask(fmt.Sprintf("x%d.test", i), dns.TypeA)); got != "NXDOMAIN" {
			t.Error(got)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the failing one was asked %d times", n)
	}
}

func TestWhereNobodyAnswersTheClientIsTold(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.answers(func(*dns.Msg) (*dns.Msg, error) { return nil, errors.New("down") })
	m := r.ask("x.test", dns.TypeA, func(m *dns.Msg) { m.SetEdns0(1232, false) })
	if m.Rcode != dns.RcodeServerFailure || !strings.Contains(m.String(), "no resolver answers") || !strings.Contains(r.log.String(), "down") {
		t.Errorf("%s\n%s", m, r.log)
	}
	before := len(r.questions())
	r.ask("x.test", dns.TypeA)
	if now := len(r.questions()); now != before {
		t.Errorf("a failure of a moment ago was tried again: %d questions, then %d", before, now)
	}
}

// quiet makes a server without sockets, for tests that turn the clock.
func quiet(t *testing.T, exchange sluicedns.Exchange) *Server {
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver 192.0.2.53\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Packets: []*net.UDPConn{nil}, ResolvConf: resolv, Exchange: exchange, Reachable: func() (bool, bool) { return true, true }})
	if err != nil {
		t.Fatal(err)
	}
	snapshot, _ := mesh.Build(nil, mesh.Options{Policy: mesh.RegistryOnly})
	s.Update(snapshot)
	return s
}

func (s *Server) look(t *testing.T, name string, qtype uint16) (string, uint32) {
	t.Helper()
	b, err := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype).Pack()
	if err != nil {
		t.Fatal(err)
	}
	q, _ := readQuery(b, "tcp", mustAddr("192.0.2.1"))
	m := s.streamed(t.Context(), q)
	ttl := uint32(0)
	for _, rr := range m.Answer {
		ttl = rr.Header().Ttl
	}
	return brief(m), ttl
}

func TestAnAnswerLivesAsLongAsItsTTLAndIsToldTheRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s := quiet(t, func(_ context.Context, q *dns.Msg, _ string) (*dns.Msg, error) {
			n++
			return zone(fmt.Sprintf("x.test. 60 IN A 192.0.2.%d", n), "zero.test. 0 IN A 192.0.2.1", "ever.test. 2147483647 IN A 192.0.2.1")(q)
		})
		want := func(name, answer string, ttl uint32, questions int) {
			t.Helper()
			if got, left := s.look(t, name, dns.TypeA); got != "NOERROR "+name+"/A="+answer || left != ttl || n != questions {
				t.Errorf("%s lives %d s more, %d questions; want %s, %d, %d", got, left, n, answer, ttl, questions)
			}
		}
		want("x.test", "192.0.2.1", 60, 1)
		time.Sleep(25 * time.Second)
		want("x.test", "192.0.2.1", 35, 1)
		time.Sleep(34 * time.Second)
		want("x.test", "192.0.2.1", 1, 1)
		time.Sleep(time.Second)
		want("x.test", "192.0.2.2", 60, 2)
		want("zero.test", "192.0.2.1", 0, 3)
		want("zero.test", "192.0.2.1", 0, 3)
		time.Sleep(time.Second)
		want("zero.test", "192.0.2.1", 0, 4)
		want("ever.test", "192.0.2.1", 3600, 5)
		time.Sleep(time.Hour)
		want("ever.test", "192.0.2.1", 3600, 6)
		s.end()
		s.lookups.Wait()
	})
}

func TestNoSuchNameIsKeptAsLongAsItsSOASays(t *testing.T) {
	t.Parallel()
	for what, tc := range map[string]struct {
		soa  string
		life time.Duration
	}{
		"the record's TTL": {"test. 20 IN SOA ns.test. h.test. 1 2 3 4 600", 20 * time.Second},
		"its minimum":      {"test. 600 IN SOA ns.test. h.test. 1 2 3 4 20", 20 * time.Second},
		"at most":          {"test. 86400 IN SOA ns.test. h.test. 1 2 3 4 86400", maxNegative},
		"without one":      {"", bareNegative},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := 0
				s := quiet(t, func(_ context.Context, q *dns.Msg, _ string) (*dns.Msg, error) {
					n++
					m := rcode(q, dns.RcodeNameError)
					if tc.soa != "" {
						rr, err := dns.NewRR(tc.soa)
						if err != nil {
							panic(err)
						}
						m.Ns = []dns.RR{rr}
					}
					return m, nil
				})
				s.look(t, "x.test", dns.TypeA)
				time.Sleep(tc.life - time.Millisecond)
				if got, _ := s.look(t, "x.test", dns.TypeA); got != "NXDOMAIN" || n != 1 {
					t.Errorf("%s after %d questions", got, n)
				}
				time.Sleep(time.Millisecond)
				if s.look(t, "x.test", dns.TypeA); n != 2 {
					t.Errorf("%d questions", n)
				}
				s.end()
				s.lookups.Wait()
			})
		})
	}
}

func TestStaleAnswersServeWhileTheResolversFail(t *testing.T) {
	t.Parallel()
	for what, failure := range map[string]func(context.Context, *dns.Msg) (*dns.Msg, error){
		"down": func(context.Context, *dns.Msg) (*dns.Msg, error) { return nil, errors.New("down") },
		"failing": func(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
			return rcode(q, dns.RcodeServerFailure), nil
		},
		"silent": func(ctx context.Context, _ *dns.Msg) (*dns.Msg, error) { <-ctx.Done(); return nil, ctx.Err() },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var healthy atomic.Bool
				healthy.Store(true)
				s := quiet(t, func(ctx context.Context, q *dns.Msg, _ string) (*dns.Msg, error) {
					if !healthy.Load() {
						return failure(ctx, q)
					}
					return zone("x.test. 60 IN A 192.0.2.1")(q)
				})
				s.look(t, "x.test", dns.TypeA)
				healthy.Store(false)
				time.Sleep(time.Hour)
				began := time.Now()
				if got, ttl := s.look(t, "x.test", dns.TypeA); got != "NOERROR x.test/A=192.0.2.1" || ttl != 30 || time.Since(began) > patienceForFresh {
					t.Errorf("%s for %d s, after %s", got, ttl, time.Since(began))
				}
				time.Sleep(patience + retryFailing)
				healthy.Store(true)
				s.look(t, "x.test", dns.TypeA)
				if got, ttl := s.look(t, "x.test", dns.TypeA); ttl != 60 {
					t.Errorf("once they answer again: %s for %d s", got, ttl)
				}
				healthy.Store(false)
				time.Sleep(staleFor + time.Minute)
				if got, _ := s.look(t, "x.test", dns.TypeA); got != "SERVFAIL" {
					t.Errorf("after a day: %s", got)
				}
				s.end()
				s.lookups.Wait()
			})
		})
	}
}

func TestNoSuchNameReplacesAnAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gone := false
		s := quiet(t, func(_ context.Context, q *dns.Msg, _ string) (*dns.Msg, error) {
			if gone {
				return rcode(q, dns.RcodeNameError), nil
			}
			return zone("x.test. 60 IN A 192.0.2.1")(q)
		})
		s.look(t, "x.test", dns.TypeA)
		gone = true
		time.Sleep(time.Minute)
		if got, _ := s.look(t, "x.test", dns.TypeA); got != "NXDOMAIN" {
			t.Error(got)
		}
		s.end()
		s.lookups.Wait()
	})
}

func TestTheCacheIsBounded(t *testing.T) {
	t.Parallel()
	const entries, bytes = 10_000, 8 << 20
	c := newCache(entries, bytes)
	now := time.Now()
	put := func(name string, size int) {
		k := key{name: name, qtype: dns.TypeA}
		c.begin(k, now)
		c.finish(k, &found{at: now, ttl: time.Hour, size: size}, nil, now)
	}
	for i := range entries + 50 {
		put(fmt.Sprintf("h%d.test", i), 100)
		c.fresh(key{name: "h0.test", qtype: dns.TypeA}, now)
	}
	if len(c.entries) != entries || c.used.Len() != entries || c.fresh(key{name: "h0.test", qtype: dns.TypeA}, now) == nil || c.fresh(key{name: "h1.test", qtype: dns.TypeA}, now) != nil {
		t.Errorf("%d entries; what is in use must stay, what is not goes", len(c.entries))
	}
	for i := range 300 {
		put(fmt.Sprintf("big%d.test", i), 60_000)
	}
	sum := 0
	for _, e := range c.entries {
		sum += e.cached
	}
	if c.bytes > bytes || sum != c.bytes {
		t.Errorf("%d bytes counted, %d kept", c.bytes, sum)
	}
	// Names that somebody makes up, all of them under way, are bounded by Limits.Asking.
	for i := range 3 * entries {
		c.begin(key{name: fmt.Sprintf("made%d.up", i), qtype: dns.TypeA}, now)
		c.finish(key{name: fmt.Sprintf("made%d.up", i), qtype: dns.TypeA}, nil, errSilent, now)
	}
	if len(c.entries) > entries {
		t.Errorf("%d entries", len(c.entries))
	}
}

func TestTheMemoryOfAnswersIsBounded(t *testing.T) {
	t.Parallel()
	const most = 4096
	g := given{most: most}
	now := time.Now()
	for i := range most + 100 {
		g.add(fmt.Sprintf("h%d.test", i), []dns.RR{address("x", mustAddr("192.0.2.1"))}, now.Add(time.Duration(i)))
	}
	if len(g.names) != most || !g.has(fmt.Sprintf("h%d.test", most+99), mustAddr("192.0.2.1"), now) || g.has("h0.test", mustAddr("192.0.2.1"), now) {
		t.Errorf("%d names", len(g.names))
	}
	for i := range 200 {
		g.add("h500.test", []dns.RR{address("x", mustAddr(fmt.Sprintf("10.0.0.%d", i)))}, now.Add(time.Duration(i)))
	}
	if n := len(g.names["h500.test"]); n != givenEach || !g.has("h500.test", mustAddr("10.0.0.199"), now) {
		t.Errorf("%d addresses", n)
	}
	after := now.Add(answerTTL*time.Second + givenGrace + time.Second)
	if g.has("h600.test", mustAddr("192.0.2.1"), after) {
		t.Error("an answer is remembered for ever")
	}
}

// forged answers x.test as an attacker would.
func forged(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.Answer = []dns.RR{address("x.test", mustAddr("203.0.113.66"))}
	return m
}

// resolver runs a DNS server, UDP and TCP on one port, until the test ends.
func resolver(t *testing.T, f dns.HandlerFunc) (address string) {
	t.Helper()
	for range 20 {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", packets.LocalAddr().String())
		if err != nil {
			packets.Close()
			continue
		}
		for _, s := range []*dns.Server{{PacketConn: packets, Handler: f}, {Listener: l, Handler: f}} {
			started := make(chan struct{})
			s.NotifyStartedFunc = func() { close(started) }
			go s.ActivateAndServe()
			<-started
			t.Cleanup(func() { s.Shutdown() })
		}
		return packets.LocalAddr().String()
	}
	t.Fatal("no port is free for UDP and TCP")
	return ""
}

// between asks the first resolver, and the second when that gave nothing.
func between(servers ...string) sluicedns.Exchange {
	through := sluicedns.Through(nil)
	return func(ctx context.Context, q *dns.Msg, _ string) (*dns.Msg, error) {
		var errs []error
		for i, server := range servers {
			try, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
			m, err := through(try, q, server)
			cancel()
			if err == nil && (m.Rcode != dns.RcodeServerFailure && m.Rcode != dns.RcodeRefused || i == len(servers)-1) {
				return m, nil
			}
			errs = append(errs, err)
		}
		return nil, errors.Join(errs...)
	}
}

func FuzzQuery(f *testing.F) {
	for _, m := range []*dns.Msg{
		new(dns.Msg).SetQuestion("api.example.com.default.svc.cluster.local.", dns.TypeA),
		new(dns.Msg).SetQuestion("4.3.240.240.in-addr.arpa.", dns.TypePTR),
		new(dns.Msg).SetQuestion("a.db.", dns.TypeHTTPS).SetEdns0(1232, true),
		new(dns.Msg).SetQuestion(`x\.y\000.wild.test.`, dns.TypeTXT),
	} {
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	r := newRig(f, tcp("a", "a.db")+tcp("b", "api.example.com")+http("w", "*.wild.test", "NONE"), func(c *Config) { c.Policy = RegistryOnly })
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, transport := range []string{"udp", "tcp"} {
			q, complaint := readQuery(b, transport, mustAddr("192.0.2.1"))
			if q == nil {
				if complaint != nil {
					if _, err := complaint.Pack(); err != nil {
						t.Fatalf("the complaint cannot be sent: %v", err)
					}
				}
				continue
			}
			m := r.server.atOnce(q)
			if m == nil {
				continue
			}
			out, err := q.pack(m)
			if err != nil || len(out) < headerLength || out[0] != b[0] || out[1] != b[1] || out[2]&0x80 == 0 {
				t.Fatalf("% x, %v", out, err)
			}
			if transport == "udp" && len(out) > mostSize {
				t.Fatalf("%d bytes", len(out))
			}
		}
	})
}

// What a resolver sends, whatever it is, becomes an answer that can be sent and
// holds nothing but what was asked for.
func FuzzAnswer(f *testing.F) {
	q := new(dns.Msg).SetQuestion("x.test.", dns.TypeA)
	for _, lines := range [][]string{{"x.test. 60 IN CNAME y.test.", "y.test. 60 IN A 192.0.2.1"}, {"x.test. 60 IN CNAME x.test."}, {"x.test. 60 IN A 240.240.1.1"}} {
		m, err := zone(lines...)(q)
		if err != nil {
			f.Fatal(err)
		}
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := new(dns.Msg)
		if m.Unpack(b) != nil {
			return
		}
		now := time.Now()
		found := sift(m, key{name: "x.test", qtype: dns.TypeA}, now)
		for _, rr := range found.answer {
			if !slices.Contains([]uint16{dns.TypeA, dns.TypeCNAME}, rr.Header().Rrtype) || isVirtual(rr) {
				t.Fatalf("kept %s", rr)
			}
		}
		if found.ttl < minTTL || found.ttl > maxTTL || found.size <= 0 {
			t.Fatalf("%+v", found)
		}
		raw, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		asked, _ := readQuery(raw, "udp", mustAddr("192.0.2.1"))
		reply := found.reply(asked, verdict{target: asked.name}, now.Add(time.Minute))
		if out, err := asked.pack(reply); err == nil && len(out) > plainSize {
			t.Fatalf("%d bytes", len(out))
		}
	})
}
