package egress

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// proxies are the pod's, one after another on the same listening sockets. Those that
// drain follow the configuration too.
type proxies struct {
	p       *Pod
	config  proxy.Config
	sockets []*net.TCPListener // what they have duplicates of, as a holder has the originals

	mu      sync.Mutex
	latest  *mesh.Snapshot // nil until there is one
	all     []*proxy.Server
	end     context.CancelFunc // of the newest
	serving sync.WaitGroup
	failed  error
}

// HandOver has another proxy serve the pod, made as the one before, which ends once that
// one accepts.
func (p *Pod) HandOver() {
	p.T.Helper()
	end := p.proxies.end
	server := p.proxies.begin()
	await.True(p.T, "another proxy accepts", func() bool { return server.Ready() == nil })
	end()
}

// begin serves by another proxy, beside those there are.
func (x *proxies) begin() *proxy.Server {
	x.p.T.Helper()
	config := x.config
	config.Listeners = nil
	for _, l := range x.sockets {
		f, err := l.File()
		Must(x.p.T, err)
		dup, err := net.FileListener(f)
		Must(x.p.T, errors.Join(err, f.Close()))
		config.Listeners = append(config.Listeners, dup.(*net.TCPListener))
	}
	server, err := proxy.New(config)
	Must(x.p.T, err)
	ctx, end := context.WithCancel(context.Background())
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.latest != nil {
		server.Update(x.latest)
	}
	x.all, x.end = append(x.all, server), end
	x.serving.Go(func() {
		err := server.Serve(ctx)
		x.mu.Lock()
		defer x.mu.Unlock()
		x.failed = errors.Join(x.failed, err)
	})
	return server
}

// serve lasts until ctx ends and the proxies have.
func (x *proxies) serve(ctx context.Context) error {
	<-ctx.Done()
	for _, l := range x.sockets {
		l.Close()
	}
	x.end()
	x.serving.Wait()
	return x.failed
}

// follow puts a snapshot in force.
func (x *proxies) follow(s *mesh.Snapshot) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.latest = s
	for _, server := range x.all {
		server.Update(s)
	}
}
