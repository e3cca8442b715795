package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/crowd"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/credential"
	"github.com/sluice-cni/sluice/proxy/dns"
	"github.com/sluice-cni/sluice/proxy/dnsproxy"
	"github.com/sluice-cni/sluice/proxy/metrics"
	"github.com/sluice-cni/sluice/proxy/relay"
)

// node is what a node's agent has: many Servers in one process, which share what can be
// shared.
type node struct {
	tb      testing.TB
	servers []*proxy.Server
	addrs   []string
	common  proxy.Config
	shares  *proxy.Shares
	metrics *metrics.Metrics
	store   *file.Store

	ctx     context.Context
	stop    context.CancelFunc
	end     func()
	running sync.WaitGroup
}

// newNode begins with no Servers and about a hundred resources.
func newNode(tb testing.TB, totals proxy.Totals) *node {
	dir := tb.TempDir()
	if err := crowd.Write(dir, 33, crowd.Realistic); err != nil {
		tb.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "done") }))
	server.Config.SetKeepAlivesEnabled(false) // nothing of it is to stay
	server.Start()
	tb.Cleanup(server.Close)
	used := static("used", "used.test", "HTTP", 80, server.Listener.Addr().String())
	if err := os.WriteFile(filepath.Join(dir, "used.yaml"), []byte(used), 0o644); err != nil {
		tb.Fatal(err)
	}
	store, err := file.Open(dir, file.Options{Log: quiet})
	if err != nil {
		tb.Fatal(err)
	}
	n := &node{tb: tb, store: store, shares: proxy.NewShares(totals), metrics: metrics.New("test")}
	n.ctx, n.stop = context.WithCancel(context.Background())
	logs := proxy.NewAccessLog(io.Discard, proxy.AccessLogJSON, quiet)
	resolv := filepath.Join(tb.TempDir(), "resolv.conf")
	os.WriteFile(resolv, []byte("nameserver 192.0.2.53\n"), 0o644)
	engine := relay.New(relay.Config{})
	n.common = proxy.Config{
		Resolver: dns.New(dns.Config{ResolvConf: resolv, Hosts: os.DevNull}), Relay: engine, AccessLogs: logs,
		Credentials: credential.NewStore(nil, quiet), Log: quiet, DrainTimeout: time.Second, UnsafeRanges: []netip.Prefix{},
		OriginalDst: func(int, netip.AddrPort) (netip.AddrPort, error) {
			return netip.MustParseAddrPort("203.0.113.1:80"), nil
		},
	}
	logged, endLog := context.WithCancel(context.Background())
	var logging sync.WaitGroup
	logging.Go(func() { logs.Run(logged) })
	n.end = sync.OnceFunc(func() {
		n.stop()
		n.running.Wait()
		engine.Close()
		endLog()
		logging.Wait()
	})
	tb.Cleanup(n.end)
	return n
}

// add starts so many more Servers, each with two listeners.
func (n *node) add(count int, change ...func(*proxy.Config)) {
	for range count {
		i := len(n.servers)
		cfg := n.common
		share := n.shares.Join()
		cfg.Limits.Share = share
		cfg.Workload = mesh.Workload{Namespace: fmt.Sprint("team-", i%20), Name: fmt.Sprint("app-", i/2), Pod: fmt.Sprint("app-", i)}
		cfg.Observer = n.metrics.Workload(cfg.Workload)
		var addr string
		for range 2 {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				n.tb.Fatal(err)
			}
			cfg.Listeners = append(cfg.Listeners, l.(*net.TCPListener))
			addr = l.Addr().String()
		}
		for _, f := range change {
			f(&cfg)
		}
		s, err := proxy.New(cfg)
		if err != nil {
			n.tb.Fatal(err)
		}
		n.store.Subscribe(s.Update)
		n.servers, n.addrs = append(n.servers, s), append(n.addrs, addr)
		n.running.Go(func() {
			if err := s.Serve(n.ctx); err != nil {
				n.tb.Error(err)
			}
			share.Leave()
		})
	}
	for _, s := range n.servers {
		for s.Ready() != nil {
			runtime.Gosched()
		}
	}
}

// names has each Server answer DNS too, as pods with dnsCapture have it.
func (n *node) names(cfg *proxy.Config) {
	own := dnsproxy.Config{Workload: cfg.Workload, Limits: dnsproxy.LimitsOfOneOfMany(), Log: n.common.Log,
		Resolvers: dns.FixedResolvConf([]string{"192.0.2.53"}, nil, nil), Reachable: func() (bool, bool) { return true, false }}
	for range 2 {
		packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			n.tb.Fatal(err)
		}
		streams, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			n.tb.Fatal(err)
		}
		own.Packets, own.Streams = append(own.Packets, packets.(*net.UDPConn)), append(own.Streams, streams.(*net.TCPListener))
	}
	s, err := dnsproxy.New(own)
	if err != nil {
		n.tb.Fatal(err)
	}
	cfg.Answers = s
	n.store.Subscribe(s.Update)
	n.running.Go(func() {
		if err := s.Serve(n.ctx); err != nil {
			n.tb.Error(err)
		}
	})
}

// use has each Server carry a few requests at a time.
func (n *node) use() {
	const request = "GET / HTTP/1.1\r\nHost: used.test\r\n\r\n"
	for _, addr := range n.addrs {
		var all []net.Conn
		for range 10 {
			c, err := net.Dial("tcp4", addr)
			if err != nil {
				n.tb.Fatal(err)
			}
			io.WriteString(c, request)
			all = append(all, c)
		}
		for _, c := range all {
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || resp.StatusCode != 200 {
				n.tb.Fatal(resp, err)
			}
			c.Close()
		}
	}
}

// footprint is what the process takes.
type footprint struct {
	rss, heap  int64 // bytes: anonymous, and what is live
	goroutines int
}

func measured(tb testing.TB) (f footprint) {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f.heap, f.goroutines = int64(m.HeapAlloc), runtime.NumGoroutine()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if field := strings.Fields(line); field[0] == "RssAnon:" {
			kib, _ := strconv.Atoi(field[1])
			f.rss = int64(kib) << 10
		}
	}
	return f
}

// busy is the processor's time that the process takes, and how often it is woken, in a
// while in which nothing is asked of it.
func busy(tb testing.TB, while time.Duration) (cpu time.Duration, wakeups int64) {
	before, woken := spent(tb)
	time.Sleep(while)
	after, again := spent(tb)
	return after - before, again - woken
}

func spent(tb testing.TB) (time.Duration, int64) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), u.Nvcsw
}

// BenchmarkFiveHundredServers is what a Server costs a process that has five hundred, with
// two listeners each and a hundred resources, when nothing is asked of them: bytes,
// goroutines, processor. It fails when a bar is missed.
func BenchmarkFiveHundredServers(b *testing.B) {
	const (
		count  = 500
		bar    = 146 << 10 // bytes of memory each, with all that a pod needs besides
		window = 20 * time.Second
	)
	for name, kind := range map[string]struct{ dns, used bool }{
		"never used": {}, "with DNS": {dns: true}, "with DNS, and used": {true, true},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				n := newNode(b, proxy.Totals{})
				var change []func(*proxy.Config)
				if kind.dns {
					change = append(change, n.names)
				}
				n.add(1, change...)
				before := measured(b)
				n.add(count, change...)
				if kind.used {
					n.use()
				}
				after := measured(b)
				cpu, wakeups := busy(b, window)
				rss := (after.rss - before.rss) / count
				b.ReportMetric(float64(rss), "RSS-B/server")
				b.ReportMetric(float64(after.heap-before.heap)/count, "heap-B/server")
				b.ReportMetric(float64(after.goroutines-before.goroutines)/count, "goroutines/server")
				b.ReportMetric(float64(wakeups)/window.Seconds(), "wakeups/s")
				b.ReportMetric(100*cpu.Seconds()/window.Seconds(), "%core")
				if rss > bar {
					b.Errorf("%d bytes a server, over %d", rss, bar)
				}
				if cpu > window/100 {
					b.Errorf("%v of %v with nothing to do, over 1 %%", cpu, window)
				}
				n.end()
			}
		})
	}
}
