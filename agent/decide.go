package agent

import (
	"errors"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/agent/pods"
	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/selection"
)

// decider says what pods should be. It is never changed: a new policy or new ranges
// make a new one. The core asks it on its own goroutine only.
type decider struct {
	// entry stands for the plugin's where a pod was found running, without an ADD.
	entry  selection.Conf
	policy *selection.Policy
	ranges cidr.List
	// noRanges is why there are none.
	noRanges error
	byMark   bool

	// shapes are those of plans, by what they depend on: the pods of a node have few
	// configurations.
	shapes map[shapeOf]string
}

type shapeOf struct {
	hash string
	auto bool
	gate bool
}

func (d *decider) auto() (cidr.List, error) { return d.ranges, d.noRanges }

// decide is the core's Decide.
func (d *decider) decide(p core.Description) core.Decision {
	conf, err := d.conf(p.Document)
	if err != nil {
		return core.Decision{
			Selected: true, Why: "the plugin's configuration cannot be read", Err: err.Error(), Outbound: d.policy.Outbound(p.Name.Namespace),
		}
	}
	policy := d.policy
	if conf.PolicyFile == "" {
		policy = nil // the entry alone decides, as it does at ADD
	}
	said, err := selection.DecideRunning(conf, policy, p.Name, d.auto)
	out := core.Decision{Selected: said.Selected, Why: said.Why, Auto: said.Auto, Outbound: said.Outbound}
	for _, w := range said.Warnings {
		out.Warnings = append(out.Warnings, w.String())
	}
	if err != nil {
		out.Err = err.Error()
		return out
	}
	if !said.Selected {
		out.LeftAlone = selection.LeftAlone(conf, policy, p.Name)
		return out
	}
	config := said.Config
	out.DNS = config.DNSCapture
	if config.FailurePolicy == rules.FailureBypass {
		out.Gate = selection.DefaultGate
	}
	d.fit(&config, p)
	if config.Exemption == rules.ExemptByMark {
		out.Mark = config.ExemptMark
	}
	out.Config = &config
	if err := d.name(&out); err != nil {
		out.Err = err.Error()
	}
	return out
}

// conf is the plugin's entry that a pod was added by.
func (d *decider) conf(doc selection.Document) (selection.Conf, error) {
	if doc.Fields == nil {
		return d.entry, nil
	}
	return selection.ReadConf(doc.Fields)
}

// fit puts into a configuration what is the pod's: where its sockets are, and by what
// its rules know the agent.
func (d *decider) fit(c *rules.Config, p core.Description) {
	if p.Ports.Outbound != 0 {
		c.OutboundPort = p.Ports.Outbound
	}
	if c.DNSCapture && p.Ports.DNS != 0 {
		c.DNSPort = p.Ports.DNS
	}
	if p.Mark != 0 && (d.byMark || c.Backend.IPTables()) { // as the plugin does at ADD
		c.Exemption, c.ExemptMark = rules.ExemptByMark, p.Mark
	}
}

// name gives a decision the hashes that tell it from others.
func (d *decider) name(out *core.Decision) error {
	out.Hash = out.Config.Hash()
	key := shapeOf{out.Hash, out.Auto, out.Gate > 0}
	if known, ok := d.shapes[key]; ok {
		out.Shape = known
		return nil
	}
	plan, err := pods.Plan(*out)
	if err != nil {
		return errors.Unwrap(err)
	}
	out.Shape = pods.Shape(plan)
	d.shapes[key] = out.Shape
	return nil
}
