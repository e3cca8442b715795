package pods_test

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/agent/netns"
	"github.com/sluice-cni/sluice/agent/podlog"
	"github.com/sluice-cni/sluice/agent/pods"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/metrics"
	"github.com/sluice-cni/sluice/rules"
)

const (
	patience = 20 * time.Second
	server   = "203.0.113.10" // captured
	podAddr  = "10.9.0.2"
)

// stage is a pod, a server outside of it, and a Host that serves the pod.
type stage struct {
	t       *testing.T
	pod     *lab.Namespace
	outside *lab.Namespace
	id      wire.Netns
	host    *pods.Host
	holder  *fakeHolder
	drained <-chan struct{} // of the last action
	seq     uint64

	snapshot *mesh.Snapshot
	config   rules.Config
}

// fakeHolder keeps what it is given.
type fakeHolder struct {
	mu   sync.Mutex
	held map[wire.Netns]wire.Holding
	fail error
	ask  func() // called before each Hold; nil: nothing is
}

func (f *fakeHolder) Hold(_ context.Context, h wire.Holding, files []*os.File) error {
	if f.ask != nil {
		f.ask()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return f.fail
	}
	if len(files) != len(h.Sockets)+1 {
		return fmt.Errorf("%d files for %d sockets", len(files), len(h.Sockets))
	}
	f.held[h.Netns] = h
	return nil
}

func (f *fakeHolder) Keep(h wire.Holding, files []*os.File) error {
	return f.Hold(context.Background(), h, files)
}

func (f *fakeHolder) Release(n wire.Netns) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.held, n)
	return f.fail
}

const resources = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api}
spec:
  hosts: [api.example.com]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 203.0.113.10}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: echo}
spec:
  hosts: [echo.example.com]
  addresses: [203.0.113.10]
  ports: [{number: 7, name: tcp, protocol: TCP}]
  resolution: STATIC
  endpoints: [{address: 203.0.113.10}]
`

func newStage(t *testing.T) *stage {
	t.Helper()
	labtest.NeedsOtherUsers(t) // an ordinary user's process has no cgroup of its own
	t.Parallel()
	s := &stage{t: t, pod: labtest.New(t), holder: &fakeHolder{held: map[wire.Netns]wire.Holding{}}}
	outside := labtest.New(t)
	s.outside = outside
	must(t, lab.Connect(
		lab.End{In: s.pod, Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix(podAddr + "/24")}},
		lab.End{In: outside, Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24")}}))
	must(t, outside.Do(func() error { return lab.AddAddress("lo", netip.MustParsePrefix(server+"/32")) }))
	must(t, s.pod.Do(func() error {
		return lab.AddRoute("eth0", netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.9.0.1"))
	}))
	serve(t, outside)
	var err error
	s.id, err = netns.At(s.pod.FDPath())
	must(t, err)

	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "api.yaml"), []byte(resources), 0o600))
	store, err := file.Open(dir, file.Options{Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	s.snapshot = store.Snapshot()
	s.host = s.another()
	s.config = rules.Default()
	s.include("203.0.113.0/24")
	return s
}

// another is a Host beside, as an agent that takes over has.
func (s *stage) another() *pods.Host {
	common := &pods.Common{
		Shares: proxy.NewShares(proxy.Totals{}), Metrics: metrics.New("test"),
		DrainLimit: patience, Logs: podlog.New(slog.DiscardHandler),
	}
	h := pods.NewHost(common, s.holder)
	h.Snapshot(s.snapshot)
	s.t.Cleanup(h.Close)
	return h
}

// serve answers HTTP on port 80 with who asked for what, and echoes on port 7.
func serve(t *testing.T, outside *lab.Namespace) {
	t.Helper()
	l, err := outside.Listen("tcp4", server+":80")
	must(t, err)
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(w, "%s from %s", r.Host, from)
	})}
	go web.Serve(l)
	t.Cleanup(func() { web.Close() })
	echo, err := outside.Listen("tcp4", server+":7")
	must(t, err)
	t.Cleanup(func() { echo.Close() })
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// include makes the decision about the pod one that captures these ranges.
func (s *stage) include(ranges string) {
	s.t.Helper()
	_, err := s.config.Set("includeIPRanges", ranges)
	must(s.t, err)
}

func (s *stage) decision() core.Decision {
	config := s.config
	return core.Decision{Selected: true, Config: &config, Hash: config.Hash(), DNS: config.DNSCapture}
}

func (s *stage) target(f core.Files) core.Target {
	s.seq++
	return core.Target{Pod: s.id, Seq: s.seq, Files: f, Path: s.pod.FDPath()}
}

// do performs an action that must succeed.
func (s *stage) do(a core.PodAction) core.Done {
	s.t.Helper()
	done, drained := s.host.Perform(context.Background(), a)
	if done.Err != nil {
		s.t.Fatalf("%T: %v", a, done.Err)
	}
	s.drained = drained
	return done
}

// enrol captures the running pod, and has it served.
func (s *stage) enrol() core.Files {
	s.t.Helper()
	ports := core.Ports{Outbound: 15001}
	if s.config.DNSCapture {
		ports.DNS = 15053
	}
	opened := s.do(core.OpenAndHold{Target: s.target(0), Decision: s.decision(), Ports: ports})
	s.config.OutboundPort, s.config.DNSPort = opened.Ports.Outbound, cmp.Or(opened.Ports.DNS, s.config.DNSPort)
	s.do(core.Start{Target: s.target(opened.Files), Decision: s.decision()})
	s.do(core.Apply{Target: s.target(opened.Files), Decision: s.decision(), Running: true, Agents: own})
	return opened.Files
}

// ask asks for a host on the server's port 80, from inside the pod: the status, and the
// answer's body. An error is what became of the connection.
func (s *stage) ask(host string) (int, string, error) {
	s.t.Helper()
	c, err := connect(s.pod, "tcp4", server+":80")
	if err != nil {
		return 0, "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host)
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return r.StatusCode, string(body), err
}

// governed requires that policy applies to what the pod sends, and that the server sees
// the pod.
func (s *stage) governed() {
	s.t.Helper()
	if status, body, err := s.ask("api.example.com"); status != 200 || body != "api.example.com from "+podAddr {
		s.t.Errorf("a registered name: %d %q %v", status, body, err)
	}
	if status, body, err := s.ask("other.example.com"); status != 502 {
		s.t.Errorf("a name that nobody registers: %d %q %v", status, body, err)
	}
}

// resolved requires that the pod's DNS answers with what is registered.
func (s *stage) resolved(network string) {
	s.t.Helper()
	resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return connect(s.pod, network, "198.51.100.53:53") // captured, wherever it goes
	}}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if addrs, err := resolver.LookupHost(ctx, "echo.example.com"); err != nil || len(addrs) != 1 || addrs[0] != server {
		s.t.Errorf("looked up over %s: %v, %v", network, addrs, err)
	}
}

// shut does to the listeners of some roles what ss -K does.
func (s *stage) shut(roles ...string) {
	s.t.Helper()
	holding, held, ok := s.host.Kept(s.id)
	if !ok {
		s.t.Fatal("it is not held")
	}
	for i, f := range held {
		if i < len(holding.Sockets) && slices.Contains(roles, holding.Sockets[i].Role) {
			raw, err := f.SyscallConn()
			must(s.t, err)
			raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_RDWR) })
		}
		f.Close()
	}
}

// direct requires that it does not.
func (s *stage) direct() {
	s.t.Helper()
	if status, body, err := s.ask("other.example.com"); status != 200 || !strings.HasPrefix(body, "other.example.com") {
		s.t.Errorf("a pod that is not captured: %d %q %v", status, body, err)
	}
}

// echo opens a connection that lasts, and checks it at each call of what it returns.
func (s *stage) echo() (check func() error) {
	s.t.Helper()
	c, err := connect(s.pod, "tcp4", server+":7")
	must(s.t, err)
	s.t.Cleanup(func() { c.Close() })
	return func() error {
		c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Write([]byte("hello")); err != nil {
			return err
		}
		b := make([]byte, 5)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
			return errors.Join(err, fmt.Errorf("answered %q", b))
		}
		return nil
	}
}
