package proxy

import (
	"log/slog"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/vip"
)

// wouldRefuse notes, under the policy Observe, that REGISTRY_ONLY would not let through
// what is let through now. It is called where that is decided, not at the end: a stream
// may go on for days. It may be on an event loop and waits for nothing.
func (c *connection) wouldRefuse(st *state, e *entry, why Refusal) {
	if st.view.Policy != mesh.Observe {
		return
	}
	s := c.server
	e.wouldRefuse = why
	s.observe(Event{Kind: WouldRefuse, Refusal: why})
	name := s.asked(e)
	s.notices.sayLater(noticeKey{"would refuse", clip(name, maxNoticeName), e.destination.Port()}, func() notice {
		about := append([]any{"reason", string(why)}, s.about(e)...)
		return notice{level: slog.LevelInfo, message: "observed: REGISTRY_ONLY would refuse this", about: withHint(about, s.registerHint(e))}
	})
	if e.serverName == "" {
		name = hostOnly(name)
	}
	if name != "" || !vip.Contains(e.destination.Addr()) { // which is nobody's any more
		s.cfg.Observed.Note(s.workload.Load().Namespace, name, e.destination.Addr(), e.destination.Port(), e.declared())
	}
}

// opaqueWouldRefuse is wouldRefuse for opaque bytes that found no route.
func (c *connection) opaqueWouldRefuse(st *state, e *entry) {
	if st.view.Policy == mesh.Observe && st.view.Cuts(c.dst, e.serverName) {
		c.wouldRefuse(st, e, Unregistered)
	}
}
