package proxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/heard"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/dns"
	eventloop "github.com/sluice-cni/sluice/proxy/loop"
	"github.com/sluice-cni/sluice/proxy/nowait"
)

// succession is a row of servers: each has the sockets of the one before, as agents have
// that follow one another, and goes on accepting when that one ends.
type succession struct {
	t        *testing.T
	sockets  []*net.TCPListener // never accepted from: what a holder has
	dst      map[uint16]string  // by the port of the proxy, where its connections were going
	snapshot *mesh.Snapshot
	limit    time.Duration // of drains
	log      heard.Text
	current  *generation
	all      sync.WaitGroup
}

// generation is one of the servers.
type generation struct {
	server *proxy.Server
	stop   context.CancelFunc
	loops  eventloop.Group // of its own, as another process's
}

func newSuccession(t *testing.T, limit time.Duration, policy mesh.OutboundPolicy, yaml string, dsts ...string) (s *succession, at []string) {
	t.Helper()
	s = &succession{t: t, dst: map[uint16]string{}, limit: limit}
	resources, issues := mesh.Decode("test.yaml", []byte(yaml), mesh.DecodeOptions{})
	snapshot, more := mesh.Build(resources, mesh.Options{Policy: policy})
	if issues.HasErrors() || more.HasErrors() {
		t.Fatal(issues, more)
	}
	s.snapshot = snapshot
	for _, dst := range dsts {
		l, err := proxy.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		s.sockets = append(s.sockets, l)
		s.dst[uint16(l.Addr().(*net.TCPAddr).Port)] = dst
		at = append(at, l.Addr().String())
	}
	s.next()
	t.Cleanup(func() {
		s.current.stop()
		s.all.Wait()
		if t.Failed() {
			t.Logf("log:\n%s", s.log.String())
		}
	})
	return s, at
}

// duplicates are other descriptors of the same sockets, as another process is sent them.
func (s *succession) duplicates() (all []*net.TCPListener) {
	for _, l := range s.sockets {
		f, err := l.File()
		if err != nil {
			s.t.Fatal(err)
		}
		dup, err := net.FileListener(f)
		f.Close()
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, dup.(*net.TCPListener))
	}
	return all
}

// next begins another server and ends the one before once that one accepts.
func (s *succession) next() {
	s.t.Helper()
	g := new(generation)
	server, err := proxy.New(proxy.Config{
		Listeners: s.duplicates(),
		OriginalDst: func(fd int, _ netip.AddrPort) (netip.AddrPort, error) {
			local, errno := nowait.LocalAddr(fd)
			if errno != 0 {
				return local, errno
			}
			return netip.MustParseAddrPort(s.dst[local.Port()]), nil
		},
		Resolver:     dns.New(dns.Config{ResolvConf: os.DevNull, Hosts: os.DevNull}),
		Log:          slog.New(slog.NewTextHandler(&s.log, nil)),
		Loops:        &g.loops,
		UnsafeRanges: []netip.Prefix{},
		DrainTimeout: s.limit,
		HandsOver:    true,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	server.Update(s.snapshot)
	ctx, stop := context.WithCancel(context.Background())
	g.server, g.stop = server, stop
	s.all.Go(func() {
		if err := server.Serve(ctx); err != nil {
			s.t.Error(err)
		}
	})
	if !await.Within(await.Patience, func() bool { return server.Ready() == nil }) {
		s.t.Fatal(server.Ready())
	}
	if s.current != nil {
		s.current.stop()
	}
	s.current = g
}

// Ten servers follow one another on the same sockets while 500 connections a second come,
// of every protocol: none is refused, reset or ended before it has its answer, and what
// goes on for longer is let alone until its server's drain is over.
func TestServersFollowOneAnotherWithoutALostConnection(t *testing.T) {
	t.Parallel()
	const handOvers, every, limit = 10, 2 * time.Millisecond, 4 * time.Second
	const underWay = 200 // at most: a slow machine has fewer visitors, not ever more
	authority := newAuthority(t)
	echo := tcpServer(t, func(c *net.TCPConn) { io.Copy(c, c) })
	greet := tcpServer(t, func(c *net.TCPConn) { io.WriteString(c, "hello\n"); io.Copy(io.Discard, c) })
	s, at := newSuccession(t, limit, mesh.AllowAny,
		static("a", "a.test", "HTTP", 80, script(t, nil))+static("b", "www.test", "TLS", 443, tlsServer(t, authority, "www.test")),
		"203.0.113.1:80", "203.0.113.1:443", echo, greet)

	web := &tls.Config{ServerName: "www.test", InsecureSkipVerify: true}
	visits := []struct {
		name  string
		at    string
		visit func(c net.Conn, pause func()) error
	}{
		{"HTTP", at[0], func(c net.Conn, pause func()) error {
			pause()
			io.WriteString(c, get("x"))
			return okFrom(bufio.NewReader(c))
		}},
		{"HTTP in two parts", at[0], func(c net.Conn, pause func()) error {
			head := get("x")
			io.WriteString(c, head[:9])
			pause()
			io.WriteString(c, head[9:])
			return okFrom(bufio.NewReader(c))
		}},
		{"HTTP with a body in chunks", at[0], func(c net.Conn, pause func()) error {
			io.WriteString(c, "POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
			pause()
			io.WriteString(c, "4\r\nbody\r\n0\r\n\r\n")
			return okFrom(bufio.NewReader(c))
		}},
		{"HTTP/2", at[0], func(c net.Conn, pause func()) error {
			pause()
			one := &http.Transport{Protocols: new(http.Protocols),
				DialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}
			one.Protocols.SetUnencryptedHTTP2(true)
			resp, err := one.RoundTrip(getRequest(t, "http://a.test/"))
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			_, err = io.ReadAll(resp.Body)
			return err
		}},
		{"TLS", at[1], func(c net.Conn, pause func()) error {
			pause()
			over := tls.Client(c, web)
			io.WriteString(over, "GET / HTTP/1.1\r\nHost: www.test\r\n\r\n")
			return okFrom(bufio.NewReader(over))
		}},
		{"TCP", at[2], func(c net.Conn, pause func()) error {
			pause()
			io.WriteString(c, "there and back\n")
			_, err := bufio.NewReader(c).ReadString('\n')
			return err
		}},
		{"a server that speaks first", at[3], func(c net.Conn, _ func()) error {
			_, err := bufio.NewReader(c).ReadString('\n')
			return err
		}},
	}

	ended := make(chan struct{})
	var visitors sync.WaitGroup
	var served, lost [16]atomic.Int64
	under := make(chan struct{}, underWay)
	visitors.Go(func() { // one every two milliseconds, whatever has become of those before
		ticks := time.NewTicker(every)
		defer ticks.Stop()
		for i := 0; ; i++ {
			select {
			case <-ticks.C:
			case <-ended:
				return
			}
			under <- struct{}{}
			v := &visits[i%len(visits)]
			visitors.Go(func() {
				defer func() { <-under }()
				began := time.Now()
				c, err := net.Dial("tcp", v.at)
				if err == nil {
					defer c.Close()
					c.SetDeadline(time.Now().Add(await.Patience))
					err = v.visit(c, func() { time.Sleep(rand.N(20 * time.Millisecond)) }) // as an application thinks
				}
				if served[i%len(visits)].Add(1); err != nil && lost[i%len(visits)].Add(1) <= 3 {
					t.Errorf("%s: %v after %v", v.name, err, time.Since(began))
				}
			})
		}
	})

	var streams sync.WaitGroup
	for range handOvers {
		long, short := newStream(t, at[2]), newStream(t, at[2])
		long.echoes("before")
		short.echoes("before")
		left := time.Now() // before its server can be told
		s.next()
		short.echoes("after")
		short.CloseWrite()
		if rest, err := io.ReadAll(short.in); err != nil || len(rest) > 0 {
			t.Errorf("a stream that ends in a drain: %q, %v", rest, err)
		}
		streams.Go(func() { // it goes on as long as it may
			for time.Since(left) < limit/2 {
				if !long.echoes("on") {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
			_, err := long.in.ReadByte()
			if took := time.Since(left); !isReset(err) || took < limit || took > limit+await.Patience/2 {
				t.Errorf("a stream that does not end: %v after %v, want a reset after %v", err, took, limit)
			}
		})
		time.Sleep(200 * time.Millisecond) // of traffic, before the next
	}
	close(ended)
	visitors.Wait()
	streams.Wait()
	for i, v := range visits {
		t.Logf("%-30s %4d connections, %d lost", v.name, served[i].Load(), lost[i].Load())
	}
}

// okFrom reads an answer of HTTP/1 to its end.
func okFrom(in *bufio.Reader) error {
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	if _, err = io.ReadAll(resp.Body); err == nil && resp.StatusCode != 200 {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return err
}

// stream is a connection of an application to a server that echoes.
type stream struct {
	*net.TCPConn
	t  *testing.T
	in *bufio.Reader
}

func newStream(t *testing.T, at string) *stream {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return &stream{c.(*net.TCPConn), t, bufio.NewReader(c)}
}

func (s *stream) echoes(word string) bool {
	s.t.Helper()
	_, err := io.WriteString(s, word+"\n")
	line, err2 := s.in.ReadString('\n')
	if err = errors.Join(err, err2); err != nil || line != word+"\n" {
		s.t.Errorf("a stream, %s a hand-over: %q, %v", word, line, err)
		return false
	}
	return true
}
