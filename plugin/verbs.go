package plugin

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/backend"
	"github.com/sluice-cni/sluice/selection"
)

// verbs are the plugin's answers to the runtime: one of them runs, once.
type verbs struct {
	log   io.Writer // for people
	clock *clock

	result    []byte       // for standard output
	undo      func() error // what ADD did, should the result be undeliverable
	succeeded bool
	netns     *os.File // of an ADD: kept open, and reachable, as long as undo may need it
}

// once runs the verb, turns its panic into an error and remembers its success.
func (v *verbs) once(verb func(*skel.CmdArgs) error) func(*skel.CmdArgs) error {
	return func(args *skel.CmdArgs) (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = bug(r)
			}
		}()
		err = verb(args)
		v.succeeded = err == nil
		return err
	}
}

// read reads the configuration and lets its timeout count.
func (v *verbs) read(args *skel.CmdArgs) conf {
	c := readConf(args)
	v.clock.set(c.Timeout)
	return c
}

// add programs the pod's namespace and passes on the result of the plugin before
// it. Whatever can fail without touching the kernel comes first; the rules go in
// as one transaction.
func (v *verbs) add(args *skel.CmdArgs) error {
	c := v.read(args).withPolicy()
	if err := c.needPrevResult(); err != nil {
		return err // where a pod is not selected, too: there is nothing to pass on
	}
	result, err := c.result()
	if err != nil {
		return types.NewError(types.ErrInvalidNetworkConfig, "prevResult cannot be passed on", err.Error())
	}
	v.result = result
	if selected, why := c.selected(); !selected {
		v.logf("%s passes through untouched: %s", c.pod, why)
		return nil
	}
	if c.role(args.IfName) == extra {
		return v.cover(args)
	}
	d, err := c.decide(c.discovered)
	if err != nil {
		return err
	}
	if !d.Selected {
		v.logf("%s passes through untouched: %s", c.pod, d.Why)
		return nil
	}
	netns, err := openNetns(args)
	if err != nil {
		return err
	}
	for _, w := range d.Warnings {
		v.logf("warning: %s", w)
	}
	if c.AgentSocket != "" {
		return v.enrol(args, c, d, netns)
	}
	plan, err := rules.NewPlan(d.Config)
	if err != nil {
		return badConf(err)
	}
	return v.program(netns, plan)
}

// program puts the rules into the namespace, which stays open: should the result
// be undeliverable they go again.
func (v *verbs) program(netns *os.File, plan rules.Plan) error {
	v.netns = netns
	fd := int(netns.Fd())
	if err := v.apply(fd, plan); err != nil {
		return kernelError("the rules could not be programmed", err)
	}
	v.undo = func() error { return backend.Remove(int(v.netns.Fd())) }
	if err := raiseLoopback(fd); err != nil {
		return kernelError("the namespace could not be prepared", errors.Join(err, v.undo()))
	}
	return nil
}

// cover answers ADD for an interface that the configuration does not name, such as
// Multus' net1. A pod whose rules were not made for it stays as it is; where there
// are rules, those that stand at every interface must stand at this one too.
func (v *verbs) cover(args *skel.CmdArgs) error {
	netns, err := openNetns(args)
	if err != nil {
		return err
	}
	defer netns.Close()
	if err := v.extend(netns, args.IfName); err != nil {
		return err
	}
	v.logf("interface %s is not one of interfaces: the pod's rules, if it has any, stay as they are", args.IfName)
	return nil
}

// extend makes the rules that stand at every interface stand at this one.
func (v *verbs) extend(netns *os.File, ifname string) error {
	if err := refresh(int(netns.Fd())); err != nil {
		return kernelError("the pod's rules could not be extended to interface "+ifname, err)
	}
	return nil
}

// check compares the namespace with the configuration and changes nothing.
func (v *verbs) check(args *skel.CmdArgs) error {
	c := v.read(args).withPolicy()
	if err := c.needPrevResult(); err != nil {
		return err
	}
	if selected, _ := c.selected(); !selected || c.role(args.IfName) == extra {
		return nil
	}
	d, err := c.decide(c.applied(args))
	if err != nil || !d.Selected {
		return err
	}
	netns, err := openNetns(args)
	if err != nil {
		return err
	}
	defer netns.Close()
	return judged(c.compare(int(netns.Fd()), d))
}

// compare looks at the rules, and whether what they redirect can arrive.
func (c conf) compare(netnsFD int, d selection.Decision) error {
	if c.AgentSocket != "" {
		return compareEnrolled(netnsFD, d)
	}
	plan, err := rules.NewPlan(d.Config)
	if err == nil {
		err = compare(netnsFD, plan)
	}
	if err == nil {
		err = checkLoopback(netnsFD)
	}
	return err
}

// judged is CHECK's answer.
func judged(err error) error {
	var drift rules.Drift
	switch {
	case errors.Is(err, errLoopbackDown), errors.Is(err, errNobodyListens):
		return types.NewError(codeDrift, "redirected connections cannot arrive", err.Error())
	case errors.As(err, &drift):
		return types.NewError(codeDrift, "the namespace's rules are not those of the configuration", drift.Error())
	case err != nil:
		return kernelError("the rules could not be read", err)
	}
	return nil
}

// del removes the rules if there is still a namespace that could hold them. It
// fails for nothing: it comes twice, for pods that were never added, after the
// namespace is gone and with configurations of another day, and a runtime repeats
// a DEL that failed, keeping the pod's address until one succeeds. The rules are
// the pod's, so they go with the interface that brought them and no other.
func (v *verbs) del(args *skel.CmdArgs) error {
	c := v.read(args)
	if c.role(args.IfName) != owner {
		return nil
	}
	if c.AgentSocket != "" {
		v.release(c, args)
	}
	if args.Netns == "" {
		return nil
	}
	netns, err := openNetns(args)
	if err != nil {
		v.logf("nothing to remove: %v", err) // gone, or never ours
		return nil
	}
	defer netns.Close()
	if err := backend.Remove(int(netns.Fd())); err != nil {
		v.logf("the rules in %s stay until the namespace goes: %v", args.Netns, err)
	}
	return nil
}

// status says whether ADD could work now: the configuration is good and the kernel
// has what the rules need. It is asked every few seconds, and a node whose answer
// is an error takes no pods: so it costs one look at the kernel, and says
// "unavailable" only where every ADD would fail.
func (v *verbs) status(args *skel.CmdArgs) error {
	c := v.read(args)
	plan, _, err := c.plan(unknownRanges)
	var bad *types.Error
	if errors.As(err, &bad) {
		return types.NewError(types.ErrPluginNotAvailable, bad.Msg, bad.Details)
	}
	if _, _, err := backend.Choose(plan.Config.Backend); errors.Is(err, rules.ErrUnsupported) || errors.Is(err, rules.ErrNotPermitted) {
		return types.NewError(types.ErrPluginNotAvailable, "the rules could not be programmed on this host", oneLine(err))
	} else if err != nil {
		v.logf("cannot say whether the rules could be programmed: %v", err)
	}
	if c.AgentSocket != "" {
		if err := aSocket(c.AgentSocket); err != nil {
			v.logf("agentSocket: %v; pods that are selected wait for it", err)
		}
	}
	return nil
}

func kernelError(what string, err error) error {
	code := uint(codeRules)
	switch {
	case errors.Is(err, rules.ErrNotPermitted):
		code = codeNotPermitted
	case errors.Is(err, rules.ErrUnsupported):
		code = codeUnsupported
	case errors.Is(err, os.ErrDeadlineExceeded):
		code = types.ErrTryAgainLater
	}
	return types.NewError(code, what, oneLine(err))
}

func (v *verbs) logf(format string, args ...any) {
	fmt.Fprintf(v.log, "sluice-cni: "+format+"\n", args...)
}
