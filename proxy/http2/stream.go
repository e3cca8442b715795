package http2

import (
	"io"
	"sync"
	"time"
)

// Stream is one request and its answer. One goroutine may take what comes in
// while another writes. What it returns as data is the caller's until it is
// given back to Take.
type Stream struct {
	conn *Conn
	id   uint32

	// All that follows is guarded by conn.mu.

	head     Head // a server's request
	headErr  *StreamError
	heads    []Head // a client's answers that were not read yet
	answered bool   // the final one has come
	interims int
	isHead   bool
	noBody   bool
	expect   int64 // bytes that Content-Length still promises; -1: none were
	data     []byte
	trailers []Field

	recvEnd, sendEnd bool
	recvErr, sendErr error
	interrupted      bool
	onFail, onIdle   func()

	held                    int64 // bytes of Config.Take
	window, target, unacked int64 // of what the peer may send
	sendWindow              int64
	begun, moved            time.Time
	queued                  bool // in conn.waiting
	early                   bool // it was opened before the peer's settings were known
	readable, writable      sync.Cond
}

// newStream opens a stream. Called with mu held.
func (c *Conn) newStream(id uint32) *Stream {
	now := time.Now()
	s := &Stream{conn: c, id: id, expect: -1, window: streamWindow, target: streamWindow, sendWindow: c.peer.window, begun: now, moved: now, early: !c.told}
	s.readable.L, s.writable.L = &c.mu, &c.mu
	c.streams[id] = s
	return s
}

// First says that no stream was opened on the connection before this one.
func (s *Stream) First() bool { return s.id <= 1 }

// Head is the request. Where HeadError is not nil there is none, and the request
// can only be answered.
func (s *Stream) Head() *Head { return &s.head }

// HeadError says that the request's header section was beyond the limits.
func (s *Stream) HeadError() *StreamError { return s.headErr }

// OnFail has f called, once and without locks, when the stream ends before both
// sides have finished: what is done on its behalf elsewhere is to be given up. f
// is called at once when it already has.
func (s *Stream) OnFail(f func()) {
	s.conn.mu.Lock()
	defer s.conn.unlock()
	s.onFail = f
	if f != nil && s.err() != nil {
		s.conn.calls = append(s.conn.calls, f)
		s.onFail = nil
	}
}

// OnIdle has f called, once and without locks, instead of a reset when nothing
// has moved on the stream for too long; nil has it reset.
func (s *Stream) OnIdle(f func()) {
	s.conn.mu.Lock()
	defer s.conn.unlock()
	s.onIdle = f
}

func (s *Stream) err() error {
	if s.recvErr != nil {
		return s.recvErr
	}
	return s.sendErr
}

// Err says why the stream was ended early, nil where it was not.
func (s *Stream) Err() error {
	s.conn.mu.Lock()
	defer s.conn.unlock()
	return s.err()
}

// ReadHead waits for the answer's next head, interim or final, at a client.
func (s *Stream) ReadHead() (Head, error) {
	s.conn.mu.Lock()
	defer s.conn.unlock()
	for len(s.heads) == 0 {
		if s.recvErr != nil {
			return Head{}, s.recvErr
		}
		s.readable.Wait()
	}
	h := s.heads[0]
	s.heads = s.heads[1:]
	return h, nil
}

// Take waits for data and returns all that is here; spare takes its place, and is the
// caller's no longer whatever comes of it. last
// says that the body ends with it and that no trailers follow. The error is io.EOF
// at the end of a body that was not marked so, when Trailers has what followed it.
// The peer sends more once Consumed tells that the data has gone on.
func (s *Stream) Take(spare []byte) (data []byte, last bool, err error) {
	s.conn.mu.Lock()
	defer s.conn.unlock()
	for {
		switch {
		case s.recvErr != nil:
			Recycle(spare)
			return nil, false, s.recvErr
		case s.interrupted:
			Recycle(spare)
			return nil, false, ErrInterrupted
		case len(s.data) > 0:
			data, s.data = s.data, spare[:0]
			return data, s.recvEnd && len(s.trailers) == 0, nil
		case s.recvEnd:
			Recycle(spare)
			return nil, false, io.EOF
		}
		spare = s.slim(spare)
		s.readable.Wait()
	}
}

// slim gives large buffers back before a wait, which may be long: they are what a body
// grew while it could not go on.
func (s *Stream) slim(spare []byte) []byte {
	if cap(s.data) > bufferSize && len(s.data) == 0 {
		Recycle(s.data)
		s.data = nil
	}
	if cap(spare) > bufferSize {
		Recycle(spare)
		return nil
	}
	return spare
}

// Ready says whether Take would return at once.
func (s *Stream) Ready() bool {
	s.conn.mu.Lock()
	defer s.conn.unlock()
	return len(s.data) > 0 || s.recvEnd || s.recvErr != nil
}

// Whole says whether all of the message is here.
func (s *Stream) Whole() bool {
	s.conn.mu.Lock()
	defer s.conn.unlock()
	return s.recvEnd
}

// Over says whether the message has ended without a body or trailers to take.
func (s *Stream) Over() bool {
	s.conn.mu.Lock()
	defer s.conn.unlock()
	return s.recvEnd && len(s.data) == 0 && len(s.trailers) == 0
}

// Interrupt makes Take return ErrInterrupted until Resume.
func (s *Stream) Interrupt() {
	s.conn.mu.Lock()
	defer s.conn.unlock()
	s.interrupted = true
	s.readable.Signal()
}

// Resume lifts Interrupt.
func (s *Stream) Resume() {
	s.conn.mu.Lock()
	defer s.conn.unlock()
	s.interrupted = false
}

// Trailers are the fields after the body, once Take has returned io.EOF.
func (s *Stream) Trailers() []Field { return s.trailers }

// Consumed lets the peer send n bytes more.
func (s *Stream) Consumed(n int) {
	s.conn.mu.Lock()
	defer s.conn.unlock()
	s.giveBack(int64(n))
	s.consumed(int64(n))
	s.conn.flush()
}

func (s *Stream) consumed(n int64) {
	c := s.conn
	s.unacked += n
	if s.recvEnd || s.recvErr != nil || s.unacked < s.target/2 {
		return
	}
	// A stream whose data goes on as fast as it comes earns a larger window.
	if len(s.data) == 0 && s.target < fastWindow && c.extra+s.target <= growthBudget {
		s.unacked += s.target
		c.extra += s.target
		s.target *= 2
	}
	c.out = appendWord(c.out, frameWindowUpdate, s.id, uint32(s.unacked))
	s.window += s.unacked
	s.unacked = 0
}

// WriteHead sends a header section: a request's or answer's, pseudo-header fields
// first, or the trailers. It is on its way after Flush.
func (s *Stream) WriteHead(fields []Field, end bool) error {
	c := s.conn
	c.mu.Lock()
	defer c.unlock()
	if err := s.await(0); err != nil {
		return err
	}
	s.writeHead(fields, end)
	return nil
}

func (s *Stream) writeHead(fields []Field, end bool) {
	c := s.conn
	c.encoded.Reset()
	for i := range fields {
		c.enc.WriteField(fields[i])
	}
	c.out = appendHeaders(c.out, s.id, c.encoded.Bytes(), end, maxFrame)
	s.moved = time.Now()
	if end {
		s.sent()
	}
}

// Write sends data, waiting while the peer takes no more. It is on its way after
// Flush, or before when it had to wait.
func (s *Stream) Write(data []byte, end bool) error {
	c := s.conn
	c.mu.Lock()
	defer c.unlock()
	for {
		if err := s.await(len(data)); err != nil {
			return err
		}
		n := min(int64(len(data)), maxFrame, s.sendWindow, c.window)
		last := n == int64(len(data))
		flags := uint8(0)
		if last && end {
			flags = flagEndStream
		}
		c.out = append(appendFrameHeader(c.out, frameData, flags, s.id, int(n)), data[:n]...)
		c.window -= n
		s.sendWindow -= n
		data = data[n:]
		s.moved = time.Now()
		c.guard.progress()
		if last && end {
			s.sent()
		}
		if last {
			return nil
		}
	}
}

// await waits until n bytes, or some of them, may be written.
func (s *Stream) await(n int) error {
	c := s.conn
	for {
		switch {
		case s.sendErr != nil:
			return s.sendErr
		case s.sendEnd:
			return errSendEnded
		case !s.blocked(n):
			return nil
		}
		c.flush() // may free mu
		if s.sendErr == nil && s.blocked(n) {
			if !s.queued {
				s.queued = true
				c.waiting = append(c.waiting, s)
			}
			s.writable.Wait()
		}
	}
}

var errSendEnded = &StreamError{Code: InternalError, Detail: "written after the end"}

func (s *Stream) blocked(n int) bool {
	c := s.conn
	return len(c.out)+len(c.rest) >= maxPending || n > 0 && (s.sendWindow <= 0 || c.window <= 0)
}

// Flush sends what was written.
func (s *Stream) Flush() {
	s.conn.mu.Lock()
	defer s.conn.unlock()
	s.conn.flush()
}

// Reset ends the stream early, both ways.
func (s *Stream) Reset(code ErrCode) {
	s.conn.mu.Lock()
	defer s.conn.unlock()
	s.reset(code, &StreamError{Code: code, Detail: "given up"})
	s.conn.flush()
}

// Close ends the use of a stream; one that has not finished is reset. A server
// that has answered needs no more of the request.
func (s *Stream) Close() {
	c := s.conn
	c.mu.Lock()
	defer c.unlock()
	s.onFail, s.onIdle = nil, nil
	switch {
	case s.recvErr != nil || s.sendErr != nil || s.recvEnd && s.sendEnd:
	case s.sendEnd && !c.client:
		s.reset(NoError, errSendEnded)
	default:
		s.reset(Cancel, errSendEnded)
	}
	if cap(s.data) > 0 {
		Recycle(s.data)
		s.data = nil
	}
	s.giveBack(s.held)
	c.flush()
}

// sent marks the end of what we send.
func (s *Stream) sent() {
	s.sendEnd = true
	if s.recvEnd {
		s.finish()
	}
}

// ended marks the end of what the peer sends, and says whether it was all.
func (s *Stream) ended() bool {
	if s.expect > 0 {
		return false
	}
	s.recvEnd = true
	s.readable.Signal()
	if s.sendEnd {
		s.finish()
	}
	return true
}

func (s *Stream) finish() {
	s.conn.guard.finished()
	s.conn.remove(s)
}

// stopSending is a peer that has answered and wants no more of the request.
func (s *Stream) stopSending() {
	if s.sendErr == nil && !s.sendEnd {
		s.sendErr = &StreamError{Code: NoError, Remote: true}
		s.writable.Signal()
	}
	s.conn.remove(s)
}

// fail ends the stream both ways. Called with mu held, as all that follows.
func (s *Stream) fail(err error) {
	if s.conn.streams[s.id] != s {
		return
	}
	if !s.recvEnd && s.recvErr == nil {
		s.recvErr = err
	}
	if s.sendErr == nil {
		s.sendErr = err
	}
	s.readable.Signal()
	s.writable.Signal()
	if s.onFail != nil {
		s.conn.calls = append(s.conn.calls, s.onFail)
		s.onFail = nil
	}
	s.conn.remove(s)
}

func (s *Stream) reset(code ErrCode, err error) {
	if s.conn.streams[s.id] != s {
		return
	}
	s.conn.out = appendWord(s.conn.out, frameRSTStream, s.id, uint32(code))
	s.fail(err)
}

// giveBack returns room for n bytes.
func (s *Stream) giveBack(n int64) {
	if n = min(n, s.held); n > 0 {
		s.held -= n
		s.conn.cfg.GiveBack(n)
	}
}

// store keeps data until it is taken, and says whether there was room for it.
func (s *Stream) store(p []byte) bool {
	if len(p) == 0 {
		return true
	}
	if take := s.conn.cfg.Take; take != nil {
		if !take(int64(len(p))) {
			return false
		}
		s.held += int64(len(p))
	}
	if s.data == nil {
		s.data = Buffer()
	}
	s.data = append(s.data, p...)
	return true
}

// Buffers between a peer's data and Take.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, bufferSize); return &b }}

const bufferSize = 4 << 10

// Buffer is an empty buffer for Take.
func Buffer() []byte { return *buffers.Get().(*[]byte) }

// Recycle gives a buffer back.
func Recycle(b []byte) {
	if cap(b) > 0 && cap(b) <= streamWindow {
		b = b[:0]
		buffers.Put(&b)
	}
}
