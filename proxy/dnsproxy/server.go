package dnsproxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/dns"
)

// Config is what a Server needs. Packets, Streams or both are required.
type Config struct {
	// Packets and Streams receive captured queries; Serve closes them. Answers leave
	// from the address that a query came to, whatever a socket is bound to.
	Packets []*net.UDPConn
	Streams []*net.TCPListener
	// Workload is who asks; default namespace "default".
	Workload mesh.Workload
	// Policy says what becomes of names that nothing registers.
	Policy Policy
	// Allow lists names that RegistryOnly lets through, each with all below it;
	// lower case, without trailing dot. The cluster's own are let through anyway.
	Allow []string
	// ResolvConf says whom to ask, and the search domains that the workload has;
	// default /etc/resolv.conf.
	ResolvConf string
	// Resolvers says it instead of the file that ResolvConf names.
	Resolvers *dns.ResolvConf
	// Socket makes the sockets that ask a server, and for routes, as proxy.Config's does;
	// default: sockets of this process's namespace.
	Socket func(domain, typ int) (fd int, err error)
	// Exchange asks a server; default dns.ThroughSockets(Socket).
	Exchange dns.Exchange
	// Reachable says in which families the workload can reach virtual addresses; default:
	// those in which sockets of Socket have a route to them.
	Reachable func() (ipv4, ipv6 bool)
	// Observe is told of every query once it has its answer; nil: nobody is.
	// It must not block.
	Observe func(Event)
	// Limits bound what the server holds at once.
	Limits Limits
	// Descriptors are asked for one for each question to the resolvers and each TCP
	// connection, as a proxy.Share is; nil: Limits alone bound them.
	Descriptors Descriptors
	// DrainTimeout bounds how long Serve goes on with the queries it has received after its
	// context ends; default 5 s, after which a client asks again.
	DrainTimeout time.Duration
	// Log receives what an operator should read; nil: slog.Default().
	Log *slog.Logger
}

// Descriptors are what several servers have together.
type Descriptors interface {
	// Take is for a TCP connection. It reports false where none is to be had. It may wait,
	// until ctx ends.
	Take(ctx context.Context) bool
	GiveBack()
	// Ask is for a question to the resolvers, which soon has its answer and calls giveBack.
	// It waits where none is to be had, and reports false when ctx ends.
	Ask(ctx context.Context) (giveBack func(), ok bool)
}

// asMany are the Descriptors of a server that is alone.
type asMany struct{}

func (asMany) Take(context.Context) bool { return true }
func (asMany) GiveBack()                 {}

func (asMany) Ask(context.Context) (giveBack func(), ok bool) { return func() {}, true }

// Policy says what becomes of names that nothing registers.
type Policy uint8

const (
	// Forward asks the resolvers for every name. It is the default: what a name leads
	// to may be outside the captured ranges, where nothing is refused.
	Forward Policy = iota
	// RegistryOnly answers that they do not exist, wherever the outbound policy is
	// REGISTRY_ONLY too, so that a name carries nothing out.
	RegistryOnly
)

// How long an answer is waited for.
const (
	patience         = 5 * time.Second
	patienceForFresh = 500 * time.Millisecond // where a stale answer is at hand
	patienceInDoubt  = time.Second            // whether a name exists that a registered one would answer
)

// Server answers one workload's queries.
type Server struct {
	cfg       Config
	log       *slog.Logger
	view      atomic.Pointer[mesh.View]
	workload  atomic.Pointer[mesh.Workload] // as the newest Follow had it
	cache     *cache
	given     given
	preferred atomic.Uint32 // the resolver that answered last
	asking    chan struct{}
	waiting   shares
	streams   shares
	refused   occasionally
	silent    occasionally

	life     context.Context // of questions to the resolvers, which outlive whoever asked
	end      context.CancelFunc
	lookups  sync.WaitGroup
	handlers sync.WaitGroup
}

// New checks cfg. The server fails every query until the first Update.
func New(cfg Config) (*Server, error) {
	if len(cfg.Packets)+len(cfg.Streams) == 0 {
		return nil, errors.New("dnsproxy: no socket given; open them on the rules' dnsPort")
	}
	if cfg.Exchange == nil {
		cfg.Exchange = dns.ThroughSockets(cfg.Socket)
	}
	if cfg.Reachable == nil {
		cfg.Reachable = (&routes{sockets: cfg.Socket}).reachable
	}
	if cfg.Resolvers == nil {
		cfg.Resolvers = dns.NewResolvConf(cfg.ResolvConf)
	}
	if cfg.Observe == nil {
		cfg.Observe = func(Event) {}
	}
	if cfg.Descriptors == nil {
		cfg.Descriptors = asMany{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = patience
	}
	cfg.Limits = cfg.Limits.withDefaults()
	l := cfg.Limits
	s := &Server{
		cfg: cfg, log: cfg.Log,
		cache:   newCache(l.Entries, l.Bytes),
		given:   given{most: l.Names},
		asking:  make(chan struct{}, l.Asking),
		waiting: shares{most: l.Waiting, each: max(1, l.Waiting/2)},
		streams: shares{most: l.Streams, each: max(1, l.Streams/2)},
	}
	s.workload.Store(&cfg.Workload)
	s.life, s.end = context.WithCancel(context.Background())
	return s, nil
}

// Update puts a snapshot in force for queries that arrive from now on. The proxy
// must have it first: an answer may be used at once.
func (s *Server) Update(snapshot *mesh.Snapshot) { s.Follow(snapshot, *s.workload.Load()) }

// Follow is Update for a workload that is not as it was: proxy.Server.Follow.
func (s *Server) Follow(snapshot *mesh.Snapshot, workload mesh.Workload) {
	s.workload.Store(&workload)
	s.view.Store(snapshot.View(workload))
}

// Gave reports whether a name was answered with an address, lately enough that the
// workload may still be using it. It implements proxy.Answers.
func (s *Server) Gave(name string, addr netip.Addr) bool { return s.given.has(name, addr, time.Now()) }

// Serve answers until ctx ends, or until a socket has failed for a second. Then it receives
// nothing more, answers what it has received within DrainTimeout, and closes the sockets;
// one that another process has too goes on there. It returns nil where ctx ended it.
func (s *Server) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer s.close()
	failed := make(chan error, len(s.cfg.Packets)+len(s.cfg.Streams))
	var receiving sync.WaitGroup
	for _, c := range s.cfg.Packets {
		receiving.Go(func() { failed <- s.servePackets(ctx, c) })
	}
	for _, l := range s.cfg.Streams {
		receiving.Go(func() { failed <- s.serveStreams(ctx, l) })
	}
	var err error
	select {
	case <-ctx.Done():
	case <-s.life.Done():
	case err = <-failed:
	}
	cancel()
	receiving.Wait()
	late := time.AfterFunc(s.cfg.DrainTimeout, s.end)
	defer late.Stop()
	s.handlers.Wait()
	s.end()
	s.lookups.Wait()
	return err
}

// Cut ends Serve as if DrainTimeout were over. It does not wait for that.
func (s *Server) Cut() { s.end() }

func (s *Server) close() {
	for _, c := range s.cfg.Packets {
		c.Close()
	}
	for _, l := range s.cfg.Streams {
		l.Close()
	}
}

// Event is what became of one query. Its texts are constants, out of a fixed few each.
type Event struct {
	Transport string // "udp" or "tcp"
	Type      string // "A", "AAAA", …, "other"; "" where the query is Malformed
	Source    Source
	Rcode     string        // "NOERROR", "NXDOMAIN", …, "other"
	Duration  time.Duration // from reading the query to its answer; 0 where it is Malformed
}

// Source is where an answer came from.
type Source string

const (
	FromRegistry Source = "registry" // a registered name, or a virtual address's
	FromCache    Source = "cache"
	FromUpstream Source = "upstream"
	FromStale    Source = "stale"     // an expired answer, since the resolvers are silent or failing
	Refused      Source = "refused"   // by policy
	Failed       Source = "failed"    // no resolver answered
	Malformed    Source = "malformed" // or of a kind that is not served, as a zone transfer is
	Shed         Source = "shed"      // beyond a limit
)
