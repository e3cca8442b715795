package pods

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"os"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/holder/sockets"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/selection"
)

// Holder is what Host wants of the agent's session with the holder.
type Holder interface {
	Hold(context.Context, wire.Holding, []*os.File) error
	Keep(wire.Holding, []*os.File) error
	Release(wire.Netns) error
}

// keeper has the holder keep what pods have open: sockets that are opened in running pods,
// and those that it lost.
type keeper struct {
	holder Holder
	sets   *sets
}

// opened is what open made.
type opened struct {
	files core.Files
	ports core.Ports
	mark  uint32
}

// open opens a running pod's sockets and has the holder keep them.
func (k *keeper) open(ctx context.Context, a core.OpenAndHold) (o opened, err error) {
	s, err := k.made(a)
	if err != nil {
		return o, err
	}
	defer func() {
		if err != nil {
			k.sets.forget(o.files)
		}
	}()
	s.holding.Policy, s.holding.Gate = policyOf(a.Gate)
	if o.mark, err = document(s, a.Description); err != nil {
		s.close()
		return o, err
	}
	s.cookie = s.sockets.cookie()
	files, err := s.files()
	if err != nil {
		s.close()
		return o, err
	}
	defer closeFiles(files)
	holding := s.holding
	o.files = k.sets.put(s, a.Files == 0) // before the holder can bring it: Adopt must find it
	o.ports = core.Ports{Outbound: s.sockets.Port(wire.RoleTCP), DNS: s.sockets.Port(wire.RoleDNSPacket)}
	if a.Files != 0 { // the holder has the pod: it is to have more of it
		return o, k.holder.Keep(holding, files)
	}
	if err = k.holder.Hold(ctx, holding, files); err != nil && ctx.Err() != nil {
		k.holder.Release(a.Pod) // it may have been held all the same, just now
	}
	k.sets.answered(s)
	return o, err
}

// made is the set: new sockets, or those that the pod has and what is missing beside them.
func (k *keeper) made(a core.OpenAndHold) (*set, error) {
	if a.Files != 0 {
		return k.widened(a)
	}
	ns, err := find(a.Target)
	if err != nil {
		return nil, err
	}
	// Rules that are there already redirect DNS too, whatever is decided of them later.
	opened, err := Open(ns, sockets.Wanted{TCP: a.Ports.Outbound, DNS: a.Decision.DNS || a.Ports.DNS != 0, DNSPort: a.Ports.DNS, Everywhere: reroutes(a.Decision)})
	if err != nil {
		ns.Close()
		return nil, err
	}
	name := a.Description.Name
	return &set{ns: ns, sockets: opened, holding: wire.Holding{
		Netns:      a.Pod,
		Attachment: wire.Attachment{ContainerID: a.Container, Path: a.Path},
		Pod:        wire.PodName{Namespace: name.Namespace, Name: name.Name, UID: name.UID},
		Sockets:    opened.Describe(),
		Found:      true,
	}}, nil
}

// reroutes says that what arrives on interfaces is redirected too, to their addresses.
func reroutes(d core.Decision) bool {
	return d.Config != nil && len(d.Config.RerouteInterfaces) > 0
}

// widened shares the sockets that a pod has and opens those for DNS beside them.
func (k *keeper) widened(a core.OpenAndHold) (*set, error) {
	old, err := k.sets.set(a.Files)
	if err != nil {
		return nil, err
	}
	files, err := old.files()
	if err != nil {
		return nil, err
	}
	fds, ns, err := unpacked(files)
	if err != nil {
		return nil, err
	}
	s := &set{holding: k.sets.holdingOf(old), ns: ns, sockets: Sockets{old.sockets.all, fds}}
	if a.Decision.DNS && s.sockets.Port(wire.RoleDNSPacket) == 0 {
		more, err := Open(ns, sockets.Wanted{DNS: true, DNSPort: a.Ports.DNS})
		if err != nil {
			s.close()
			return nil, err
		}
		s.sockets = s.sockets.with(more.only(wire.RoleDNSPacket, wire.RoleDNSStream))
	}
	s.holding.Sockets = s.sockets.Describe()
	return s, nil
}

// document is what an agent after this one needs to know of the pod, with a mark of its
// own. One that the pod has already stays.
func document(s *set, d core.Description) (mark uint32, err error) {
	if s.holding.Document != nil {
		return d.Mark, nil
	}
	if mark, err = drawMark(); err != nil {
		return 0, err
	}
	s.holding.Document, err = json.Marshal(selection.Document{Annotations: d.Name.Annotations, DNS: d.DNS, Mark: mark})
	return mark, err
}

// drawMark draws what nobody can guess: 32 bits, not all 0, which is no mark.
func drawMark() (uint32, error) {
	var b [4]byte
	for {
		if _, err := rand.Read(b[:]); err != nil {
			return 0, err
		}
		if mark := binary.NativeEndian.Uint32(b[:]); mark != 0 {
			return mark, nil
		}
	}
}

// policyOf says in the holder's words what a gate means.
func policyOf(gate time.Duration) (policy string, of time.Duration) {
	if gate == 0 {
		return wire.PolicyBlock, 0
	}
	return wire.PolicyBypass, gate
}

// keep gives the holder a pod again, or says what is new of it.
func (k *keeper) keep(a core.Keep) error {
	s, err := k.sets.set(a.Files)
	if err != nil {
		return err
	}
	holding, files, err := k.sets.reword(s, func(h *wire.Holding) {
		h.Policy, h.Gate = policyOf(a.Gate)
		h.Found = a.Found
		if a.Container != "" {
			h.ContainerID = a.Container
		}
	})
	if err != nil {
		return err
	}
	defer closeFiles(files)
	return k.holder.Keep(holding, files)
}

// release lets the holder let go of a pod, and does so too.
func (k *keeper) release(a core.Release) error {
	if err := k.holder.Release(a.Pod); err != nil {
		return err
	}
	k.sets.forget(a.Files)
	return nil
}
