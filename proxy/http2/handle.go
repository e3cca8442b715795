package http2

import (
	"encoding/binary"
	"time"
)

// handle takes one frame.
func (c *Conn) handle(f *frame) *ConnError {
	if open := c.block.open; open != 0 && (f.kind != frameContinuation || f.stream != open) {
		return connError(ProtocolError, "another frame within a header section")
	}
	if !c.greeted {
		if f.kind != frameSettings || f.has(flagAck) {
			return connError(ProtocolError, "the first frame is not SETTINGS")
		}
		c.greeted = true
	}
	switch f.kind {
	case frameHeaders:
		return c.onHeaders(f)
	case frameContinuation:
		if c.block.open == 0 {
			return connError(ProtocolError, "CONTINUATION without HEADERS")
		}
		return c.onHeaders(f)
	case framePushPromise:
		return connError(ProtocolError, "PUSH_PROMISE, which is not wanted")
	}
	c.mu.Lock()
	defer c.unlock()
	switch f.kind {
	case frameData:
		return c.onData(f)
	case frameRSTStream:
		return c.onReset(f)
	case frameSettings:
		return c.onSettings(f)
	case framePing:
		return c.onPing(f)
	case frameGoAway:
		return c.onGoAway(f)
	case frameWindowUpdate:
		return c.onWindowUpdate(f)
	}
	return c.count(&c.guard.noise, "PRIORITY and unknown frames")
}

// idle says that a stream has not been opened yet.
func (c *Conn) idle(id uint32) bool { return id%2 == 0 || id > c.lastID }

func (c *Conn) onData(f *frame) *ConnError {
	if c.idle(f.stream) {
		return connError(ProtocolError, "DATA on a stream that nobody opened")
	}
	// The whole window of the connection is given back at once: what bounds our
	// memory is each stream's own.
	if c.received += int64(f.length); c.received >= connWindow/4 {
		c.out = appendWord(c.out, frameWindowUpdate, 0, uint32(c.received))
		c.received = 0
	}
	if f.length == 0 && !f.has(flagEndStream) {
		return c.count(&c.guard.noise, "empty DATA frames")
	}
	s := c.streams[f.stream]
	if s == nil {
		return c.count(&c.guard.noise, "frames of streams that ended") // they may cross our RST_STREAM
	}
	if len(f.payload) > 0 {
		c.guard.progress()
	}
	s.moved = time.Now()
	s.window -= int64(f.length)
	switch {
	case s.window < 0:
		return c.spoil(s, &StreamError{Code: FlowControlError, Detail: "http2.flow_control"})
	case s.recvEnd:
		return c.spoil(s, &StreamError{Code: StreamClosed, Detail: "http2.data_after_end"})
	case c.client && !s.answered:
		return c.spoil(s, malformed("http2.data_before_headers"))
	case s.noBody && len(f.payload) > 0:
		return c.spoil(s, malformed("http2.unexpected_body"))
	}
	if s.expect >= 0 {
		if s.expect -= int64(len(f.payload)); s.expect < 0 {
			return c.spoil(s, malformed("http2.content_length_mismatch"))
		}
	}
	if !s.store(f.payload) { // not the peer's fault: it counts for no flood
		s.reset(ErrNoMemory.Code, ErrNoMemory)
		return c.control()
	}
	s.consumed(int64(f.length - len(f.payload)))
	if f.has(flagEndStream) && !s.ended() {
		return c.spoil(s, malformed("http2.content_length_mismatch"))
	}
	s.readable.Signal()
	return nil
}

func (c *Conn) onReset(f *frame) *ConnError {
	if c.idle(f.stream) {
		return connError(ProtocolError, "RST_STREAM on a stream that nobody opened")
	}
	code := ErrCode(binary.BigEndian.Uint32(f.payload))
	s := c.streams[f.stream]
	hasty := s != nil && !c.client && time.Since(s.begun) < hastyReset
	if s != nil {
		switch {
		case c.client && code == RefusedStream && s.early:
			s.fail(ErrUnprocessed)
		case c.client && code == RefusedStream:
			s.fail(ErrRefused)
		case c.client && s.recvEnd && code == NoError: // RFC 9113 §8.1: it needs no more of the request
			s.stopSending()
		default:
			s.fail(&StreamError{Code: code, Remote: true})
		}
	}
	if hasty {
		return c.count(&c.guard.resets, "streams that are reset")
	}
	return c.count(&c.guard.noise, "RST_STREAM")
}

// hastyReset tells a request that was given up from one that was never meant: the
// age below which a reset counts, as in Envoy.
const hastyReset = time.Second

func (c *Conn) onSettings(f *frame) *ConnError {
	if f.has(flagAck) {
		return c.count(&c.guard.noise, "SETTINGS")
	}
	before := c.peer.window
	if err := c.peer.apply(f.payload); err != nil {
		return err
	}
	for _, s := range c.streams { // RFC 9113 §6.9.2
		if s.sendWindow += c.peer.window - before; s.sendWindow > maxWindow {
			return connError(FlowControlError, "a window beyond its limit")
		}
		s.writable.Signal()
	}
	c.told = true
	c.enc.SetMaxDynamicTableSize(min(c.peer.table, tableSize))
	c.out = appendFrameHeader(c.out, frameSettings, flagAck, 0, 0)
	if c.client && c.cfg.Freed != nil {
		c.calls = append(c.calls, c.cfg.Freed) // the number of streams may have grown
	}
	if err := c.control(); err != nil {
		return err
	}
	return c.count(&c.guard.noise, "SETTINGS")
}

func (c *Conn) onPing(f *frame) *ConnError {
	data := [8]byte(f.payload)
	switch {
	case f.has(flagAck) && data == drainPing && c.announced:
		c.lastCall()
	case f.has(flagAck) && data == alivePing && c.alive.asked:
		c.isAlive()
		return nil
	case !f.has(flagAck):
		c.out = appendPing(c.out, flagAck, data)
	}
	if err := c.control(); err != nil {
		return err
	}
	return c.count(&c.guard.noise, "PING")
}

// onGoAway takes no more streams; those that the peer has not looked at may be
// sent again (RFC 9113 §6.8).
func (c *Conn) onGoAway(f *frame) *ConnError {
	if !c.client {
		return c.count(&c.guard.noise, "GOAWAY")
	}
	last := binary.BigEndian.Uint32(f.payload) & maxStreamID
	c.ending, c.final = true, true
	for id, s := range c.streams {
		if id > last {
			s.fail(ErrUnprocessed)
		}
	}
	if c.cfg.Freed != nil {
		c.calls = append(c.calls, c.cfg.Freed)
	}
	c.drained()
	return c.count(&c.guard.noise, "GOAWAY")
}

func (c *Conn) onWindowUpdate(f *frame) *ConnError {
	n := int64(binary.BigEndian.Uint32(f.payload) & maxStreamID)
	if f.stream == 0 {
		if n == 0 {
			return connError(ProtocolError, "a WINDOW_UPDATE of nothing")
		}
		if c.window += n; c.window > maxWindow {
			return connError(FlowControlError, "a window beyond its limit")
		}
		c.wakeWaiting()
		return c.count(&c.guard.noise, "WINDOW_UPDATE")
	}
	if c.idle(f.stream) {
		return connError(ProtocolError, "WINDOW_UPDATE on a stream that nobody opened")
	}
	if s := c.streams[f.stream]; s != nil {
		if n == 0 {
			return c.spoil(s, malformed("http2.empty_window_update"))
		}
		if s.sendWindow += n; s.sendWindow > maxWindow {
			return c.spoil(s, &StreamError{Code: FlowControlError, Detail: "http2.flow_control"})
		}
		s.writable.Signal()
	}
	return c.count(&c.guard.noise, "WINDOW_UPDATE")
}
