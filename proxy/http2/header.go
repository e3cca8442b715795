package http2

import (
	"time"

	"golang.org/x/net/http2/hpack"
)

// header is the header section that is being received. Only the reader touches it.
type header struct {
	dec     *hpack.Decoder
	open    uint32 // the stream it belongs to; 0: none is under way
	end     bool   // END_STREAM
	size    int    // of its block so far
	parts   int
	section section
}

func (h *header) begin(c *Conn) {
	h.dec = hpack.NewDecoder(tableSize, func(f Field) {
		if !h.section.add(f) {
			h.dec.SetEmitEnabled(false) // decode on, for the table's sake, and drop
		}
	})
	h.dec.SetMaxStringLength(maxHeadBytes)
}

// headers takes a HEADERS or CONTINUATION frame and says whether its section is whole.
func (h *header) headers(f *frame) (whole bool, err *ConnError) {
	if f.kind == frameHeaders {
		h.open, h.end, h.size, h.parts = f.stream, f.has(flagEndStream), 0, 0
		h.section.reset()
		h.dec.SetEmitEnabled(true)
	}
	h.size += len(f.payload)
	h.parts++
	if h.size > maxBlock || h.parts > maxBlockParts {
		return false, connError(EnhanceYourCalm, "an endless header section")
	}
	if _, err := h.dec.Write(f.payload); err != nil {
		return false, connError(CompressionError, err.Error())
	}
	if !f.has(flagEndHeaders) {
		return false, nil
	}
	h.open = 0
	if err := h.dec.Close(); err != nil {
		return false, connError(CompressionError, err.Error())
	}
	return true, nil
}

// onHeaders handles HEADERS and CONTINUATION.
func (c *Conn) onHeaders(f *frame) *ConnError {
	if whole, err := c.block.headers(f); err != nil || !whole {
		return err
	}
	c.mu.Lock()
	defer c.unlock()
	if c.client {
		return c.onAnswer(f.stream)
	}
	return c.onRequest(f.stream)
}

// onRequest opens a stream, or ends one with its trailers.
func (c *Conn) onRequest(id uint32) *ConnError {
	switch {
	case id%2 == 0:
		return connError(ProtocolError, "a client's stream with an even number")
	case id <= c.lastID:
		if s := c.streams[id]; s != nil {
			return c.onTrailers(s)
		}
		return c.count(&c.guard.noise, "frames of streams that ended") // they may cross our RST_STREAM
	}
	c.lastID = id
	if c.wanted {
		c.announce()
	}
	if c.final || uint32(len(c.streams)) >= c.cfg.MaxStreams || c.running >= 2*c.cfg.MaxStreams {
		c.out = appendWord(c.out, frameRSTStream, id, uint32(RefusedStream))
		if err := c.control(); err != nil {
			return err
		}
		return c.count(&c.guard.resets, "streams beyond the limit")
	}
	s := c.newStream(id)
	if c.block.section.over {
		s.headErr = ErrHeadTooLarge
	} else if head, bad := c.block.section.request(); bad != nil {
		return c.refuse(s, bad)
	} else if s.head = head; head.ContentLength >= 0 {
		s.expect = head.ContentLength
	}
	c.guard.progress()
	if c.block.end && !s.ended() {
		return c.refuse(s, malformed("http2.content_length_mismatch"))
	}
	c.running++
	c.owned.Go(func() { c.serve(s) })
	return nil
}

// refuse resets a stream whose request cannot be read.
func (c *Conn) refuse(s *Stream, bad *StreamError) *ConnError {
	s.reset(bad.Code, bad)
	if c.cfg.Malformed != nil {
		c.calls = append(c.calls, func() { c.cfg.Malformed(bad) })
	}
	if err := c.control(); err != nil {
		return err
	}
	return c.count(&c.guard.resets, "malformed requests")
}

// serve runs the handler of one stream.
func (c *Conn) serve(s *Stream) {
	defer func() {
		fault := recover()
		if fault != nil && c.cfg.Fault == nil {
			panic(fault)
		}
		if fault != nil {
			c.cfg.Fault(fault)
			s.Reset(InternalError)
		}
		s.Close()
		c.mu.Lock()
		c.running--
		c.unlock()
	}()
	c.cfg.Handle(s)
}

// onAnswer takes an answer's head, interim or final, or its trailers.
func (c *Conn) onAnswer(id uint32) *ConnError {
	s := c.streams[id]
	switch {
	case id%2 == 0 || id > c.lastID:
		return connError(ProtocolError, "an answer to a stream that nobody opened")
	case s == nil:
		return c.count(&c.guard.noise, "frames of streams that ended")
	case s.answered:
		return c.onTrailers(s)
	}
	s.moved = time.Now()
	if c.block.section.over {
		return c.spoil(s, ErrHeadTooLarge)
	}
	head, bad := c.block.section.response()
	if bad == nil && head.Status < 200 && (c.block.end || s.interims == maxInterims) {
		bad = malformed("http2.invalid_interim_response")
	}
	if bad != nil {
		return c.spoil(s, bad)
	}
	s.heads = append(s.heads, head)
	if head.Status < 200 {
		s.interims++
		s.readable.Signal()
		return c.count(&c.guard.noise, "interim answers")
	}
	c.guard.progress()
	s.answered = true
	s.noBody = s.isHead || head.Status == 204 || head.Status == 304
	if head.ContentLength >= 0 && !s.noBody {
		s.expect = head.ContentLength
	}
	if c.block.end && !s.ended() {
		return c.spoil(s, malformed("http2.content_length_mismatch"))
	}
	s.readable.Signal()
	return nil
}

// onTrailers ends a stream's receiving side.
func (c *Conn) onTrailers(s *Stream) *ConnError {
	s.moved = time.Now()
	if s.recvEnd {
		return c.spoil(s, &StreamError{Code: StreamClosed, Detail: "http2.headers_after_end"})
	}
	if c.block.section.over {
		return c.spoil(s, ErrHeadTooLarge)
	}
	trailers, bad := c.block.section.trailers()
	if bad == nil && !c.block.end {
		bad = malformed("http2.trailers_without_end")
	}
	if bad != nil {
		return c.spoil(s, bad)
	}
	c.guard.progress()
	s.trailers = trailers
	if !s.ended() {
		return c.spoil(s, malformed("http2.content_length_mismatch"))
	}
	return nil
}

// spoil resets a stream on which the peer broke the rules.
func (c *Conn) spoil(s *Stream, bad *StreamError) *ConnError {
	s.reset(bad.Code, bad)
	if err := c.control(); err != nil {
		return err
	}
	if c.client { // there are no more of them than we asked for
		return nil
	}
	return c.count(&c.guard.resets, "malformed messages")
}

// count spends one of a budget.
func (c *Conn) count(b *bucket, what string) *ConnError {
	if b.take(time.Now()) {
		return nil
	}
	return connError(EnhanceYourCalm, "flood: "+what)
}
