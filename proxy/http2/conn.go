package http2

import (
	"bytes"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"
)

// Config is how a Conn behaves. Only Handle is required, and of a server only.
type Config struct {
	// Handle serves a request, on a goroutine of its own. It need not close the stream.
	Handle func(*Stream)
	// Malformed hears of a request that was refused before it became a stream.
	Malformed func(*StreamError)
	// Fault hears of a panic in Handle; nil lets it pass.
	Fault func(any)
	// Try writes what can be written without waiting. nil: a goroutine waits for
	// all writing, which TLS needs.
	Try func([]byte) (int, error)
	// Freed is called when a stream of a client connection has ended, and when the
	// connection takes no more of them.
	Freed func()
	// Take asks for room for so many bytes of bodies that came and have not gone on, and
	// GiveBack returns it; both nil: nothing but the streams' windows bounds them.
	Take     func(int64) bool
	GiveBack func(int64)
	// MaxStreams is how many requests may be under way; default 100.
	MaxStreams uint32
	// StreamIdle ends a stream on which nothing moved; default 5 min.
	StreamIdle time.Duration
	// Idle ends a server connection without a stream; default 1 h.
	Idle time.Duration
	// HeadTimeout bounds a frame or header section from its first byte to its
	// last; default 1 min.
	HeadTimeout time.Duration
	// Ping is how long after the peer's last answer a client connection asks by a PING
	// whether it is there; 0: never. Where it does not answer within PingTimeout the
	// connection ends.
	Ping, PingTimeout time.Duration
}

func (c *Config) defaults() {
	if c.MaxStreams == 0 {
		c.MaxStreams = 100
	}
	if c.StreamIdle == 0 {
		c.StreamIdle = 5 * time.Minute
	}
	if c.Idle == 0 {
		c.Idle = time.Hour
	}
	if c.HeadTimeout == 0 {
		c.HeadTimeout = time.Minute
	}
}

// Bounds of memory. Data of a stream that nobody takes stays within its window;
// the connection's window is given back at once, so that one such stream never
// stops the others.
const (
	streamWindow  = 64 << 10 // of a new stream
	fastWindow    = 1 << 20  // of one whose data is taken as fast as it comes
	growthBudget  = 4 << 20  // for all growth of windows on a connection
	connWindow    = 16 << 20
	maxPending    = 64 << 10  // written and not sent: data waits from here on
	maxBacklog    = 256 << 10 // the same with heads and control frames: the peer does not read
	maxBlock      = 64 << 10  // a header section, compressed
	maxBlockParts = 32        // its frames
	maxInterims   = 100       // 1xx answers to one request
)

// Conn is one HTTP/2 connection.
type Conn struct {
	nc     net.Conn
	cfg    Config
	client bool
	in     input  // used by the reader only
	block  header // likewise
	// greeted says that the peer's SETTINGS have come; likewise.
	greeted bool
	done    chan struct{} // closed when the connection has ended

	owned sync.WaitGroup // the goroutines of the connection, but for its reader

	mu      sync.Mutex
	err     error // why it ended
	ending  bool  // a GOAWAY was sent or received: no new streams
	deaf    bool  // the reader has ended: nothing is begun any more
	streams map[uint32]*Stream
	lastID  uint32 // the highest identifier in use
	running uint32 // handlers
	draining
	alive   keepAlive
	peer    settings
	told    bool // peer is what it said, not what is assumed
	guard   guard
	sweepAt time.Time
	calls   []func() // to be made once mu is free

	enc        *hpack.Encoder
	encoded    bytes.Buffer
	out, spare []byte
	rest       []byte // of a write that could not be finished at once
	writing    bool
	window     int64     // what we may send on the connection
	waiting    []*Stream // for that window, or for room in out

	received int64 // by the reader, not given back yet
	extra    int64 // of growthBudget in use
	writeBy  time.Time
	// idleSince is when the last stream ended.
	idleSince time.Time
}

func newConn(nc net.Conn, cfg Config, client bool) *Conn {
	cfg.defaults()
	now := time.Now()
	c := &Conn{
		nc: nc, cfg: cfg, client: client,
		done: make(chan struct{}), streams: map[uint32]*Stream{},
		peer: initialSettings, guard: newGuard(now), window: defaultWindow,
		sweepAt: now.Add(cfg.StreamIdle / 8), idleSince: now,
	}
	c.enc = hpack.NewEncoder(&c.encoded)
	c.block.begin(c)
	return c
}

// hello queues what this side says first.
func (c *Conn) hello() {
	if c.client {
		c.out = append(c.out, Preface...)
	}
	var p []byte
	if c.client {
		p = appendSetting(p, settingEnablePush, 0)
	} else {
		p = appendSetting(p, settingMaxStreams, c.cfg.MaxStreams)
	}
	p = appendSetting(p, settingInitialWindowSize, streamWindow)
	p = appendSetting(p, settingMaxHeaderListSize, maxHeadBytes)
	c.out = append(appendFrameHeader(c.out, frameSettings, 0, 0, len(p)), p...)
	c.out = appendWord(c.out, frameWindowUpdate, 0, connWindow-defaultWindow)
}

// unlock frees mu and makes the calls that piled up under it.
func (c *Conn) unlock() {
	calls := c.calls
	c.calls = nil
	c.mu.Unlock()
	for _, f := range calls {
		f()
	}
}

// end ends the connection and every stream on it. Called with mu held.
func (c *Conn) end(err error) {
	if c.err != nil {
		return
	}
	c.err, c.ending = err, true
	failure := err
	if bad, ok := err.(*ConnError); ok {
		c.out = appendGoAway(c.out, c.lastID, bad.Code, bad.Detail)
	} else if err != ErrClosed {
		failure = &ClosedError{Cause: err}
	}
	for _, s := range c.streams {
		s.fail(failure)
	}
	c.flush()
	if c.alive.timer != nil {
		c.alive.timer.Stop()
	}
	if c.late != nil {
		c.late.Stop()
	}
	c.nc.SetReadDeadline(longAgo) // wakes the reader
	close(c.done)
	if c.cfg.Freed != nil {
		c.calls = append(c.calls, c.cfg.Freed)
	}
}

// Close ends the connection at once.
func (c *Conn) Close() {
	c.mu.Lock()
	c.end(ErrClosed)
	c.unlock()
	c.nc.Close()
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// remove forgets a stream that has ended both ways. Called with mu held.
func (c *Conn) remove(s *Stream) {
	if c.streams[s.id] != s {
		return
	}
	delete(c.streams, s.id)
	c.extra -= s.target - streamWindow
	if len(c.streams) == 0 {
		c.idleSince = time.Now()
	}
	if c.client && c.cfg.Freed != nil {
		c.calls = append(c.calls, c.cfg.Freed)
	}
	c.drained()
}

// sweep ends the streams on which nothing has moved. Called with mu held.
func (c *Conn) sweep(now time.Time) {
	c.sweepAt = now.Add(c.cfg.StreamIdle / 8)
	for _, s := range c.streams {
		switch {
		case now.Sub(s.moved) <= c.cfg.StreamIdle:
		case s.onIdle != nil:
			c.calls = append(c.calls, s.onIdle)
			s.onIdle, s.moved = nil, now
		default:
			s.reset(Cancel, ErrIdle)
		}
	}
}
