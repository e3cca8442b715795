package proxy

import "errors"

// Pool is how many connections are open to a cluster.
type Pool struct {
	Cluster      string
	Fingerprint  uint64 // the cluster's
	Active, Idle int    // carrying something, and waiting for the next request
}

// Pools lists the clusters that have been used, those of earlier snapshots too
// while they drain.
func (s *Server) Pools() []Pool {
	upstreams := s.pools.all()
	pools := make([]Pool, len(upstreams))
	for i, u := range upstreams {
		idle := u.idleCount()
		pools[i] = Pool{u.cluster.Name, u.cluster.Fingerprint, max(int(u.open.Load())-idle, 0), idle}
	}
	return pools
}

func (u *upstream) idleCount() (n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, conns := range u.idle {
		n += len(conns)
	}
	return n + int(u.lying.Load())
}

// Ready says what is missing before the server can serve, nil when nothing is.
func (s *Server) Ready() error {
	switch {
	case s.state.Load() == nil:
		return errors.New("no configuration is in force")
	case s.draining.Load():
		return errors.New("stopping")
	case !s.serving.Load():
		return errors.New("the listeners are not served yet")
	}
	return nil
}
