package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/agent/netns"
	"github.com/sluice-cni/sluice/agent/podlog"
	"github.com/sluice-cni/sluice/agent/pods"
	"github.com/sluice-cni/sluice/cidr/discover/rangesfile"
	nodeholder "github.com/sluice-cni/sluice/holder"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/heard"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/metrics"
	"github.com/sluice-cni/sluice/selection"
)

const (
	patience = 30 * time.Second
	server   = "203.0.113.10"
	captured = "203.0.113.0/24"
)

// node has a holder, agents, and pods that somebody knows by name. One at a time: an
// agent looks through the whole world.
type node struct {
	t        *testing.T
	dir      string
	snapshot *mesh.Snapshot
	log      *slog.Logger
	agents   int

	mu    sync.Mutex
	known []Found
	newer map[string]selection.Pod // Kubernetes' word, by the pod's name
	alone []string                 // meshes that pods were left to
}

type pod struct {
	n    *node
	name string
	path string
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

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newNode(t *testing.T) *node {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not run: needs root (a world of its own)")
	}
	n := &node{t: t, dir: t.TempDir()}
	var said heard.Text
	n.log = slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(said.String())
		}
	})
	resourcesDir := filepath.Join(n.dir, "resources")
	must(t, os.Mkdir(resourcesDir, 0o700))
	must(t, os.WriteFile(filepath.Join(resourcesDir, "api.yaml"), []byte(resources), 0o600))
	store, err := file.Open(resourcesDir, file.Options{Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	n.snapshot = store.Snapshot()
	n.ranges(captured)
	return n
}

func (n *node) ranges(all ...string) {
	n.t.Helper()
	must(n.t, rangesfile.Write(filepath.Join(n.dir, "ranges.json"), rangesfile.File{Written: time.Now(), Ranges: all}))
}

type runningHolder struct {
	n      *node
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // once it has ended
}

// startHolder runs a holder until stop, or the test's end.
func (n *node) startHolder() *runningHolder {
	ctx, cancel := context.WithCancel(context.Background())
	h := &runningHolder{n: n, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(h.ended)
		h.err = nodeholder.Run(ctx, nodeholder.Options{RunDir: n.dir, Build: "test", Log: n.log})
	}()
	n.t.Cleanup(h.stop)
	return h
}

func (h *runningHolder) stop() {
	h.cancel()
	<-h.ended
	if h.err != nil && !errors.Is(h.err, nodeholder.ErrSucceeded) {
		h.n.t.Error("the holder: ", h.err)
	}
}

// succeeded waits until another holder has everything that this one had.
func (h *runningHolder) succeeded() {
	h.n.t.Helper()
	select {
	case <-h.ended:
	case <-time.After(patience):
	}
	h.stop()
	if !errors.Is(h.err, nodeholder.ErrSucceeded) {
		h.n.t.Fatal("the holder was not succeeded")
	}
}

// source is a policy that a test changes.
type source chan *selection.Policy

func (s source) Run(ctx context.Context, update func(*selection.Policy)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case p := <-s:
			update(p)
		}
	}
}

// Pods are those that the node knows by name.
func (n *node) Pods(context.Context) ([]Found, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.known), nil
}

func (n *node) newest(p selection.Pod) (selection.Pod, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	newer, told := n.newer[p.Name]
	return newer, told
}

// tells has Kubernetes say another thing of a pod than the runtime does.
func (n *node) tells(p selection.Pod) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.newer == nil {
		n.newer = map[string]selection.Pod{}
	}
	n.newer[p.Name] = p
}

func (n *node) note(news core.News) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if news.LeftAlone != "" {
		n.alone = append(n.alone, news.Name.Name+" "+news.LeftAlone)
	}
}

func (n *node) leftAlone() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.alone)
}

type runningAgent struct {
	*Agent
	n      *node
	policy source
	stop   context.CancelFunc // SIGTERM
	ended  chan struct{}
}

func (n *node) startAgent() *runningAgent {
	n.agents++
	entry, err := selection.ReadConf(map[string]json.RawMessage{
		selection.KeyAgentSocket: json.RawMessage(`"/run/sluice/holder.sock"`),
		selection.KeyPolicyFile:  json.RawMessage(`"/var/lib/sluice/policy.json"`),
		"includeIPRanges":        json.RawMessage(`"auto"`),
	})
	must(n.t, err)
	r := &runningAgent{n: n, policy: make(source), ended: make(chan struct{})}
	// Agents of one process have one cgroup. What tells them apart for the holder is an
	// id beside it that nobody has.
	agents := wire.Agents{Levels: own.Levels, IDs: append(slices.Clone(own.IDs), uint64(1<<60+n.agents))}
	slices.Sort(agents.IDs)
	r.Agent = New(Config{
		Holder: filepath.Join(n.dir, nodeholder.SocketName), Build: "test", Agents: agents, Cgroup: ownCgroup,
		Common: &pods.Common{
			Shares: proxy.NewShares(proxy.Totals{}), Metrics: metrics.New("test"), DrainLimit: patience, Logs: podlog.New(n.log.Handler()),
		},
		Entry: entry, Policy: r.policy, PolicyFile: filepath.Join(n.dir, "policy.json"), RangesFile: filepath.Join(n.dir, "ranges.json"),
		Facts: []Facts{n}, Known: n.newest, News: n.note, DrainLimit: patience, Log: n.log.With("agent", n.agents),
	})
	r.Follow(n.snapshot)
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() {
		defer close(r.ended)
		if err := r.Run(ctx); err != nil {
			n.t.Error("agent: ", err)
		}
	}()
	n.t.Cleanup(func() { cancel(); r.wait() })
	return r
}

func (r *runningAgent) wait() {
	r.n.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(2 * patience):
		r.n.t.Error("the agent does not end")
	}
}

// selects has the policy select these namespaces and no other.
func (r *runningAgent) selects(namespaces ...string) {
	yes := true
	p := &selection.Policy{Generation: 1, Selection: "annotated", Namespaces: map[string]selection.NamespacePolicy{}}
	for _, name := range namespaces {
		p.Namespaces[name] = selection.NamespacePolicy{Select: &yes}
	}
	r.policy <- p
}

// state waits until a pod is in a state.
func (r *runningAgent) state(p *pod, want string) {
	r.n.t.Helper()
	last := PodStatus{}
	await.Silence(r.n.t, func() string {
		s, err := r.Status(context.Background())
		must(r.n.t, err)
		for _, one := range s.Pods {
			if one.Path == p.path {
				last = one
			}
		}
		if last.State == want {
			return ""
		}
		return fmt.Sprintf("pod %s is %s, not %s: %+v", p.name, last.State, want, last)
	})
}

// pod is one that runs, with a server outside.
func (n *node) pod(namespace, name string) *pod {
	t := n.t
	t.Helper()
	p := &pod{n: n, name: namespace + "/" + name, path: "/run/netns/" + namespace + "-" + name}
	inside, err := lab.NewAt(p.path)
	must(t, err)
	outside, err := lab.New()
	must(t, err)
	t.Cleanup(func() { outside.Close(); inside.Close() })
	must(t, lab.Connect(
		lab.End{In: inside, Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24")}},
		lab.End{In: outside, Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24")}}))
	must(t, outside.Do(func() error { return lab.AddAddress("lo", netip.MustParsePrefix(server+"/32")) }))
	must(t, inside.Do(func() error {
		return lab.AddRoute("eth0", netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.9.0.1"))
	}))
	web, err := outside.Listen("tcp4", server+":80")
	must(t, err)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) })}
	go s.Serve(web)
	t.Cleanup(func() { s.Close() })
	echo, err := outside.Listen("tcp4", server+":7")
	must(t, err)
	t.Cleanup(func() { echo.Close() })
	go echoes(echo)
	datagrams, err := outside.ListenPacket("udp4", server+":9")
	must(t, err)
	t.Cleanup(func() { datagrams.Close() })
	go echoesDatagrams(datagrams)
	id, err := netns.At(p.path)
	must(t, err)
	n.mu.Lock()
	n.known = append(n.known, Found{Netns: id, Path: p.path, Pod: selection.Pod{Namespace: namespace, Name: name, Labels: map[string]string{"app": name}}})
	n.mu.Unlock()
	return p
}

func echoes(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() { io.Copy(c, c); c.Close() }()
	}
}

func echoesDatagrams(c net.PacketConn) {
	b := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		c.WriteTo(b[:n], from)
	}
}

// ask asks the server for a host.
func (p *pod) ask(host string) outcome {
	p.n.t.Helper()
	return application(p.n.t, wish{Path: p.path, Get: host, Address: server + ":80"})
}

func (p *pod) governed() {
	p.n.t.Helper()
	if o := p.ask("api.example.com"); o != (outcome{Status: 200, Body: "api.example.com"}) {
		p.n.t.Errorf("pod %s: a registered name: %+v", p.name, o)
	}
	if o := p.ask("other.example.com"); o.Status != 502 || o.Err != "" {
		p.n.t.Errorf("pod %s: a name that nobody registers: %+v", p.name, o)
	}
}

func (p *pod) direct() bool { return p.ask("other.example.com").Status == 200 }

// datagram is a word that comes back, or what becomes of it.
func (p *pod) datagram() outcome {
	return application(p.n.t, wish{Path: p.path, Send: "hello", Address: server + ":9"})
}

// stream opens a connection that stays until the returned hang up; say uses it.
func (p *pod) stream(name string) (say func(), hangUp func()) {
	t := p.n.t
	t.Helper()
	do := func(w wish) {
		t.Helper()
		if o := application(t, w); o.Err != "" {
			t.Errorf("pod %s: a connection that stays: %+v: %s", p.name, w, o.Err)
		}
	}
	do(wish{Path: p.path, Open: name, Address: server + ":7"})
	return func() { t.Helper(); do(wish{Say: name}) }, func() { t.Helper(); do(wish{Close: name}) }
}

// A pod's whole life with an agent, without a restart of the pod or a broken connection.
func TestAPodThatRunsIsEnrolledFollowedAndLetGo(t *testing.T) {
	n := newNode(t)
	n.startHolder()
	web, db := n.pod("shop", "web"), n.pod("other", "db")
	a := n.startAgent()
	before, endBefore := web.stream("before")
	a.selects("shop")
	a.state(web, "enrolled")
	web.governed()
	if !db.direct() {
		t.Error("a pod that nobody selects is governed")
	}
	before()
	during, endDuring := web.stream("during")

	n.ranges("198.51.100.0/24")
	await.True(t, "the pod, whose addresses are not among the ranges, is let pass", web.direct)
	during()
	n.ranges(captured)
	await.True(t, "a range that came is captured", func() bool { return !web.direct() })
	web.governed()

	a.selects()
	a.state(web, "leaving")
	await.True(t, "a pod that is not selected any more is let go", web.direct)
	before()
	during()
	endDuring()
	a.state(web, "untouched")
	before()
	endBefore()

	a.selects("shop")
	a.state(web, "enrolled")
	web.governed()
	leave(t, a)
	if !web.direct() {
		t.Error("governed, after everything was let go")
	}
	a.stop()
	a.wait()
}

// leave asks for what uninstalling does.
func leave(t *testing.T, a *runningAgent) {
	t.Helper()
	s := httptest.NewServer(a.Handler(http.NotFoundHandler()))
	defer s.Close()
	r, err := http.Post(s.URL+LeavePath, "", nil)
	must(t, err)
	defer r.Body.Close()
	var last Leaving
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		must(t, json.Unmarshal(lines.Bytes(), &last))
	}
	if !last.Done || last.Pods != 0 {
		t.Errorf("left: %+v", last)
	}
}

// Agents and holders follow one another while the pod connects without a pause.
func TestAgentsAndHoldersFollowOneAnotherUnnoticed(t *testing.T) {
	n := newNode(t)
	old := n.startHolder()
	web := n.pod("shop", "web")
	a := n.startAgent()
	a.selects("shop")
	a.state(web, "enrolled")
	say, hangUp := web.stream("long")

	ctx, cancel := context.WithCancel(context.Background())
	var load sync.WaitGroup
	asked := 0
	var wrong []string
	load.Go(func() {
		for ctx.Err() == nil {
			asked++
			if o := web.ask("api.example.com"); o.Status != 200 {
				wrong = append(wrong, fmt.Sprintf("%+v", o))
			}
		}
	})
	for range 3 {
		next := n.startAgent()
		next.selects("shop")
		await.True(t, "the new agent takes over", a.retired.Load)
		next.state(web, "enrolled")
		say()
		a = next
	}
	// A planned change of holders: the new one asks the old one for everything.
	n.startHolder()
	old.succeeded()
	await.True(t, "the agent is ready with another holder", func() bool { return a.Ready() == nil })
	cancel()
	load.Wait()
	if len(wrong) > 0 || asked < 10 {
		t.Errorf("%d of %d: %s", len(wrong), asked, strings.Join(wrong[:min(len(wrong), 5)], "; "))
	}
	say()
	hangUp()
	web.governed()
}

// An agent that is told to end lets connections wait for the next one.
func TestConnectionsWaitBetweenTwoAgents(t *testing.T) {
	n := newNode(t)
	n.startHolder()
	web := n.pod("shop", "web")
	a := n.startAgent()
	a.selects("shop")
	a.state(web, "enrolled")
	a.stop()
	a.wait()
	answer := make(chan outcome, 1)
	go func() { answer <- web.ask("api.example.com") }()
	b := n.startAgent()
	b.selects("shop")
	if o := <-answer; o.Status != 200 {
		t.Errorf("a connection from between: %+v", o)
	}
	b.state(web, "enrolled")
	web.governed()
}

// A pod is labelled, gets a sidecar, is observed: each is Kubernetes' word of one that
// runs, and reaches it by a nudge.
func TestKubernetesWordReachesARunningPod(t *testing.T) {
	n := newNode(t)
	n.startHolder()
	web := n.pod("shop", "web")
	a := n.startAgent()
	a.selects()
	a.state(web, "untouched")
	said := selection.Pod{Namespace: "shop", Name: "web", Labels: map[string]string{"app": "web", "sluice.dev/inject": "true"}}
	begun := time.Now()
	n.tells(said)
	a.Nudge()
	a.state(web, "enrolled")
	if took := time.Since(begun); took > sweepEvery/2 {
		t.Errorf("it took %v: that was not the nudge", took)
	}
	web.governed()
	if o := web.datagram(); o.Err == "" {
		t.Errorf("a datagram of a governed pod: %+v", o)
	}

	observe := &selection.Policy{Generation: 2, Selection: "annotated", Namespaces: map[string]selection.NamespacePolicy{"shop": {OutboundPolicy: selection.Observe}}}
	a.policy <- observe
	await.True(t, "what nobody registers passes under Observe", web.direct)
	await.True(t, "what cannot be written down passes too", func() bool { return web.datagram().Body == "hello" })
	a.state(web, "enrolled")
	a.selects()
	await.True(t, "what nobody registers is refused once Observe has ended", func() bool { return !web.direct() })
	await.True(t, "a datagram too", func() bool { return web.datagram().Err != "" })

	said.Sidecar = "Istio"
	n.tells(said)
	a.Nudge()
	a.state(web, "untouched")
	if !web.direct() {
		t.Error("a pod with another mesh's sidecar is governed")
	}
	await.True(t, "the news name the pod of Istio", func() bool { return slices.Equal(n.leftAlone(), []string{"web Istio"}) })
}
