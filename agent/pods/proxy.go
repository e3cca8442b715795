package pods

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/agent/netns"
	"github.com/sluice-cni/sluice/agent/podlog"
	"github.com/sluice-cni/sluice/internal/remedy"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/dns"
	"github.com/sluice-cni/sluice/proxy/dnsproxy"
	"github.com/sluice-cni/sluice/proxy/metrics"
	"github.com/sluice-cni/sluice/selection"
)

// Common is what the proxies of all pods share; the agent owns it all and runs what has
// to be run.
type Common struct {
	// Proxy is each proxy's configuration but for what is the pod's own: listeners,
	// sockets, workload, share, observer, answers, log.
	Proxy proxy.Config
	// Register is proxy.Config's for pods of a Kubernetes namespace; nil: Proxy.Register.
	Register func(namespace string) string
	// Names is the same for those that answer DNS. ResolvConf is asked where nobody
	// said what the pod's own has.
	Names dnsproxy.Config
	// Shares are what the proxies have together.
	Shares *proxy.Shares
	// Metrics count for all of them.
	Metrics *metrics.Metrics
	// DrainLimit is how long connections may go on after a proxy was told to end.
	DrainLimit time.Duration
	// Logs is where the pods' logs meet.
	Logs *podlog.Log
}

// Proxy serves one pod.
type Proxy struct {
	server  *proxy.Server
	names   *dnsproxy.Server // nil without DNS capture
	counted *metrics.Workload
	share   *proxy.Share
	since   time.Time
	stop    context.CancelFunc
	ended   chan struct{}
	told    atomic.Bool // to end
	fell    func(error) // called once at most, when it ends without being told
	failure error       // read once ended is closed
}

// serving is one pod's part of a proxy's configuration.
type serving struct {
	namespace *netns.Namespace
	sockets   Sockets
	workload  mesh.Workload
	dns       *selection.DNS // nil: not known
	mark      uint32         // of its sockets; 0: none
	log       *slog.Logger
	fell      func(*Proxy, error) // the proxy has ended, or accepts no more, by itself
}

// socket makes a socket in the pod, by whose mark, where it has one, the pod's rules
// know that it is not the pod's.
func (s serving) socket(domain, typ int) (int, error) {
	fd, err := s.namespace.Socket(domain, typ)
	if err != nil || s.mark == 0 {
		return fd, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(s.mark)); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("setsockopt", err)
	}
	return fd, nil
}

// serve starts a proxy that follows snapshot. It accepts once serve returns.
func (c *Common) serve(s serving, snapshot *mesh.Snapshot) (p *Proxy, err error) {
	if snapshot == nil {
		return nil, errors.New("no configuration is in force yet")
	}
	sockets, err := s.sockets.serve()
	if err != nil {
		return nil, err
	}
	if len(sockets.tcp) == 0 {
		sockets.close()
		return nil, errors.New("none of its sockets is a proxy's listener")
	}
	p = &Proxy{counted: c.Metrics.Workload(s.workload), share: c.Shares.Join(), since: time.Now(), ended: make(chan struct{})}
	defer func() {
		if err != nil {
			sockets.close()
			p.share.Leave()
			p.counted.Close()
		}
	}()
	if len(sockets.packets)+len(sockets.streams) > 0 {
		if p.names, err = dnsproxy.New(c.namesConfig(s, sockets, p)); err != nil {
			return nil, err
		}
	}
	cfg := c.Proxy
	cfg.Listeners, cfg.Workload, cfg.Socket = sockets.tcp, s.workload, s.socket
	cfg.Limits.Share, cfg.Observer, cfg.Log = p.share, p.counted, s.log
	cfg.DrainTimeout, cfg.HandsOver = c.DrainLimit, true
	if c.Register != nil {
		cfg.Register = c.Register(s.workload.Namespace)
	}
	cfg.Command = func(words string) string {
		if s.workload.Pod != "" {
			words += " --pod " + s.workload.Namespace + "/" + s.workload.Pod
		}
		return remedy.Here().Sluice(words)
	}
	var once sync.Once
	p.fell = func(err error) {
		once.Do(func() {
			if !p.told.Load() {
				p.stop()
				s.log.Error("the pod's proxy has ended by itself; it is started again", "error", err)
				s.fell(p, err)
			}
		})
	}
	cfg.Unable = p.fell
	if p.names != nil {
		cfg.Answers = p.names
	} else {
		cfg.NoVirtual = true // no dnsCapture: its DNS goes past sluice
	}
	if p.server, err = proxy.New(cfg); err != nil {
		return nil, err
	}
	p.counted.Watch(p.server)
	p.Follow(snapshot, s.workload)
	p.run()
	return p, nil
}

func (c *Common) namesConfig(s serving, sockets served, p *Proxy) dnsproxy.Config {
	cfg := c.Names
	cfg.Packets, cfg.Streams, cfg.Workload = sockets.packets, sockets.streams, s.workload
	cfg.Socket = s.socket
	cfg.Descriptors, cfg.Observe, cfg.Log = p.share, p.counted.ObserveDNS, s.log
	if s.dns != nil && len(s.dns.Servers) > 0 {
		cfg.Resolvers = dns.FixedResolvConf(s.dns.Servers, s.dns.Searches, s.dns.Options)
	}
	return cfg
}

func (p *Proxy) run() {
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	tasks := []func(context.Context) error{p.server.Serve}
	if p.names != nil {
		tasks = append(tasks, p.names.Serve)
	}
	var mu sync.Mutex
	left := len(tasks)
	for _, task := range tasks {
		go func() {
			err := task(ctx)
			stop() // one without the other serves half a pod
			mu.Lock()
			defer mu.Unlock()
			p.failure = errors.Join(p.failure, err)
			if left--; left > 0 {
				return
			}
			p.share.Leave()
			p.counted.Close()
			p.fell(cmp.Or(p.failure, errors.New("nobody says why")))
			close(p.ended)
		}()
	}
}

// Follow puts a snapshot in force, for a workload that may be known better by now. The
// proxy has it before DNS does: whatever a name is answered with may be used at once.
func (p *Proxy) Follow(snapshot *mesh.Snapshot, w mesh.Workload) {
	p.server.Follow(snapshot, w)
	if p.names != nil {
		p.names.Follow(snapshot, w)
	}
}

// Drain ends accepting. What is connected goes on, for as long as DrainLimit; then
// Ended is closed.
func (p *Proxy) Drain() {
	p.told.Store(true)
	p.stop()
}

// Cut ends everything at once, and waits until it has.
func (p *Proxy) Cut() {
	p.told.Store(true)
	p.stop()
	p.server.Cut()
	<-p.ended
}

// within waits for the end of a drain, and cuts what is left after limit.
func (p *Proxy) within(limit time.Duration) {
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-p.ended:
	case <-late.C:
		p.Cut()
	}
}

// Ended is closed when nothing of the proxy runs any more.
func (p *Proxy) Ended() <-chan struct{} { return p.ended }

// Open is how many connections of the pod's are open.
func (p *Proxy) Open() int {
	_, open := p.server.Connections(0)
	return open
}
