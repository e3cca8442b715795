package plugin

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/sluice-cni/sluice/holder/client"
	"github.com/sluice-cni/sluice/holder/sockets"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/rest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/backend"
	"github.com/sluice-cni/sluice/selection"
	"golang.org/x/sys/unix"
)

// How much of a run's time is spent on waiting for the node, in percent; the rules need
// what is left. A bypass pod waits less: it may start without anybody there.
const (
	patience       = 60
	patienceBypass = 10
	// releaseLimit is how long DEL, and an ADD that fails, wait for the holder: it also
	// notices by itself that a namespace is gone.
	releaseLimit = time.Second
)

// enrol is ADD where the node's agent serves the pods. First the sockets are opened and
// given away, then the rules go in: at no time is anything redirected to where nobody
// listens. From the moment the holder has the sockets, connections wait in their queues
// for an agent, however long one is away. Whatever fails later takes everything back.
func (v *verbs) enrol(args *skel.CmdArgs, c conf, d selection.Decision, netns *os.File) error {
	v.netns = netns
	fd := int(netns.Fd())
	if c.role(args.IfName) == member && served(fd) {
		return v.extend(netns, args.IfName) // the pod is the node's since another interface's ADD
	}
	share := patience
	if d.Config.FailurePolicy == rules.FailureBypass {
		share = patienceBypass
	}
	ctx, cancel := v.clock.part(share)
	defer cancel()
	h, files, err := v.prepare(ctx, args, c, d, fd)
	if err != nil {
		return err
	}
	defer sockets.Close(files)
	mark := newMark()
	if h.Document, err = c.document(mark); err != nil {
		return badConf(err)
	}
	held, err := client.Hold(ctx, c.AgentSocket, h, append(files[:len(files):len(files)], netns))
	if err != nil {
		return v.notHeld(c, d, err)
	}
	v.undo = func() error { return releaseNow(c, args) }
	if err := v.redirect(fd, d, held, mark); err != nil {
		undo := v.undo
		v.undo = nil
		return kernelError("the rules could not be programmed", errors.Join(err, undo()))
	}
	v.undo = func() error { return errors.Join(backend.Remove(int(v.netns.Fd())), releaseNow(c, args)) }
	return nil
}

// served reports whether the namespace has rules in force that lead to an agent.
func served(netnsFD int) bool {
	found, err := backend.Installed(netnsFD)
	if err != nil || len(found) != 1 {
		return false
	}
	applied, there, err := found[0].Read(netnsFD)
	return err == nil && there && applied.Node && !applied.Disabled
}

// prepare opens the pod's sockets and describes the pod for the holder.
func (v *verbs) prepare(ctx context.Context, args *skel.CmdArgs, c conf, d selection.Decision, netnsFD int) (h wire.Holding, files []*os.File, err error) {
	if err := raiseLoopback(netnsFD); err != nil {
		return h, nil, kernelError("the namespace could not be prepared", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(netnsFD, &st); err != nil {
		return h, nil, kernelError("the namespace could not be prepared", os.NewSyscallError("fstat", err))
	}
	want := sockets.Wanted{TCP: d.Config.OutboundPort, DNS: d.Config.DNSCapture, DNSPort: d.Config.DNSPort, Everywhere: len(d.Config.RerouteInterfaces) > 0}
	h = wire.Holding{
		Netns:      wire.Netns{Device: st.Dev, Inode: st.Ino},
		Attachment: wire.Attachment{ContainerID: args.ContainerID, Interface: c.owner(), Path: args.Netns},
		Pod:        wire.PodName{Namespace: c.pod.Namespace, Name: c.pod.Name, UID: c.pod.UID},
		Policy:     wire.PolicyBlock,
	}
	if d.Config.FailurePolicy == rules.FailureBypass {
		h.Policy, h.Gate = wire.PolicyBypass, selection.DefaultGate
	}
	h.Sockets, files, err = v.open(ctx, args, c, want, netnsFD)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		err = types.NewError(types.ErrTryAgainLater, "a port of the pod's proxy is taken in its namespace",
			oneLine(err)+"; whoever has it must end first, or outboundPort and dnsPort be others")
	case err != nil:
		err = kernelError("the pod's sockets could not be opened", err)
	}
	return h, files, err
}

// open opens the sockets, again after a while where a port is taken: by an ADD before
// this one, whose sockets the holder, and the agent, let go when they are told.
func (v *verbs) open(ctx context.Context, args *skel.CmdArgs, c conf, want sockets.Wanted, netnsFD int) (described []wire.Socket, files []*os.File, err error) {
	for delay := 2 * time.Millisecond; ; delay = min(2*delay, 100*time.Millisecond) {
		err = inside(netnsFD, func() (err error) {
			described, files, err = sockets.Open(want)
			return err
		})
		if !errors.Is(err, unix.EADDRINUSE) {
			return described, files, err
		}
		if delay == 2*time.Millisecond {
			v.release(c, args)
		}
		if rest.For(ctx, delay) != nil {
			return nil, nil, err
		}
	}
}

// document is what the agent is told beside the sockets.
func (c conf) document(mark uint32) (json.RawMessage, error) {
	return json.Marshal(selection.Document{Network: c.network, Fields: c.own, Annotations: selection.Heeded(c.pod.Annotations), DNS: c.dns, Mark: mark})
}

// newMark is drawn for every pod, though only those need one whose agent cannot be told
// by its cgroup: that is known when the holder has answered, and then it has the
// document already.
func newMark() uint32 {
	for {
		var b [4]byte
		rand.Read(b[:]) // never fails
		if mark := binary.NativeEndian.Uint32(b[:]); mark != 0 {
			return mark
		}
	}
}

// notHeld is what becomes of a pod that the node does not take.
func (v *verbs) notHeld(c conf, d selection.Decision, err error) error {
	if d.Config.FailurePolicy == rules.FailureBypass {
		v.logf("warning: %s starts uncaptured, since failurePolicy is bypass and the node did not take it: %s; an agent enrols it later", c.pod, saidBy(err))
		return nil
	}
	what, code := "the node did not take the pod's sockets", uint(types.ErrTryAgainLater)
	var refusal *wire.Refusal
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		what = fmt.Sprintf("nobody at %s took the pod's sockets; the pod is selected and failurePolicy is block, so it waits for the node's sluice holder", c.AgentSocket)
	case errors.As(err, &refusal) && refusal.Code == wire.CodeDenied:
		code = codeNotPermitted
	}
	return types.NewError(code, what, saidBy(err))
}

// redirect puts the rules in, in one transaction.
func (v *verbs) redirect(netnsFD int, d selection.Decision, held wire.HeldReply, mark uint32) error {
	marked := d.Config
	marked.Exemption, marked.ExemptMark = rules.ExemptByMark, mark
	if held.Exemption == wire.ExemptByMark {
		return v.put(netnsFD, marked, d.Auto, held.Agent)
	}
	err := v.put(netnsFD, d.Config, d.Auto, held.Agent)
	if errors.Is(err, rules.ErrUnsupported) { // iptables, say, knows no cgroups of sockets
		if v.put(netnsFD, marked, d.Auto, held.Agent) == nil {
			return nil
		}
	}
	return err
}

func (v *verbs) put(netnsFD int, config rules.Config, auto, agent bool) error {
	options := []rules.Option{rules.NodeMode()}
	if auto {
		options = append(options, rules.FromAuto())
	}
	if config.FailurePolicy == rules.FailureBypass {
		options = append(options, rules.Gated(selection.DefaultGate))
		if !agent { // then the pod is direct from its first packet, until an agent beats
			options = append(options, rules.Silent())
		}
	}
	plan, err := rules.NewPlan(config, options...)
	if err != nil {
		return err
	}
	return v.apply(netnsFD, plan)
}

// release tells the holder that the pod is gone, and only logs what comes of it.
func (v *verbs) release(c conf, args *skel.CmdArgs) {
	if err := releaseNow(c, args); err != nil {
		v.logf("the holder was not told that %s is gone, and will notice: %s", c.pod, saidBy(err))
	}
}

// releaseNow names no interface: the sockets are the pod's, and one that an agent found
// running is known by its container alone.
func releaseNow(c conf, args *skel.CmdArgs) error {
	ctx, cancel := context.WithTimeout(context.Background(), releaseLimit)
	defer cancel()
	if err := client.Release(ctx, c.AgentSocket, args.ContainerID, ""); err != nil {
		return fmt.Errorf("sluice holder at %s: %w", c.AgentSocket, err)
	}
	return nil
}

// aSocket looks, without speaking to anybody.
func aSocket(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s is no socket", path)
	}
	return nil
}
