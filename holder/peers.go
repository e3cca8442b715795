package holder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/holder/core"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/rest"
)

const (
	// maxPeers are connected at once: an agent or two, a successor, and plugins, of
	// which a runtime runs some dozens at a time. Who is refused tries again.
	maxPeers = 64
	// callTime is how long a peer that is no agent may be connected.
	callTime = 10 * time.Second
	// tellTime is how long an answer may wait for what is to be written to others first.
	tellTime = time.Second
	// maxQueue are the messages that may wait for a peer that does not read. Agents
	// are brought pods in a window, so that only a successor ever has many.
	maxQueue = 1 << 14
)

// peer is one connection: a goroutine that reads and one that writes.
type peer struct {
	id   core.Conn
	conn *wire.Conn
	pid  int32

	mu      sync.Mutex
	queue   []message
	more    chan struct{} // a token: look at the queue
	closing bool
	written chan struct{} // closed when the writer has ended
}

// message waits to be sent, with its bundle's files. One of no kind is a mark: nothing
// is sent, reached is closed when all before it was written or given up.
type message struct {
	kind    wire.Kind
	payload any
	bundle  core.Bundle
	fds     []int
	reached chan struct{}
	after   []<-chan struct{}
}

// mark puts a mark into the queue; nil: nobody will reach it.
func (p *peer) mark() <-chan struct{} {
	m := message{reached: make(chan struct{})}
	if !p.send(m) {
		return nil
	}
	return m.reached
}

// await waits for the marks of others, for tellTime at most.
func (m message) await() {
	if len(m.after) == 0 {
		return
	}
	timer := time.NewTimer(tellTime)
	defer timer.Stop()
	for _, reached := range m.after {
		select {
		case <-reached:
		case <-timer.C:
			return
		}
	}
}

// accept lets peers in until the listener is closed.
func (h *holder) accept(ctx context.Context, l *net.UnixListener) {
	for {
		c, err := l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no descriptors left: they wait in the queue
			h.log.Warn("accept failed", "error", err)
			if rest.For(ctx, 100*time.Millisecond) != nil {
				return
			}
			continue
		}
		h.admit(ctx, wire.NewConn(c))
	}
}

func (h *holder) admit(ctx context.Context, c *wire.Conn) {
	cred, err := c.Peer()
	if err != nil {
		c.Close()
		return
	}
	turnAway := func(code, text string) {
		h.complain(text, "pid", cred.Pid, "uid", cred.Uid)
		c.Send(wire.Refused, &wire.Refusal{Code: code, Text: text})
		c.Close()
	}
	if cred.Uid != 0 && int(cred.Uid) != os.Geteuid() {
		turnAway(wire.CodeDenied, fmt.Sprintf("uid %d: only root may speak to the holder", cred.Uid))
		return
	}
	p := &peer{conn: c, pid: cred.Pid, more: make(chan struct{}, 1), written: make(chan struct{})}
	if !h.register(p) {
		turnAway(wire.CodeBusy, fmt.Sprintf("%d peers are connected already; try again", maxPeers))
		return
	}
	h.work.Go(func() { h.write(p) })
	h.work.Go(func() { h.read(ctx, p) })
}

// register numbers the peer; false: there are too many.
func (h *holder) register(p *peer) bool {
	h.peersMu.Lock()
	defer h.peersMu.Unlock()
	if len(h.peers) >= maxPeers || h.closed {
		return false
	}
	h.lastConn++
	p.id = h.lastConn
	h.peers[p.id] = p
	return true
}

func (h *holder) peer(id core.Conn) *peer {
	h.peersMu.Lock()
	defer h.peersMu.Unlock()
	return h.peers[id]
}

func (h *holder) unregister(p *peer) {
	h.peersMu.Lock()
	defer h.peersMu.Unlock()
	delete(h.peers, p.id)
}

// read turns what a peer says into events until it goes.
func (h *holder) read(ctx context.Context, p *peer) {
	deadline := time.Now().Add(callTime)
	for {
		m, fds, err := p.conn.ReceiveRaw(deadline)
		if err != nil {
			h.explain(p, err)
			h.unregister(p)
			p.close()
			h.post(ctx, core.Closed{Conn: p.id})
			return
		}
		if m.Kind == wire.Hello || m.Kind == wire.Succeed {
			deadline = time.Time{} // these stay
		}
		e := h.translate(p, m, fds)
		if !h.post(ctx, e) {
			if o, offered := e.(core.Offered); offered {
				h.bundles.drop(o.Bundle)
			}
		}
	}
}

// translate makes an event of a frame, and takes its files over.
func (h *holder) translate(p *peer, m wire.Message, fds []int) core.Event {
	if m.Kind != wire.Hold && m.Kind != wire.Keep {
		closeAll(fds) // nobody sends files with anything else
		f := core.Frame{Conn: p.id, Kind: m.Kind, Payload: m.Payload}
		if m.Kind == wire.Hello {
			f.Process, _ = lookAt(int(p.pid)) // zero: it is not seen from here
		}
		return f
	}
	e := core.Offered{Conn: p.id, Kind: m.Kind}
	err := json.Unmarshal(m.Payload, &e.Holding)
	if err == nil {
		err = inspect(&e.Holding, fds)
	}
	if err == nil {
		err = h.bundles.room(len(fds))
		e.Full = err != nil
	}
	if err != nil {
		e.Problem = fmt.Sprintf("%s: %v", m.Kind, err)
	}
	if e.Holding.Path != "" {
		at, err := identityAt(e.Holding.Path)
		e.PathGone = err != nil || at != e.Holding.Netns
	}
	e.Holding.Watched = e.Holding.Watched && m.Kind == wire.Keep || e.Holding.Path != "" && !e.PathGone
	e.Bundle = h.bundles.add(fds, e.Holding.Sockets)
	return e
}

// explain says why a connection ended, where that was not the usual way.
func (h *holder) explain(p *peer, err error) {
	code := wire.CodeInvalid
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, unix.ECONNRESET):
		return
	case errors.Is(err, wire.ErrVersion):
		code = wire.CodeUnsupported
	case errors.Is(err, wire.ErrTruncated):
		code = wire.CodeFull
	}
	h.complain("peer refused", "pid", p.pid, "problem", err)
	p.send(message{kind: wire.Refused, payload: &wire.Refusal{Code: code, Text: err.Error()}})
}

// send queues a message; false: nobody will send it.
func (p *peer) send(m message) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return false
	}
	if len(p.queue) >= maxQueue {
		p.closing = true
		p.conn.Close()
		return false
	}
	p.queue = append(p.queue, m)
	p.wake()
	return true
}

// close ends the connection when the queue is written.
func (p *peer) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closing = true
	p.wake()
}

func (p *peer) wake() {
	select {
	case p.more <- struct{}{}:
	default:
	}
}

// next waits for a message; false: there will be none.
func (p *peer) next() (message, bool) {
	for {
		p.mu.Lock()
		if len(p.queue) > 0 {
			m := p.queue[0]
			p.queue = p.queue[1:]
			p.mu.Unlock()
			return m, true
		}
		closing := p.closing
		p.mu.Unlock()
		if closing {
			return message{}, false
		}
		<-p.more
	}
}

// write sends the queue until close.
func (h *holder) write(p *peer) {
	defer close(p.written)
	var failed error
	for {
		m, more := p.next()
		if !more {
			break
		}
		if m.reached != nil {
			close(m.reached)
			continue
		}
		m.await()
		if failed == nil {
			if failed = p.conn.SendRaw(m.kind, m.payload, m.fds...); failed != nil {
				p.close() // what is queued is passed over
			}
		}
		h.bundles.drop(m.bundle)
	}
	p.conn.Close()
}
