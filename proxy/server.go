// Package proxy carries redirected connections to where a mesh.Snapshot sends
// them: HTTP by Host, TLS by server name, everything else by address.
//
// A connection's way through the files: acceptor.go ▸ original_dst.go ▸
// connection.go (match) ▸ lane_arrive.go (its first bytes) ▸ http.go | tls.go | tcp.go ▸ endpoint.go ▸
// upstream.go (pool, dial) ▸ tls_origination.go ▸ bytes.
//
// It parses no YAML and programs no rules. Every byte from either side is hostile.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-cni/sluice/internal/remedy"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/credential"
	"github.com/sluice-cni/sluice/proxy/dial"
	"github.com/sluice-cni/sluice/proxy/dns"
	"github.com/sluice-cni/sluice/proxy/loop"
	"github.com/sluice-cni/sluice/proxy/observed"
	"github.com/sluice-cni/sluice/proxy/relay"
)

// Config is what a Server needs. Only Listeners is required.
type Config struct {
	// Listeners receive redirected connections; Serve takes their sockets and closes them.
	Listeners []*net.TCPListener
	// Workload is who the connections come from, until Follow says otherwise; default
	// namespace "default".
	Workload mesh.Workload
	// Governed says whether policy applies to a destination; others are relayed
	// untouched. nil governs every destination.
	Governed func(netip.AddrPort) bool
	// Socket makes the sockets of connections to servers, and those that ask for routes, by
	// socket(2) in the workload's namespace: non-blocking and close-on-exec. It is called
	// on event loops, and so must not wait; default: sockets of this process's namespace.
	Socket func(domain, typ int) (fd int, err error)
	// Mark is the packet mark of the sockets of connections to servers; default none.
	Mark Mark
	// Dial opens connections to servers instead of Socket and Mark, without keep-alive
	// probes. All of them are then polled by Go, also those that the relay could serve.
	Dial func(ctx context.Context, dst netip.AddrPort) (*net.TCPConn, error)
	// OriginalDst says where the redirected connection of a socket, made by from, was
	// going; default SO_ORIGINAL_DST.
	OriginalDst func(fd int, from netip.AddrPort) (netip.AddrPort, error)
	// Resolver looks names up; default the machine's own configuration. Serve runs it;
	// servers may share one.
	Resolver *dns.Resolver
	// SharedResolver says that whoever made Resolver runs it.
	SharedResolver bool
	// Limits bound what the server holds at once.
	Limits Limits
	// RefuseTLS is what TLS connections must not be like.
	RefuseTLS RefuseTLS
	// Relay moves opaque bytes. Servers of one process may share one, which Serve
	// does not close; default one of the server's own.
	Relay *relay.Engine
	// AddressMismatch is what becomes of a request for a registered name, under
	// resolution NONE, that was sent to an address which is not the name's.
	AddressMismatch AddressMismatch
	// UnsafeRanges are addresses that DNS may not lead to, unless the ServiceEntry
	// lists them; nil: UnsafeRanges(). Endpoints that are written as addresses are not
	// judged.
	UnsafeRanges []netip.Prefix
	// HasIPv6 says whether there is a route to global IPv6 addresses; default: whether
	// sockets of Socket have one. It is asked seldom.
	HasIPv6 func() bool
	// Credentials has what TLS to servers is made from. Servers of one process may share
	// one; default one that knows files, but no credential by name.
	Credentials *credential.Store
	// Answers remembers what the workload's DNS was answered with; nil: nobody here
	// answers it.
	Answers Answers
	// NoVirtual says that nobody at all answers it, so that the workload is given no
	// virtual addresses: what is shown to people leaves them out.
	NoVirtual bool
	// AccessLog receives a line per request or connection, many in one Write; nil:
	// none. A Write may block or fail: lines are lost then, and traffic goes on.
	AccessLog       io.Writer
	AccessLogFormat AccessLogFormat
	// AccessLogs is AccessLog for servers that share one; who made it runs it. Its lines
	// name the pod too.
	AccessLogs *AccessLog
	// Observer is told what happens; nil: nobody is.
	Observer Observer
	// Observed has a row for each destination that the policy Observe lets through and
	// REGISTRY_ONLY would not; servers may share one. nil: nobody keeps them.
	Observed *observed.Table
	// Register is the command, for the hints in Log, that registers the ServiceEntry on
	// its standard input; default "sluice create -f -".
	Register string
	// RegisterIn is, in their place, what a person puts the ServiceEntry into where no
	// command does; "": Register does.
	RegisterIn string
	// Command is, for the hints in Log, how a person types a command line of sluice that
	// asks this server; default as it is where one proxy runs.
	Command func(words string) string
	// Log receives what an operator should read; nil: slog.Default().
	Log *slog.Logger
	// Loops are the event loops that serve usual HTTP/1.1 connections; default those
	// that all servers of the process share.
	Loops *loop.Group
	// StreamIdleTimeout ends a request of which, and of whose answer, not a byte has
	// moved for so long: 408 where the request is not whole, else 504; an answer that
	// has begun is cut. Default 5 min, Envoy's.
	StreamIdleTimeout time.Duration
	// DrainTimeout bounds how long Serve waits for requests under way after its
	// context ends; default 45 s, Envoy's.
	DrainTimeout time.Duration
	// HandsOver says that another server has the same listeners and goes on accepting once
	// this one's context has ended. Then nothing is hurried: connections that wait for
	// their next request are closed one by one over the first half of DrainTimeout, so that
	// their applications do not all come back at once, and delays and back-offs go on.
	HandsOver bool
	// Unable is told when nothing can be accepted any more, before Serve drains and returns
	// that error; nil: nobody is. It must not block for long.
	Unable func(error)
}

// AddressMismatch says what becomes of a request for a registered name that was
// sent elsewhere. A connection without a name (opaque TCP) is refused either way.
type AddressMismatch uint8

const (
	// MismatchRedirect sends it to an address of the name.
	MismatchRedirect AddressMismatch = iota
	// MismatchRefuse refuses it: 502 for HTTP, a reset for TLS.
	MismatchRefuse
)

// Limits that no setting changes yet.
const (
	defaultConnectTimeout = 10 * time.Second       // connectionPool.tcp.connectTimeout
	idleTimeout           = time.Hour              // a connection between two requests
	headTimeout           = time.Minute            // from a head's first byte to its last
	sniffTimeout          = 100 * time.Millisecond // a silent client may be waiting for a server that speaks first
	patientSniffTimeout   = 5 * time.Second        // the same where HTTP or TLS is declared but other bytes may pass
	helloTimeout          = 10 * time.Second       // from a ClientHello's first byte to its last
)

// Server serves one workload's outbound connections.
type Server struct {
	cfg      Config
	log      *slog.Logger
	access   *accessPart // nil: none
	state    atomic.Pointer[state]
	workload atomic.Pointer[mesh.Workload]
	pools    *pools
	relay    *relay.Engine
	ownConn  ownConns

	dialer      dialer
	dialsPolled bool // Config.Dial makes the connections
	notices     *notices
	ipv6        remembered

	descriptors claim  // a connection's, on either side
	connects    budget // upstream connections that may be begun
	memory      budget
	streams     budget        // HTTP/2 requests under way
	bodies      budget        // bytes of theirs that cannot go on
	kept        budget        // bytes of theirs that are kept to be sent again
	shedding    chan struct{} // as many as are read before they are refused
	relieving   chan struct{} // as many as wait for connections of ours to give way
	spare       *spare

	life context.Context // ends when what is left is cut
	kill context.CancelFunc

	mu       sync.Mutex
	conns    map[*connection]struct{}
	draining atomic.Bool
	drained  drainTimes    // once draining
	stopping chan struct{} // closed when nothing is to be waited for any more
	cutting  chan struct{} // closed by Cut
	cut      func()
	serving  atomic.Bool
	handlers sync.WaitGroup
	failed   chan error // the first of a listener's

	lanes    []*lane
	nextLane atomic.Uint32
	patience patience
	draw     func() float64 // of [0, 1), for back-off; tests have another
	eager    bool           // tests: a connection goes back to a lane however often it has left one
}

// New checks cfg. The server refuses everything until the first Update.
func New(cfg Config) (*Server, error) {
	if len(cfg.Listeners) == 0 {
		return nil, errors.New("proxy: no listener given; open one on the proxy's port")
	}
	if cfg.AccessLog != nil && cfg.AccessLogs != nil {
		return nil, errors.New("proxy: AccessLog and AccessLogs are both given; leave one out")
	}
	cfg.Workload = named(cfg.Workload)
	if cfg.OriginalDst == nil {
		cfg.OriginalDst = originalDst
	}
	if cfg.Resolver == nil {
		cfg.Resolver = dns.New(dns.Config{})
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Credentials == nil {
		cfg.Credentials = credential.NewStore(nil, cfg.Log)
	}
	if cfg.Register == "" {
		cfg.Register = "sluice create -f -"
	}
	if cfg.Command == nil {
		cfg.Command = remedy.Here().Sluice
	}
	if cfg.Loops == nil {
		cfg.Loops = &processLoops
	}
	if cfg.StreamIdleTimeout == 0 {
		cfg.StreamIdleTimeout = 5 * time.Minute
	}
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = 45 * time.Second
	}
	if cfg.UnsafeRanges == nil {
		cfg.UnsafeRanges = UnsafeRanges()
	}
	if cfg.HasIPv6 == nil {
		cfg.HasIPv6 = func() bool { return dial.Sockets(cfg.Socket).Routes(globalIPv6) }
	}
	s := &Server{cfg: cfg, log: cfg.Log, relay: cfg.Relay, conns: map[*connection]struct{}{}, draw: rand.Float64,
		patience: patience{min(lookEvery, cfg.StreamIdleTimeout/8), halfClosedFor, idleTimeout, sniffTimeout}}
	if s.relay == nil {
		s.relay = relay.New(relay.Config{}) // its loops begin with its first connection
	}
	s.workload.Store(&s.cfg.Workload)
	s.cfg.Limits = cfg.Limits.withDefaults()
	s.connects.left.Store(int64(s.cfg.Limits.Connects))
	s.memory.left.Store(s.cfg.Limits.Memory)
	s.streams.left.Store(int64(s.cfg.Limits.Streams))
	s.bodies.left.Store(s.cfg.Limits.Bodies / 2)
	s.kept.left.Store(s.cfg.Limits.Bodies / 2)
	shedding := shedders
	if share := cfg.Limits.Share; share != nil {
		shedding = shedders / 8
		s.descriptors, s.spare = share.ofDescriptors(), share.of.spare
		memory := claim{&share.of.memory, &share.memory}
		s.memory.claim, s.bodies.claim, s.kept.claim = memory, memory, memory
	}
	s.failed, s.shedding, s.stopping = make(chan error, 1), make(chan struct{}, shedding), make(chan struct{})
	s.relieving = make(chan struct{}, relievers)
	s.cutting = make(chan struct{})
	s.cut = sync.OnceFunc(func() { close(s.cutting) })
	s.life, s.kill = context.WithCancel(context.Background())
	s.dialer = dialer{cfg.Socket, cfg.Mark, &s.ownConn}
	s.dialsPolled = cfg.Dial != nil
	if !s.dialsPolled {
		s.cfg.Dial = s.dialer.polled
	}
	s.ipv6.ask = cfg.HasIPv6
	s.pools = newPools(s)
	if cfg.Limits.Share != nil {
		cfg.Limits.Share.server.Store(s)
	}
	s.notices = newNotices(s.log)
	logs := cfg.AccessLogs
	if cfg.AccessLog != nil {
		logs = NewAccessLog(cfg.AccessLog, cfg.AccessLogFormat, s.log)
	}
	if logs != nil {
		s.access = logs.join(cfg.AccessLogs != nil, func(lines int64) {
			s.observe(Event{Kind: LogLinesLost, Count: lines})
		})
	}
	return s, nil
}

// Serve accepts connections until ctx ends, then stops accepting, serves whom it has
// accepted within DrainTimeout, cuts what is left, and returns nil. It returns an error
// when a listener fails. A listener that another process has too is left as it is.
func (s *Server) Serve(ctx context.Context) error {
	var background sync.WaitGroup
	acceptors, err := s.takeListeners()
	if err == nil {
		err = s.openLanes()
	}
	if err != nil {
		if acceptors != nil {
			s.closeListeners(acceptors)
		}
		return fmt.Errorf("proxy: %w", err)
	}
	for _, a := range acceptors {
		a.open(s.lanes)
	}
	housekeeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	chores := []*chore{s.pools.sweeping, s.pools.crowd.thinning, s.notices.sums}
	for _, c := range chores {
		c.open(housekeeping, &background)
	}
	if !s.cfg.SharedResolver {
		background.Go(func() { s.cfg.Resolver.Run(housekeeping) })
	}
	if s.cfg.AccessLog != nil {
		background.Go(func() { s.access.in.Run(housekeeping) })
	}
	s.serving.Store(true)
	select {
	case <-ctx.Done():
	case <-s.cutting:
	case err = <-s.failed:
		if s.cfg.Unable != nil {
			s.cfg.Unable(err)
		}
	}
	s.closeListeners(acceptors)
	s.drain()
	s.closeLanes()
	stop()
	for _, c := range chores {
		c.close()
	}
	background.Wait()
	s.notices.end()
	s.pools.close()
	if s.cfg.Relay == nil {
		s.relay.Close()
	}
	return err
}

// run is a goroutine's life with a connection. It closes it whatever happened on
// it, unless it was handed over or goes to a lane: a fault in one must not take the
// others down. It says whether the goroutine still runs an event loop.
func (s *Server) run(c *connection, serve func()) (loops bool) {
	parked := false
	defer func() {
		if fault := recover(); fault != nil {
			c.mayWait() // for the log
			c.failed(fault)
		}
		if !parked && !c.handed {
			c.in.release() // before its end can be seen: who opens another has the room
			c.closeSocket()
			s.forget(c)
		}
	}()
	for {
		serve()
		at := c.at
		c.at, loops = nil, at != nil // before another goroutine can have the connection
		if parked = s.park(c, at); parked || !c.stays {
			return loops
		}
		c.stays = false
		serve = c.serveHTTP
	}
}

// forget is a connection's last step.
func (s *Server) forget(c *connection) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.descriptors.giveBack(1)
	s.observe(Event{Kind: ConnectionEnded})
	s.handlers.Done()
}

func (s *Server) each(f func(*connection)) {
	s.mu.Lock()
	all := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, c := range all { // without the lock: a connection that is cut forgets itself
		f(c)
	}
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)
