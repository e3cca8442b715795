package pods

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/backend"
	"github.com/sluice-cni/sluice/rules/nft"
)

// change changes rules that are there, in the namespace whose descriptor fd is.
func change(fd int, a core.PodAction) error {
	switch a := a.(type) {
	case core.Exempt:
		return exempt(fd, a.Agents)
	case core.ReplaceSets:
		return replaceSets(fd, a)
	case core.Beat:
		return known(nft.Beat(fd, a.Gate))
	case core.Disable:
		return backend.Disable(fd)
	case core.Remove:
		return backend.Remove(fd)
	}
	return fmt.Errorf("no change of rules: %T", a)
}

// exempt has the rules know the agents. Those of iptables know a mark instead, and
// reading them tells which.
func exempt(fd int, those wire.Agents) error {
	err := known(nft.Exempt(fd, agents(those)))
	if !errors.Is(err, core.ErrNoRules) {
		return err
	}
	found, failed := backend.Installed(fd)
	for _, b := range found {
		if b.Name() != rules.BackendNFT {
			return fmt.Errorf("%w: %s made them, and they know the agent by a mark", core.ErrOtherRules, b.Name())
		}
	}
	return cmp.Or(failed, err)
}

// known says in the core's words what a namespace without rules of a node agent is.
func known(err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errors.Join(core.ErrNoRules, err)
	case errors.Is(err, nft.ErrOther):
		return errors.Join(core.ErrOtherRules, err)
	}
	return err
}

// readBack reads what rules a pod has.
func (h *Host) readBack(a core.ReadBack) (r core.Rules, err error) {
	err = h.inside(a.Target, func(fd int) error {
		_, applied, found, err := read(fd)
		switch {
		case err != nil:
			return err
		case !found:
			r.State = core.RulesNone
		default:
			r = inWords(applied)
		}
		return nil
	})
	return r, err
}

// read is what a namespace's rules were made from, and by what. Where the record cannot
// be read the rules may be in force all the same: then it is empty.
func read(fd int) (b backend.Backend, applied rules.Applied, found bool, err error) {
	all, err := backend.Installed(fd)
	if err != nil || len(all) == 0 {
		return nil, applied, false, err
	}
	applied, found, err = all[0].Read(fd)
	if err != nil || !found {
		return all[0], rules.Applied{Node: true}, true, nil
	}
	return all[0], applied, true, nil
}

// inWords says in the core's words what rules there are.
func inWords(applied rules.Applied) core.Rules {
	if applied.Hash == "" {
		return core.Rules{State: core.RulesApplied}
	}
	r := core.Rules{
		State: core.RulesApplied, Hash: applied.Hash, Config: &applied.Config,
		Running: applied.Running, Gate: applied.Gate, Auto: applied.Auto,
		Ports: portsOf(applied.Config), Mark: markOf(applied.Config),
	}
	switch {
	case !applied.Node:
		r.State = core.RulesStandalone
	case applied.Disabled:
		r.State = core.RulesDisabled
	}
	if plan, err := rules.NewPlan(applied.Config, applied.Options()...); err == nil {
		r.Shape = Shape(plan)
	}
	return r
}

func portsOf(c rules.Config) core.Ports {
	p := core.Ports{Outbound: c.OutboundPort}
	if c.DNSCapture {
		p.DNS = c.DNSPort
	}
	return p
}

// markOf is the mark by which rules know the agent's sockets, 0 where another way serves.
func markOf(c rules.Config) uint32 {
	if c.Exemption != rules.ExemptByMark {
		return 0
	}
	return c.ExemptMark
}

func agents(a wire.Agents) rules.Agents { return rules.Agents{Levels: a.Levels, IDs: a.IDs} }

// Plan is what a decision means for a namespace's rules.
func Plan(d core.Decision, more ...rules.Option) (rules.Plan, error) {
	if d.Config == nil {
		return rules.Plan{}, errors.New("the decision has no configuration")
	}
	options := append([]rules.Option{rules.NodeMode()}, more...)
	if d.Auto {
		options = append(options, rules.FromAuto())
	}
	if d.Gate > 0 {
		options = append(options, rules.Gated(d.Gate))
	}
	return rules.NewPlan(*d.Config, options...)
}

// apply puts a decision's rules in place of whatever there is. A running pod may have
// connections that conntrack does not know, and the second layer would hold; they are made
// known before that comes. Where they cannot be, a second layer comes that holds first
// packets only: made-up ones (raw sockets; CAP_NET_RAW is a default of containers) pass it.
//
// Where nothing is in force yet, the redirects come first and alone: with them conntrack
// begins, and nothing is dropped. So a connection that it does not know then and that waits
// for its server has sent its first packet on the way from before. Where rules are in
// force, it has not sent one, or that was dropped: it is left alone, and is redirected.
//
// Nothing waits here until no packet is on its way from the redirects to the second layer
// (membarrier(2)): one that was as long on that way as all this takes is dropped, and the
// application told a second later that its connection was refused. It cannot go out.
func (h *Host) apply(a core.Apply) error {
	strict, err := Plan(a.Decision, rules.Exempting(agents(a.Agents)))
	if err != nil {
		return err
	}
	if !a.Running {
		return h.put(a, strict)
	}
	var inForce bool
	if err := h.inside(a.Target, func(fd int) error {
		_, applied, found, err := read(fd)
		inForce = found && !applied.Disabled
		return err
	}); err != nil {
		return err
	}
	if !inForce {
		if err := h.putRedirects(a); err != nil {
			return err
		}
	}
	ns, done, err := h.reach(a.Target)
	if err != nil {
		return err
	}
	defer done()
	if err := ns.Do(func() error { return trackLiving(!inForce) }); err != nil {
		h.common.Logs.Pod().Warn("connections from before the pod's capture are not known to conntrack; until it restarts a process with NET_RAW in it can send packets past the proxy that begin no connection", "netns", a.Pod.String(), "error", err)
		lenient, err := Plan(a.Decision, rules.Exempting(agents(a.Agents)), rules.Running())
		if err != nil {
			return err
		}
		return h.put(a, lenient)
	}
	return h.put(a, strict)
}

// putRedirects puts a decision's rules without their second layer.
func (h *Host) putRedirects(a core.Apply) error {
	d, c := a.Decision, *a.Decision.Config
	c.FailurePolicy = rules.FailureBypass
	d.Config = &c
	redirects, err := Plan(d, rules.Exempting(agents(a.Agents)), rules.Running())
	if err != nil {
		return err
	}
	return h.put(a, redirects)
}

func (h *Host) put(a core.Apply, plan rules.Plan) error {
	return h.inside(a.Target, func(fd int) error {
		_, _, err := backend.Apply(a.Decision.Config.Backend, fd, plan)
		return err
	})
}

// replaceSets changes a pod's ranges and nothing else.
func replaceSets(fd int, a core.ReplaceSets) error {
	applied, found, err := nft.Read(fd)
	if err != nil {
		return err
	}
	if !found { // of iptables, or none
		return core.ErrOtherRules
	}
	var options []rules.Option
	if applied.Running {
		options = append(options, rules.Running())
	}
	plan, err := Plan(a.Decision, options...)
	if err != nil {
		return err
	}
	return known(nft.ReplaceSets(fd, a.From, plan))
}

// compared says how a pod's rules differ from their own record. certain is false where
// that also depends on what is outside of the namespace's nf_tables.
func compared(fd int, a core.Check) (drift string, certain bool, err error) {
	b, applied, found, err := read(fd)
	switch {
	case err != nil:
		return "", false, err
	case !found:
		return "there are none", false, nil
	case applied.Hash != a.Hash:
		return "they were made from another configuration", false, nil
	case applied.Disabled:
		return "capture is disabled", false, nil
	}
	plan, err := rules.NewPlan(applied.Config, append(applied.Options(), rules.Exempting(agents(a.Agents)))...)
	if err != nil {
		return "", false, err
	}
	drift, err = drifted(b.Check(fd, plan))
	return drift, b.Name() == rules.BackendNFT && len(applied.Config.ExemptCgroups) == 0, err
}

// drifted tells a difference from the failure to look for one.
func drifted(err error) (string, error) {
	var drift rules.Drift
	if errors.As(err, &drift) {
		return strings.Join(drift, "; "), nil
	}
	return "", err
}

// Shape is equal for plans that differ in nothing but the elements of their sets, so
// that rules of one can become rules of the other by ReplaceSets.
func Shape(p rules.Plan) string {
	sum := sha256.New()
	for _, s := range p.Sets {
		fmt.Fprintf(sum, "set %s %s\n", s.Name, s.Type)
	}
	for _, c := range p.Chains {
		if c.Name != rules.ChainAgent { // which is nobody's configuration
			fmt.Fprintf(sum, "chain %s %+v %+v\n", c.Name, c.Hook, c.Rules)
		}
	}
	fmt.Fprintf(sum, "frames %+v\nrunning %t gate %s node %t\n%v", p.Frames.Rules, p.Running, p.Gate, p.Node, p.Config.ExcludeInterfaces)
	return hex.EncodeToString(sum.Sum(nil)[:16])
}
