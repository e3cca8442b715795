package http2

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// input is what has been read of a connection and not been used. Only the reader
// touches it.
type input struct {
	b        []byte
	r, w     int
	home     *[]byte
	deadline time.Time // in force on reads; zero: none
	begun    time.Time // when the frame or header section that is here in part began
	quiet    time.Time // since when the connection has had no stream
}

// Most connections wait for most of their time: they hold little while they do.
const (
	smallInput = 4 << 10
	largeInput = 2 * (maxFrame + frameHeaderLen)
)

var (
	smallInputs = sync.Pool{New: func() any { b := make([]byte, smallInput); return &b }}
	largeInputs = sync.Pool{New: func() any { b := make([]byte, largeInput); return &b }}
)

func (in *input) bytes() []byte { return in.b[in.r:in.w] }

// room makes space for another read: a larger buffer when a small one was full.
func (in *input) room() {
	if in.r == in.w {
		in.r, in.w = 0, 0
	}
	switch {
	case in.b == nil:
		in.move(&smallInputs)
	case in.w == len(in.b) && len(in.b) < largeInput:
		in.move(&largeInputs)
	case in.r > 0 && len(in.b)-in.w < maxFrame/4:
		in.w = copy(in.b, in.b[in.r:in.w])
		in.r = 0
	}
}

func (in *input) move(pool *sync.Pool) {
	home := pool.Get().(*[]byte)
	n := copy(*home, in.bytes())
	in.release()
	in.b, in.home, in.r, in.w = *home, home, 0, n
}

// release gives the memory back.
func (in *input) release() {
	switch len(in.b) {
	case smallInput:
		smallInputs.Put(in.home)
	case largeInput:
		largeInputs.Put(in.home)
	}
	in.b, in.home, in.r, in.w = nil, nil, 0, 0
}

// take begins with bytes that were read before.
func (in *input) take(early []byte) {
	in.move(&smallInputs)
	if len(early) > smallInput {
		in.release()
		in.b = append([]byte(nil), early...) // as large as a peek at the protocol was
		in.w = len(early)
		return
	}
	in.w = copy(in.b, early)
}

// read serves the connection until it ends, and says why it did.
func (c *Conn) read() error {
	defer c.in.release()
	for {
		for {
			f, n, bad := parseFrame(c.in.bytes())
			if bad == nil && n > 0 {
				bad = c.handle(&f)
			}
			if bad != nil {
				return c.fail(bad)
			}
			if n == 0 {
				break
			}
			c.in.r += n
			c.in.begun = time.Time{}
		}
		if err := c.fill(); err != nil {
			return c.fail(err)
		}
	}
}

// fail ends the connection; the first reason counts.
func (c *Conn) fail(err error) error {
	c.mu.Lock()
	c.end(err)
	c.deaf = true
	err = c.err
	c.unlock()
	return err
}

// fill sends what has piled up and reads once more.
func (c *Conn) fill() error {
	c.in.room()
	for {
		if err := c.await(); err != nil {
			return err
		}
		n, err := c.nc.Read(c.in.b[c.in.w:])
		c.in.w += n
		switch {
		case n > 0:
			return nil
		case err == nil:
			return io.ErrNoProgress
		case !errors.Is(err, os.ErrDeadlineExceeded) && !isTimeout(err):
			return err
		}
		c.in.deadline = time.Time{}
	}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// await decides how long the next read may wait. A deadline that is too early
// does no harm: it is looked at again when it has passed.
func (c *Conn) await() error {
	c.mu.Lock()
	defer c.unlock()
	now := time.Now()
	if now.After(c.sweepAt) {
		c.sweep(now)
	}
	c.flush()
	if c.err != nil {
		return c.err
	}
	until := c.sweepAt
	if len(c.streams) == 0 && !c.client {
		if c.in.quiet.IsZero() {
			c.in.quiet = now
		}
		until = c.in.quiet.Add(c.cfg.Idle)
		if now.After(until) {
			c.lastCall()
			return ErrClosed
		}
	} else {
		c.in.quiet = time.Time{}
	}
	if c.in.r < c.in.w || c.block.open != 0 {
		if c.in.begun.IsZero() {
			c.in.begun = now
		}
		by := c.in.begun.Add(c.cfg.HeadTimeout)
		if now.After(by) {
			return connError(EnhanceYourCalm, "a frame that took too long")
		}
		if by.Before(until) {
			until = by
		}
	}
	if c.in.deadline.IsZero() || c.in.deadline.After(until) {
		c.in.deadline = until
		c.nc.SetReadDeadline(until)
	}
	return nil
}
