package holder

import (
	"context"
	"log/slog"

	"github.com/sluice-cni/sluice/holder/core"
	"github.com/sluice-cni/sluice/holder/wire"
)

// perform does one thing, and returns what came of it where that is an event.
func (h *holder) perform(ctx context.Context, a core.Action) core.Event {
	switch a := a.(type) {
	case core.Send:
		h.send(a)
	case core.Close:
		if a.Why != "" {
			h.complain("connection ended", "why", a.Why)
		}
		if p := h.peer(a.Conn); p != nil {
			p.close()
		}
	case core.Save:
		h.save(ctx, a)
	case core.Forget:
		h.watcher.remove(a.Netns)
		if err := h.state.forget(a.Netns); err != nil {
			h.log.Warn("a pod's state file stays; the next holder will find its namespace gone", "netns", a.Netns, "error", err)
		}
	case core.Drop:
		h.bundles.drop(a.Bundle)
	case core.Refuse:
		h.refuse(a.Bundle)
	case core.Wait:
		if h.refuser.wait(a.Bundle) {
			h.bundles.drop(a.Bundle)
		}
	case core.Reopen:
		return h.reopen(a)
	case core.Remember:
		if err := h.state.remember(a.Memory); err != nil {
			h.unwritten(agentsFile, err)
		}
	case core.Log:
		level := slog.LevelInfo
		if a.Level == "warn" {
			level = slog.LevelWarn
		}
		h.log.Log(ctx, level, a.Text, a.Attributes...)
	}
	return nil
}

func (h *holder) send(a core.Send) {
	m := message{kind: a.Kind, payload: a.Payload, bundle: a.Bundle}
	if a.Kind == wire.Yield {
		m.fds = []int{h.listenFD, h.lock}
	}
	if b := h.bundles.use(a.Bundle); b != nil {
		m.fds = b.fds
	}
	for _, c := range a.After {
		if other := h.peer(c); other != nil {
			if reached := other.mark(); reached != nil {
				m.after = append(m.after, reached)
			}
		}
	}
	p := h.peer(a.Conn)
	if p == nil || !p.send(m) {
		h.bundles.drop(a.Bundle)
	}
}

// save writes the pod's file. A full /run is no reason to refuse a pod: without the
// file it costs a search when holder and agent die both.
func (h *holder) save(ctx context.Context, a core.Save) {
	h.watcher.add(ctx, a.Holding)
	if err := h.state.save(a.Holding); err != nil {
		h.unwritten(a.Holding.Netns.String(), err)
	}
}

func (h *holder) unwritten(what string, err error) {
	h.core.Count(core.CountUnwritten)
	h.complain("state could not be written; it is held all the same", "what", what, "error", err)
}

func (h *holder) refuse(id core.Bundle) {
	b := h.bundles.use(id)
	if b == nil {
		return
	}
	if err := h.refuser.refuse(id, b); err != nil {
		h.log.Error("connections wait though no agent is there: they cannot be refused", "error", err)
	}
}

func (h *holder) reopen(a core.Reopen) core.Event {
	e := core.Reopened{Netns: a.Holding.Netns}
	b := h.bundles.use(a.Bundle)
	if b == nil {
		e.Problem = "its namespace is not held"
		return e
	}
	defer h.bundles.drop(a.Bundle)
	fds, described, err := reopen(b, a.Holding, a.AnyPort)
	if err == nil {
		e.Cookie, err = wire.Cookie(fds[0])
	}
	if err != nil {
		closeAll(fds)
		e.Problem = err.Error()
		return e
	}
	e.Sockets, e.Bundle = described, h.bundles.add(fds, described)
	return e
}
