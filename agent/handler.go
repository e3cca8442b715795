package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/agent/link"
	"github.com/sluice-cni/sluice/holder/client"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/selection"
)

// handler is the agent as the holder's word reaches it.
type handler Agent

func (h *handler) Hello() wire.HelloRequest {
	exemption := wire.ExemptByCgroup
	if h.cfg.ByMark {
		exemption = wire.ExemptByMark
	}
	hello := wire.HelloRequest{
		PID: os.Getpid(), Build: h.cfg.Build, Agents: h.cfg.Agents, Exemption: exemption,
		Have: h.host.Have(), Retired: h.retired.Load(), Instance: h.cfg.Instance, InstanceNumber: h.cfg.InstanceNumber,
	}
	hello.StandsBy = hello.Retired && !h.ending.Load()
	if since := h.serving.Load(); since != nil && !hello.Retired {
		hello.Serving, hello.ServingFor = true, time.Since(*since)
	}
	return hello
}

func (h *handler) Keep(pod wire.Netns) (wire.Holding, []*os.File, bool) { return h.host.Kept(pod) }

func (h *handler) Connected(w wire.WelcomeReply) {
	h.log.Info("connected to the holder", "pid", w.PID, "build", w.Build, "agents", len(w.Others))
	h.loop.tell(core.Connected{Roster: h.roster(w.Others)})
}

// roster is which agents there are, for the core.
func (h *handler) roster(others []wire.AgentInfo) core.Roster {
	r := core.Roster{Others: len(others)}
	all := []rules.Agents{{Levels: h.cfg.Agents.Levels, IDs: h.cfg.Agents.IDs}}
	for _, o := range others {
		all = append(all, rules.Agents{Levels: o.Agents.Levels, IDs: o.Agents.IDs})
		if o.Retired {
			continue
		}
		r.Unretired++
		if o.Serving {
			r.Rivals++
		}
	}
	union := rules.Union(all...)
	r.Agents = wire.Agents{Levels: union.Levels, IDs: union.IDs}
	return r
}

func (h *handler) Pod(holding wire.Holding, files []*os.File) error {
	var doc selection.Document
	if len(holding.Document) > 0 {
		if err := json.Unmarshal(holding.Document, &doc); err != nil {
			for _, f := range files {
				f.Close()
			}
			return fmt.Errorf("the plugin's document cannot be read: %w", err)
		}
	}
	id, fresh, err := h.host.Adopt(holding, files)
	if err != nil {
		h.log.Warn("a pod that the holder brings cannot be taken", "pod", holding.Pod.String(), "netns", holding.Netns.String(), "error", err)
		return err
	}
	if !fresh {
		return nil // one that this agent holds itself
	}
	h.loop.tell(core.Held{
		Pod: holding.Netns, Files: id, Attachment: holding.Attachment, Document: doc,
		Name:  selection.Pod{Namespace: holding.Pod.Namespace, Name: holding.Pod.Name, UID: holding.Pod.UID, Annotations: doc.Annotations},
		Ports: core.Ports{Outbound: portOf(holding.Sockets, wire.RoleTCP), DNS: portOf(holding.Sockets, wire.RoleDNSPacket)},
		Gate:  holding.Gate, Found: holding.Found,
	})
	h.sweep.expect(holding.Netns)
	return nil
}

func portOf(all []wire.Socket, role string) uint16 {
	for _, s := range all {
		if s.Role == role {
			return s.Port
		}
	}
	return 0
}

func (h *handler) Brought() { h.loop.tell(core.Listed{}) }

func (h *handler) Gone(d wire.Departure) {
	h.log.Debug("a pod is gone", "netns", d.Netns.String(), "why", d.Why)
	h.loop.tell(core.Gone{Pod: d.Netns})
}

func (h *handler) Present(r wire.Roster) {
	h.loop.tell(core.AgentsChanged{Roster: h.roster(r.Others), Seq: r.Seq})
}

func (h *handler) Retire() {
	h.log.Info("another agent serves: nothing is accepted here any more, what is connected goes on", "limit", h.cfg.DrainLimit, "stands by", h.cfg.Instance != "")
	(*Agent)(h).stopServing()
}

func (h *handler) Resume() {
	h.turn.Lock()
	defer h.turn.Unlock()
	if h.ending.Load() {
		return
	}
	h.log.Warn("the agent that served is gone: serving again")
	h.retired.Store(false)
	h.serving.Store(nil)
	h.loop.tell(core.Resume{})
	h.cfg.Resumed()
}

func (h *handler) Lost(err error) {
	if !errors.Is(err, net.ErrClosed) { // by this agent, which ends
		h.log.Warn("the session with the holder has ended; what is served goes on", "error", err)
	}
	h.loop.tell(core.HolderLost{})
}

// holder is the session as agent/pods wants it.
type holder struct{ link *link.Link }

func (h holder) Hold(ctx context.Context, holding wire.Holding, files []*os.File) error {
	return h.link.With(func(s *client.Session) error { return s.Hold(ctx, holding, files) })
}

func (h holder) Keep(holding wire.Holding, files []*os.File) error {
	return h.link.With(func(s *client.Session) error { return s.Keep(holding, files) })
}

func (h holder) Release(pod wire.Netns) error {
	return h.link.With(func(s *client.Session) error { return s.Release(pod) })
}
