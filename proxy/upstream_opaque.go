package proxy

import (
	"context"

	"github.com/sluice-cni/sluice/proxy/loop"
)

// connectOpaque opens a connection for bytes that nobody looks at. Without TLS it is
// bound for the relay engine and so stays out of Go's netpoller. It calls w.mayWait
// before it waits.
func (u *upstream) connectOpaque(ctx context.Context, key poolKey, w waiter) (*upstreamConn, error) {
	c, err := u.connectPlainly(ctx, key, w)
	if err != nil || u.cluster.Tunnel == nil {
		return c, err
	}
	w.mayWait()
	return c.through(ctx, u.cluster.Tunnel)
}

// connectPlainly is connectOpaque as far as the server that is a proxy, if it is one.
func (u *upstream) connectPlainly(ctx context.Context, key poolKey, w waiter) (*upstreamConn, error) {
	s := u.server
	if !s.dialsRaw || key.addr.Addr().Zone() != "" {
		w.mayWait()
		return u.connect(ctx, key, u.opaqueALPN())
	}
	if err := u.tls.ready(); err != nil {
		return nil, u.notReady(err)
	}
	ctx, cancel := context.WithTimeout(ctx, u.connectTimeout())
	defer cancel()
	if !s.connects.take(1) {
		return nil, tooManyConnects
	}
	defer s.connects.giveBack(1)
	fd, local, err := dialRaw(ctx, unmapped(key.addr), s.cfg.Mark, w, &s.ownConn)
	if err != nil {
		return nil, u.notMade(err)
	}
	if u.cluster.TLS != nil || u.cluster.Tunnel != nil {
		w.mayWait()
		tcp, err := loop.Attach(fd)
		if err != nil {
			s.ownConn.remove(ends{local, unmapped(key.addr)})
			return nil, u.notMade(err)
		}
		return u.over(ctx, tcp, key, u.opaqueALPN())
	}
	u.keepAlive(fd)
	c := &upstreamConn{fd: fd, up: u, key: key, target: u.target(key.addr), local: local}
	c.in.memory = &s.memory
	c.use()
	u.open.Add(1)
	return c, nil
}

// bePolled makes a connection of connectOpaque one like the others, where the relay
// engine could not take it. On error it is closed.
func (c *upstreamConn) bePolled() error {
	if c.tcp != nil {
		return nil
	}
	tcp, err := loop.Attach(c.fd)
	if err != nil {
		c.fd = -1
		c.ended()
		return err
	}
	if err := c.attach(tcp); err != nil {
		c.fd = -1
		tcp.Close()
		c.ended()
		return err
	}
	return nil
}
