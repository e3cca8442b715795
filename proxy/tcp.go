package proxy

import (
	"errors"
	"net"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// serveTCP carries an opaque connection by its destination address.
func (c *connection) serveTCP(st *state) {
	c.carry(st, st.view.ChooseTCP(c.dst, c), asked{dst: c.dst}, c.entry("tcp"))
}

// serveTLS carries a TLS connection by the server name in its ClientHello,
// without opening it.
func (c *connection) serveTLS(st *state) {
	e := c.entry("tls")
	hello, err := c.clientHello()
	name := canonicalName(hello.name)
	e.serverName = name
	switch refusal := c.server.cfg.RefuseTLS.judge(hello); {
	case isOverload(err):
		e.fail(err)
		c.abort()
		c.server.record(e)
		return
	case err != nil:
		e.refusal, e.details = Malformed, err.Error()
		c.refuse(e)
		return
	case refusal != "":
		e.refusal, e.details = refusal, string(refusal)
		c.refuse(e)
		return
	}
	c.carry(st, st.view.ChooseTLS(c.dst, name, c), asked{name: name, dst: c.dst}, e)
}

// clientHello waits for the whole ClientHello.
func (c *connection) clientHello() (clientHello, error) {
	for waited := false; ; waited = true {
		hello, more, err := readClientHello(c.in.bytes())
		if !more || err != nil {
			return hello, err
		}
		if !waited {
			if err := c.bePolled(); err != nil {
				return clientHello{}, err
			}
			c.deadline.at(time.Now().Add(helloTimeout))
			defer c.deadline.at(time.Time{})
		}
		if err := c.in.fill(c.tcp); isOverload(err) {
			return clientHello{}, err
		} else if err != nil {
			return clientHello{}, errNotClientHello
		}
	}
}

// carry opens the upstream connection of a route and moves bytes until both
// sides have ended.
func (c *connection) carry(st *state, route *mesh.TCPRoute, a asked, e *entry) {
	var cluster *mesh.Cluster
	switch {
	case route != nil:
		cluster = pickDestination(route.Destinations, c.server.random()).Cluster
		e.route = route.Name
	case st.view.Passes():
		cluster = beyond(st, e.protocol == "tls")
		c.opaqueWouldRefuse(st, e)
	default:
		e.cluster, e.details = blackHole, "not registered"
		c.refuse(e)
		return
	}
	e.cluster = cluster
	if cluster.Unknown {
		c.mayWait()
		e.flags, e.details = "NC", "cluster_not_found"
		c.server.record(e)
		c.abort()
		return
	}
	up, err := c.open(st.upstream(cluster), a)
	if err != nil {
		c.mayWait()
		e.fail(err)
		if ce := (*connectError)(nil); errors.As(err, &ce) { // of the last try that there is
			e.flags = "UF,URX"
		}
		c.server.record(e)
		c.abort()
		return
	}
	if c.refusedAsLoop() {
		up.close()
		return
	}
	e.upstreamHost, e.upstreamLocal = up.key.addr, up.local
	c.tunnel(up, e)
}

// open makes a connection for opaque bytes: up to three tries, on another
// endpoint where there is one.
func (c *connection) open(u *upstream, a asked) (*upstreamConn, error) {
	s, ctx := c.server, c.server.life
	var last error
	cluster := u.latest()
	draw := u.draw(cluster)
	for try := range connectTries {
		if try > 0 {
			c.mayWait()
			if err := s.pause(ctx, mesh.DefaultRetry.Backoff(uint32(try))); err != nil {
				return nil, last
			}
			draw = s.random()
		}
		addr, err := u.endpoint(noWait, cluster, a, draw) // the usual case first
		if err != nil {
			c.mayWait()
			addr, err = u.endpoint(ctx, cluster, a, draw)
		}
		if err != nil {
			return nil, err
		}
		up, err := u.connectOpaque(ctx, poolKey{addr, sniFor(u.cluster, a, nil)}, c)
		if err == nil {
			u.report(addr, hostReached, nil)
			return up, nil
		}
		a, last = a.without(addr), err
		if refused := (*tunnelRefusal)(nil); isOverload(err) || errors.As(err, &refused) {
			break
		}
		u.report(addr, unreached, err)
	}
	return nil, last
}

// relayUngoverned carries a connection that no policy applies to.
func (c *connection) relayUngoverned() {
	if c.refusedAsLoop() {
		return
	}
	e := c.entry("tcp")
	e.cluster = ungoverned
	u := &upstream{server: c.server, cluster: ungoverned}
	up, err := u.connectOpaque(c.server.life, poolKey{addr: c.dst}, c)
	if err != nil {
		c.mayWait()
		e.fail(err)
		c.server.record(e)
		c.abort()
		return
	}
	if c.refusedAsLoop() {
		up.close()
		return
	}
	e.upstreamHost, e.upstreamLocal = c.dst, up.local
	c.tunnel(up, e)
}

// cut resets both connections: bytes were lost, and neither side may take what
// it has for the whole.
func cut(conns ...*net.TCPConn) {
	for _, t := range conns {
		t.SetLinger(0)
		t.Close()
	}
}

// pickDestination chooses by weight; draw is random.
func pickDestination(all []mesh.WeightedCluster, draw uint32) *mesh.WeightedCluster {
	if len(all) == 1 {
		return &all[0]
	}
	total := uint64(0)
	for i := range all {
		total += uint64(all[i].Weight)
	}
	if total == 0 {
		return &all[uint64(draw)%uint64(len(all))]
	}
	n := uint64(draw) % total
	for i := range all {
		w := uint64(all[i].Weight)
		if n < w {
			return &all[i]
		}
		n -= w
	}
	return &all[0]
}
