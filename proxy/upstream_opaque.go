package proxy

import (
	"context"

	"github.com/sluice-cni/sluice/proxy/loop"
)

// connectOpaque opens a connection for bytes that nobody looks at. Without TLS it is
// bound for the relay engine and so stays out of Go's netpoller. It calls w.mayWait
// before it waits.
func (u *upstream) connectOpaque(ctx context.Context, key poolKey, w carrier) (c *upstreamConn, err error) {
	t := u.target(key.addr)
	if !u.admit(t) {
		return nil, poolFull
	}
	if u.server.dialsPolled {
		w.mayWait()
		c, err = u.dial(ctx, key, u.opaqueALPN())
	} else {
		c, err = u.dialOpaque(ctx, key, t, w)
	}
	if err != nil {
		return nil, err
	}
	if c.use(); u.cluster.Tunnel == nil {
		return c, nil
	}
	w.mayWait()
	return c.through(ctx, u.cluster.Tunnel)
}

// dialOpaque makes a connection, counted already, without Go's netpoller.
func (u *upstream) dialOpaque(ctx context.Context, key poolKey, t *target, w carrier) (*upstreamConn, error) {
	s := u.server
	if u.cluster.TLS != nil {
		w.mayWait() // for files
		if err := u.tls.ready(); err != nil {
			u.gone(t)
			return nil, u.notReady(err)
		}
	}
	polled := u.cluster.TLS != nil || u.cluster.Tunnel != nil
	if polled {
		w = once{w}
	}
	ctx, cancel := context.WithTimeout(ctx, u.connectTimeout())
	defer cancel()
	if err := s.mayConnect(ctx, w); err != nil {
		u.gone(t)
		return nil, err
	}
	defer s.connects.giveBack(1)
	fd, local, err := s.dialer.raw(ctx, unmapped(key.addr), w)
	if noneLeft(err) {
		w.mayWait()
		s.pools.crowd.relieve(ctx)
		fd, local, err = s.dialer.raw(ctx, unmapped(key.addr), w)
	}
	if err != nil {
		s.descriptors.giveBack(1)
		u.gone(t)
		return nil, u.notMade(err)
	}
	if polled {
		w.mayWait()
		tcp, err := loop.Attach(fd)
		if err != nil {
			s.descriptors.giveBack(1)
			s.ownConn.remove(ends{local, unmapped(key.addr)})
			u.gone(t)
			return nil, u.notMade(err)
		}
		return u.over(ctx, tcp, key, u.opaqueALPN())
	}
	u.keepAlive(fd)
	c := &upstreamConn{fd: fd, up: u, key: key, target: t, local: local}
	c.in.memory = &s.memory
	u.open.Add(1)
	return c, nil
}

// once is a carrier whose connection is refused as soon as it comes back: with TLS or a
// tunnel it waits for an answer, and is tried again, so that each that was carried on
// would become several.
type once struct{ waiter }

func (once) pass() uint8 { return lastPass }

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
