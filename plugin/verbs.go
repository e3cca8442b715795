package plugin

import (
	"errors"
	"fmt"
	"io"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/sluice-cni/sluice/rules/nft"
)

// verbs are the plugin's answers to the runtime. out receives the result and
// nothing else; log is for people.
type verbs struct {
	out, log io.Writer
}

// add programs the pod's namespace and passes on the result of the plugin before
// it. Whatever can fail without touching the kernel comes first; the rules go in
// as one transaction.
func (v verbs) add(args *skel.CmdArgs) error {
	c, err := parseConf(args.StdinData)
	if err != nil {
		return err
	}
	if err := c.needPrevResult(); err != nil {
		return err
	}
	result, err := c.result()
	if err != nil {
		return types.NewError(types.ErrInvalidNetworkConfig, "prevResult cannot be passed on", err.Error())
	}
	netns, err := openNetns(args)
	if err != nil {
		return err
	}
	defer netns.Close()
	for _, w := range c.warnings {
		v.logf("warning: %s", w)
	}
	fd := int(netns.Fd())
	if err := nft.Apply(fd, c.plan); err != nil {
		return kernelError("the rules could not be programmed", err)
	}
	if err := raiseLoopback(fd); err != nil {
		return kernelError("the namespace could not be prepared", errors.Join(err, nft.Remove(fd)))
	}
	if _, err := v.out.Write(result); err != nil {
		err = errors.Join(err, nft.Remove(fd))
		return types.NewError(types.ErrIOFailure, "the result could not be written", oneLine(err))
	}
	return nil
}

// check compares the namespace with the configuration and changes nothing.
func (v verbs) check(args *skel.CmdArgs) error {
	c, err := parseConf(args.StdinData)
	if err != nil {
		return err
	}
	if err := c.needPrevResult(); err != nil {
		return err
	}
	netns, err := openNetns(args)
	if err != nil {
		return err
	}
	defer netns.Close()
	err = nft.Check(int(netns.Fd()), c.plan)
	if err == nil {
		err = checkLoopback(int(netns.Fd()))
	}
	if errors.Is(err, errLoopbackDown) {
		return types.NewError(codeDrift, "redirected connections cannot arrive", err.Error())
	}
	var drift nft.Drift
	if errors.As(err, &drift) {
		return types.NewError(codeDrift, "the namespace's rules are not those of the configuration", drift.Error())
	}
	if err != nil {
		return kernelError("the rules could not be read", err)
	}
	return nil
}

// del removes the rules if there is still a namespace that could hold them. It
// fails for nothing: it comes twice, for pods that were never added, after the
// namespace is gone and with configurations of another day, and a runtime repeats
// a DEL that failed, keeping the pod's address until one succeeds.
func (v verbs) del(args *skel.CmdArgs) error {
	if args.Netns == "" {
		return nil
	}
	netns, err := openNetns(args)
	if err != nil {
		v.logf("nothing to remove: %v", err) // gone, or never ours
		return nil
	}
	defer netns.Close()
	if err := nft.Remove(int(netns.Fd())); err != nil {
		v.logf("the rules in %s stay until the namespace goes: %v", args.Netns, err)
	}
	return nil
}

// gc has nothing to collect: the plugin keeps no state outside the namespaces.
func (v verbs) gc(*skel.CmdArgs) error { return nil }

// status says whether ADD could work now: the configuration is good and the
// kernel has nf_tables.
func (v verbs) status(args *skel.CmdArgs) error {
	_, err := parseConf(args.StdinData)
	var bad *types.Error
	if errors.As(err, &bad) {
		return types.NewError(types.ErrPluginNotAvailable, bad.Msg, bad.Details)
	}
	if err := nft.Probe(); err != nil {
		return types.NewError(types.ErrPluginNotAvailable, "the rules could not be programmed on this host", oneLine(err))
	}
	return nil
}

func kernelError(what string, err error) error {
	code := uint(codeRules)
	switch {
	case errors.Is(err, nft.ErrNotPermitted):
		code = codeNotPermitted
	case errors.Is(err, nft.ErrUnsupported):
		code = codeUnsupported
	}
	return types.NewError(code, what, oneLine(err))
}

func (v verbs) logf(format string, args ...any) {
	fmt.Fprintf(v.log, "sluice-cni: "+format+"\n", args...)
}
