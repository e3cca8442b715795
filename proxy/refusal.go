package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/vip"
)

// Refusal is why something was not let through, as logs and metrics name it.
type Refusal string

// The refusals.
const (
	Unregistered     Refusal = "unregistered"               // no resource registers it, under REGISTRY_ONLY
	NotItsAddress    Refusal = "not_an_address_of_the_name" // the name is registered, the destination is not its own
	UnsafeAddress    Refusal = "unsafe_address"             // DNS leads the registered name to where no name may lead
	NoServerName     Refusal = "no_sni"                     // TLS without a server name where one is demanded
	HiddenServerName Refusal = "ech"                        // an encrypted server name where that is refused
	Loop             Refusal = "loop"                       // the proxy's own connection, sent back to it
	Malformed        Refusal = "malformed"                  // bytes with no single reading
	Overloaded       Refusal = "overloaded"                 // a limit was reached
	Unresolved       Refusal = "dns"                        // the registered name has no address
	Unconfigured     Refusal = "no_configuration"           // nothing is in force yet
)

// Refusals lists every Refusal.
var Refusals = []Refusal{
	Unregistered, NotItsAddress, UnsafeAddress, NoServerName, HiddenServerName, Loop, Malformed,
	Overloaded, Unresolved, Unconfigured,
}

// refusalText is how a refusal is logged.
type refusalText struct {
	level         slog.Level
	message, hint string
}

var refusalTexts = map[Refusal]refusalText{
	Unregistered: {slog.LevelInfo, "refused: not registered",
		"register it with a ServiceEntry for this host and port, or set --outbound-policy ALLOW_ANY"},
	NotItsAddress: {slog.LevelInfo, "refused: the destination is not an address of the registered name",
		"list the address under spec.addresses of the ServiceEntry if it belongs to the service"},
	UnsafeAddress: {slog.LevelWarn, "refused: DNS leads the registered name to an unsafe address",
		"list the address under spec.addresses of the ServiceEntry if the service is really there; --unsafe-ranges says which are unsafe"},
	NoServerName: {slog.LevelInfo, "refused: TLS without a server name",
		"let the client send one (SNI), or register the address under spec.addresses"},
	HiddenServerName: {slog.LevelInfo, "refused: TLS with an encrypted server name (ECH)",
		"turn ECH off in the client"},
	Loop: {slog.LevelError, "refused: the proxy's own connection was redirected back to it",
		"exempt the proxy in the rules (exemptUIDs, exemptGIDs or exemptMark)"},
	Malformed: {slog.LevelInfo, "refused: the bytes have no single reading",
		"the details say what is wrong with them; a port that carries another protocol is declared TCP"},
	Overloaded: {slog.LevelWarn, "refused: a limit was reached",
		"the details say which"},
	Unresolved: {slog.LevelWarn, "refused: the registered name has no address",
		"try the name with the resolvers in the proxy's resolv.conf"},
	Unconfigured: {slog.LevelWarn, "refused: no configuration yet", ""},
}

// judge names the refusal that an entry amounts to, where nobody has.
func (e *entry) judge() {
	switch {
	case e.refusal != "":
	case e.cluster == blackHole:
		e.refusal = Unregistered
	case e.failure == nil:
	case errors.Is(e.failure, errNotItsName):
		e.refusal = NotItsAddress
	case errors.Is(e.failure, errUnsafe):
		e.refusal = UnsafeAddress
	case errors.Is(e.failure, errNoEndpoint) && e.failure != errNoEndpoint:
		e.refusal = Unresolved
	}
}

// tell logs what an operator must see.
func (s *Server) tell(e *entry) {
	e.judge()
	switch {
	case e.refusal != "":
		s.observe(Event{Kind: Refused, Refusal: e.refusal})
		name := s.asked(e)
		if e.refusal == Malformed {
			name = "" // whatever stands there is not to be trusted as one
		}
		s.say(e, noticeKey{string(e.refusal), clip(name, maxNoticeName), e.destination.Port()}, func() notice {
			return s.refusalNotice(e)
		})
	case e.redirected():
		s.say(e, noticeKey{"redirected", clip(e.host(), maxNoticeName), e.destination.Port()}, func() notice {
			return notice{level: slog.LevelInfo, message: "redirected: the destination is not an address of the registered name",
				about: append(s.about(e), "cluster", e.clusterName(), "upstream", e.upstreamHost)}
		})
	case e.cluster != nil && e.cluster.Unknown:
		s.say(e, noticeKey{"unknown", e.clusterName(), e.destination.Port()}, func() notice {
			return notice{level: slog.LevelWarn, message: "refused: the route leads to what nobody registers",
				about: append(s.about(e), "cluster", e.clusterName(), "details", e.details, "hint", unknownHint(e.cluster))}
		})
	case e.failure != nil:
		s.say(e, noticeKey{"upstream", e.clusterName(), e.destination.Port()}, func() notice {
			about := append(s.about(e), "cluster", e.clusterName(), "upstream", e.upstreamHost, "error", e.failure)
			hint := s.hint(e.failure, e.cluster)
			return notice{level: slog.LevelWarn, message: "upstream failed", about: withHint(about, hint)}
		})
	}
}

// say is notices.say, or sayLater on an event loop.
func (s *Server) say(e *entry, key noticeKey, describe func() notice) {
	if e.hurried {
		s.notices.sayLater(key, describe)
		return
	}
	s.notices.say(key, describe)
}

// redirected says that a connection went to its name's address instead of the one it
// was aimed at, which resolution NONE would have taken.
func (e *entry) redirected() bool {
	return e.failure == nil && e.cluster != nil && e.cluster.Resolution == mesh.ResolveNone && e.cluster != passthrough &&
		e.cluster != ungoverned && e.upstreamHost.IsValid() && e.upstreamHost.Addr() != e.destination.Addr() && !vip.Contains(e.destination.Addr())
}

func (s *Server) refusalNotice(e *entry) notice {
	text := refusalTexts[e.refusal]
	about := append([]any{"reason", string(e.refusal)}, s.about(e)...)
	if e.cluster != nil && e.cluster != blackHole {
		about = append(about, "cluster", e.cluster.Name)
	}
	if e.details != "" {
		about = append(about, "details", e.details)
	}
	if e.failure != nil {
		about = append(about, "error", e.failure)
	}
	hint := text.hint
	switch {
	case e.refusal == Unregistered:
		hint = s.registerHint(e)
	case errors.Is(e.failure, poolFull) && e.cluster != nil:
		hint = "raise maxConnections, http1MaxPendingRequests or http2MaxRequests under connectionPool in the DestinationRule for " +
			e.cluster.Host + "; " + s.cfg.Command("clusters "+e.cluster.Host+" -o json") + " shows them"
	}
	return notice{level: text.level, message: text.message, about: withHint(about, hint)}
}

// unknownHint says what a cluster lacks that is in no registry.
func unknownHint(c *mesh.Cluster) string {
	if c.Subset != "" {
		return fmt.Sprintf("add subset %s to a DestinationRule for %s, and register that on port %d; or correct destination in the route", c.Subset, c.Host, c.Port)
	}
	return fmt.Sprintf("register %s on port %d with a ServiceEntry, or correct destination in the route", c.Host, c.Port)
}

// asked is the host that the application asked for, or, where it named none, the one
// whose virtual address it went to.
func (s *Server) asked(e *entry) string {
	name := e.host()
	if name == "" && e.refusal != Malformed && vip.Contains(e.destination.Addr()) {
		if st := s.state.Load(); st != nil {
			name = st.view.HostAt(e.destination.Addr())
		}
	}
	return name
}

// registerHint says how to let through what nobody registers: by a command, where one
// can be written.
func (s *Server) registerHint(e *entry) string {
	name := s.asked(e)
	if e.serverName == "" {
		name = hostOnly(name)
	}
	if bare := strings.TrimRight(name, "."); bare != "" && bare != name {
		return "no host name ends in two dots, and none such can be registered; let the client ask for " + clip(bare, maxNoticeName)
	}
	if name != "" || !vip.Contains(e.destination.Addr()) {
		if entry := mesh.Registration(name, e.destination.Addr(), e.destination.Port(), e.declared()); entry != "" {
			if s.cfg.RegisterIn != "" {
				return "to allow it: put '" + entry + "' into " + s.cfg.RegisterIn
			}
			return "to allow it: echo '" + entry + "' | " + s.cfg.Register
		}
	}
	return refusalTexts[Unregistered].hint
}

func withHint(about []any, hint string) []any {
	if hint == "" {
		return about
	}
	return append(about, "hint", hint)
}

// whose says of which workload a line is.
func (s *Server) whose() []any {
	w := s.Workload()
	about := []any{"namespace", w.Namespace}
	if w.Name != "" {
		about = append(about, "workload", w.Name)
	}
	if w.Pod != "" {
		about = append(about, "pod", w.Pod)
	}
	return about
}

// about says who wanted what.
func (s *Server) about(e *entry) []any {
	return append(s.whose(), "protocol", e.protocol, "host", clip(s.asked(e), maxNoticeName),
		"destination", e.destination, "source", e.source)
}

// declared is the protocol that a ServiceEntry for this would declare.
func (e *entry) declared() mesh.Protocol {
	switch {
	case e.protocol == "http" && e.version == "HTTP/2":
		return mesh.HTTP2
	case e.protocol == "http":
		return mesh.HTTP
	case e.protocol == "tls" && e.serverName != "":
		return mesh.TLS
	}
	return mesh.TCP
}

func hostOnly(authority string) string { return string(appendHost(nil, []byte(authority))) }
