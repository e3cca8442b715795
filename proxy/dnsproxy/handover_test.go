package dnsproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/heard"
	"github.com/sluice-cni/sluice/mesh"
	sluicedns "github.com/sluice-cni/sluice/proxy/dns"
)

// succession is a row of servers on the same sockets, as agents have that follow one
// another.
type succession struct {
	*rig
	packets *net.UDPConn
	streams *net.TCPListener
	stop    context.CancelFunc
	ended   chan error
	servers sync.WaitGroup
}

func newSuccession(t *testing.T, yaml string) *succession {
	t.Helper()
	s := &succession{rig: &rig{t: t, log: &heard.Text{}}}
	var err error
	s.packets, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	s.streams, err = net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	s.udp, s.tcp = s.packets.LocalAddr().String(), s.streams.Addr().String()
	s.next(yaml)
	t.Cleanup(func() {
		s.stop()
		s.servers.Wait()
		s.packets.Close()
		s.streams.Close()
		if t.Failed() {
			t.Log(s.log)
		}
	})
	return s
}

// next begins another server and ends the one before.
func (s *succession) next(yaml string) {
	s.t.Helper()
	packets, err := s.packets.File()
	must(s.t, err)
	streams, err := s.streams.File()
	must(s.t, err)
	packet, err := net.FilePacketConn(packets)
	must(s.t, err)
	stream, err := net.FileListener(streams)
	must(s.t, err)
	packets.Close()
	streams.Close()
	server, err := New(Config{
		Packets: []*net.UDPConn{packet.(*net.UDPConn)}, Streams: []*net.TCPListener{stream.(*net.TCPListener)},
		Resolvers: sluicedns.FixedResolvConf([]string{"192.0.2.53"}, nil, nil), Exchange: s.exchange,
		Reachable: func() (bool, bool) { return true, true }, Log: slog.New(slog.NewTextHandler(s.log, nil)),
	})
	must(s.t, err)
	server.Update(s.snapshot(mesh.AllowAny, yaml))
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	s.servers.Go(func() {
		err := server.Serve(ctx)
		if err != nil {
			s.t.Error(err)
		}
		ended <- err
	})
	if s.stop != nil {
		s.stop()
	}
	s.stop, s.ended = stop, ended
}

// Ten servers follow one another while 500 queries a second come: none is lost, whatever
// its way and however long its answer takes.
func TestServersFollowOneAnotherWithoutALostQuery(t *testing.T) {
	t.Parallel()
	yaml := tcp("a", "a.db")
	s := newSuccession(t, yaml)
	s.answers(func(q *dns.Msg) (*dns.Msg, error) { // a name of its own for each query, so that each is asked for
		time.Sleep(50 * time.Millisecond)
		return zone(q.Question[0].Name + " 60 IN A 192.0.2.7")(q)
	})
	var asked, lost atomic.Int64
	ask := func(c *dns.Conn, name, want string) {
		q := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
		c.SetDeadline(time.Now().Add(await.Patience))
		err := c.WriteMsg(q)
		var m *dns.Msg
		if err == nil {
			m, err = c.ReadMsg()
		}
		if err == nil && brief(m) != "NOERROR "+name+"/A="+want {
			err = errors.New(brief(m))
		}
		if asked.Add(1); err != nil && lost.Add(1) <= 5 {
			t.Errorf("%s over %s: %v", name, c.RemoteAddr().Network(), err)
		}
	}
	registered := s.v4("a.db")
	ended := make(chan struct{})
	var clients sync.WaitGroup
	under := make(chan struct{}, 200) // at most: a slow machine has fewer clients, not ever more
	clients.Go(func() {
		ticks := time.NewTicker(2 * time.Millisecond)
		defer ticks.Stop()
		for i := 0; ; i++ {
			select {
			case <-ticks.C:
			case <-ended:
				return
			}
			under <- struct{}{}
			clients.Go(func() {
				defer func() { <-under }()
				network, to := "udp", s.udp
				if i%3 == 0 {
					network, to = "tcp", s.tcp
				}
				c, err := dns.Dial(network, to)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				if i%2 == 0 {
					ask(c, "a.db", registered)
				}
				ask(c, fmt.Sprintf("h%d.test", i), "192.0.2.7")
			})
		}
	})
	for range 10 {
		time.Sleep(200 * time.Millisecond) // of traffic
		s.next(yaml)
	}
	close(ended)
	clients.Wait()
	t.Logf("%d queries, %d lost", asked.Load(), lost.Load())
}

// A server that ends answers what it has received, waits for who has just connected, and
// not for who could ask again.
func TestTheEndOfAServerAnswersWhatItHasReceived(t *testing.T) {
	t.Parallel()
	yaml := tcp("a", "a.db")
	s := newSuccession(t, yaml)
	arrived, release := make(chan struct{}, 2), make(chan struct{})
	s.answers(func(q *dns.Msg) (*dns.Msg, error) {
		arrived <- struct{}{}
		<-release
		return zone(q.Question[0].Name + " 60 IN A 192.0.2.7")(q)
	})
	dial := func(network, to string) *dns.Conn {
		c, err := dns.Dial(network, to)
		must(t, err)
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(await.Patience))
		return c
	}
	ask := func(c *dns.Conn, name string) {
		must(t, c.WriteMsg(new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)))
	}
	answered := func(c *dns.Conn, name, want string) {
		t.Helper()
		if m, err := c.ReadMsg(); err != nil || brief(m) != "NOERROR "+name+"/A="+want {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	first := s.ended
	udp, tcp, idle, silent := dial("udp", s.udp), dial("tcp", s.tcp), dial("tcp", s.tcp), dial("tcp", s.tcp)
	ask(idle, "a.db")
	answered(idle, "a.db", s.v4("a.db")) // so silent, which came before, is accepted
	ask(udp, "one.test")
	ask(tcp, "two.test")
	<-arrived
	<-arrived
	s.stop()
	begun := time.Now()
	if _, err := idle.ReadMsg(); !errors.Is(err, io.EOF) || time.Since(begun) > 3*time.Second {
		t.Errorf("a connection that was answered: %v after %v", err, time.Since(begun))
	}
	close(release)
	answered(udp, "one.test", "192.0.2.7")
	answered(tcp, "two.test", "192.0.2.7")
	ask(silent, "a.db")
	answered(silent, "a.db", s.v4("a.db"))
	if err := <-first; err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 4*time.Second {
		t.Errorf("Serve took %v; nothing was left to wait for", took)
	}
}

// One whose resolvers say nothing ends nevertheless, and sooner where it is cut.
func TestNoQueryHoldsTheEndUp(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		limit time.Duration
		cut   bool
	}{"the limit": {100 * time.Millisecond, false}, "cut": {time.Hour, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			arrived := make(chan struct{}, 1)
			conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			must(t, err)
			server, err := New(Config{Packets: []*net.UDPConn{conn}, ResolvConf: os.DevNull, DrainTimeout: tc.limit,
				Exchange: func(ctx context.Context, _ *dns.Msg, _ string) (*dns.Msg, error) {
					arrived <- struct{}{}
					<-ctx.Done()
					return nil, ctx.Err()
				}})
			must(t, err)
			server.Update((&rig{t: t}).snapshot(mesh.AllowAny, ""))
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- server.Serve(ctx) }()
			c, err := dns.Dial("udp", conn.LocalAddr().String())
			must(t, err)
			defer c.Close()
			must(t, c.WriteMsg(new(dns.Msg).SetQuestion("x.test.", dns.TypeA)))
			<-arrived
			begun := time.Now()
			if stop(); tc.cut {
				server.Cut()
			}
			if err := <-ended; err != nil || time.Since(begun) > 3*time.Second {
				t.Errorf("%v after %v", err, time.Since(begun))
			}
		})
	}
}
