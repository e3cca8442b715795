package pods

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/selection"
)

// servers are the pods' proxies: those that serve a set of sockets, and those that only
// have old connections left. Its methods may be called by many goroutines.
type servers struct {
	common *Common
	sets   *sets
	// Fell is told of proxies that ended by themselves; nil: nobody is. It must not wait.
	// It is set before the first start.
	Fell func(core.Fell)

	mu       sync.Mutex
	serving  map[core.Files]*server
	drains   map[wire.Netns]map[*Proxy]bool
	snapshot *mesh.Snapshot // in force; nil before the first
}

// server is the proxy of one set.
type server struct {
	*Proxy
	pod      wire.Netns
	workload mesh.Workload
}

func newServers(common *Common, sets *sets) *servers {
	return &servers{common: common, sets: sets, serving: map[core.Files]*server{}, drains: map[wire.Netns]map[*Proxy]bool{}}
}

// Snapshot puts a configuration in force in every pod.
func (v *servers) Snapshot(s *mesh.Snapshot) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.snapshot = s
	for _, one := range v.serving {
		one.Follow(s, one.workload)
	}
}

// start serves a pod.
func (v *servers) start(a core.Start) error {
	s, err := v.sets.set(a.Files)
	if err != nil {
		return err
	}
	w := workload(a.Description, a.Decision.Outbound)
	v.mu.Lock()
	defer v.mu.Unlock() // no snapshot may come between its first and its place in the map
	if v.serving[a.Files] != nil {
		return nil
	}
	p, err := v.common.serve(serving{
		namespace: s.ns, sockets: s.sockets, workload: w, dns: a.Description.DNS, mark: a.Description.Mark,
		log: v.log(a.Pod, a.Description), fell: func(p *Proxy, err error) { v.fell(p, core.Fell{Pod: a.Pod, Files: a.Files, Err: err}) },
	}, v.snapshot)
	if err != nil {
		return err
	}
	v.serving[a.Files] = &server{Proxy: p, pod: a.Pod, workload: w}
	return nil
}

// fell takes the place from a proxy that has ended by itself, for another.
func (v *servers) fell(p *Proxy, e core.Fell) {
	v.mu.Lock()
	s := v.serving[e.Files]
	mine := s != nil && s.Proxy == p
	if mine {
		delete(v.serving, e.Files)
		v.drains[e.Pod] = with(v.drains[e.Pod], p)
		go func() { <-p.ended; v.drained(e.Pod, p) }()
	}
	v.mu.Unlock()
	if mine && v.Fell != nil {
		v.Fell(e)
	}
}

func (v *servers) log(pod wire.Netns, d core.Description) *slog.Logger {
	log := v.common.Logs.Pod()
	if d.Name.Name == "" {
		return log.With("netns", pod.String())
	}
	return log // its proxy says which pod it is
}

// workload is a pod as configuration and metrics know it. outbound is the policy's word,
// in selection's words.
func workload(d core.Description, outbound string) mesh.Workload {
	w := mesh.Workload{Namespace: d.Name.Namespace, Labels: d.Name.Labels, Name: d.Name.Workload, Pod: d.Name.Name}
	for word, policy := range map[string]mesh.OutboundPolicy{
		selection.Observe: mesh.Observe, selection.RegistryOnly: mesh.RegistryOnly, selection.AllowAny: mesh.AllowAny,
	} {
		if outbound == word {
			w.Policy = &policy
		}
	}
	return w
}

// follow tells a pod's proxy who the pod is.
func (v *servers) follow(a core.Follow) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.serving[a.Files]; s != nil {
		s.workload = workload(a.Description, a.Decision.Outbound)
		s.Follow(v.snapshot, s.workload)
	}
}

// stop ends serving. Of files that are closed already it is done. Without a drain what
// drains from before is cut too: in a namespace that is gone nothing is worth waiting for,
// and its sockets would keep it. With one it returns when it has begun; drained is closed
// when it has ended.
func (v *servers) stop(a core.Stop) (drained <-chan struct{}) {
	p, before := v.end(a)
	closeRest := func() {}
	if a.Close {
		if s := v.sets.take(a.Files); s != nil {
			s.sockets.Close()
			closeRest = func() { s.ns.Close() } // in which those that drain make sockets still
		}
	}
	if a.Drain == 0 {
		for _, other := range before {
			other.Cut()
		}
		if p != nil {
			p.Cut()
		}
		closeRest()
		return nil
	}
	ended := make(chan struct{})
	if p == nil { // there is nothing to wait for, and its end is told all the same
		closeRest()
		close(ended)
		return ended
	}
	p.Drain()
	go func() {
		defer close(ended)
		p.within(a.Drain)
		v.drained(a.Pod, p)
		closeRest()
	}()
	return ended
}

// end takes the proxy of a set, nil for none, to be ended by the caller; before are the
// pod's that drained already.
func (v *servers) end(a core.Stop) (p *Proxy, before []*Proxy) {
	v.mu.Lock()
	defer v.mu.Unlock()
	before = slices.Collect(maps.Keys(v.drains[a.Pod]))
	if s := v.serving[a.Files]; s != nil {
		p = s.Proxy
		delete(v.serving, a.Files)
		if a.Drain > 0 {
			v.drains[a.Pod] = with(v.drains[a.Pod], p)
		}
	}
	return p, before
}

func with(all map[*Proxy]bool, p *Proxy) map[*Proxy]bool {
	if all == nil {
		all = map[*Proxy]bool{}
	}
	all[p] = true
	return all
}

func (v *servers) drained(pod wire.Netns, p *Proxy) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.drains[pod], p)
	if len(v.drains[pod]) == 0 {
		delete(v.drains, pod)
	}
}

// cutAll cuts what serves; what drains is left to its stop.
func (v *servers) cutAll() {
	v.mu.Lock()
	all := v.serving
	v.serving = map[core.Files]*server{}
	v.mu.Unlock()
	for _, s := range all {
		s.Cut()
	}
}

// Served is what is told of a pod that is served.
type Served struct {
	Open  int // connections of the pod's
	Since time.Time
}

// Served are the pods that are served.
func (v *servers) Served() map[wire.Netns]Served {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make(map[wire.Netns]Served, len(v.serving))
	for _, s := range v.serving {
		out[s.pod] = Served{s.Open(), s.since}
	}
	return out
}

// Server is the proxy that serves a pod, nil for none.
func (v *servers) Server(pod wire.Netns) *proxy.Server {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.serving {
		if s.pod == pod {
			return s.server
		}
	}
	return nil
}
