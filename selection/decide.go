package selection

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/rules"
)

// Decision is what becomes of one pod.
type Decision struct {
	Selected bool
	Why      string
	Config   rules.Config // of a selected pod: valid, its ranges known
	Auto     bool         // includeIPRanges was auto
	// Outbound is the policy's word about what nothing is registered for: Observe,
	// RegistryOnly, AllowAny, or "" for what resources say. No pod has a say in it, so it
	// is valid beside errors too.
	Outbound string
	Warnings []rules.Warning
}

// Decide says whether a pod is captured, and how: default < configuration < policy <
// the namespace's policy < annotation < what one of the first four enforces. auto is
// asked for the ranges that includeIPRanges auto stands for. All errors come at once;
// Selected, Why and Outbound are valid beside them.
func Decide(c Conf, p *Policy, pod Pod, auto func() (cidr.List, error)) (Decision, error) {
	selected, why := Select(c, p, pod)
	if !selected {
		return Decision{Why: why}, nil
	}
	d, err := Configure(c, p, pod, auto)
	if d.Selected {
		d.Why = why
	}
	return d, err
}

// Configure is Decide for a pod that Select has chosen. Of such a one it says not
// selected where its annotations are malformed and the policy lets that pass.
func Configure(c Conf, p *Policy, pod Pod, auto func() (cidr.List, error)) (Decision, error) {
	outbound, ignored := p.outbound(pod.Namespace)
	d := Decision{Selected: true, Outbound: outbound}
	config, notes, warnings, bad, err := c.configure(p, pod)
	switch {
	case bad != nil && err == nil && p.onInvalid(pod.Namespace) == Pass && injectEnforcedBy(c, p, pod.Namespace) == "":
		return Decision{Why: "its annotations are malformed and onInvalid is pass: " + oneLine(bad)}, nil
	case bad != nil || err != nil:
		return d, errors.Join(err, bad)
	}
	d.Auto = config.AutoRanges
	config, doubts, err := config.Resolve(auto)
	if err != nil {
		return d, err
	}
	if by := injectEnforcedBy(c, p, pod.Namespace); by != "" {
		if value, _, what := pod.inject(); value == "false" {
			notes = append(notes, rules.Warning{Field: Inject, Text: "is enforced by " + by + ": " + what + " " + AnnotationInject + " is ignored"})
		}
	}
	d.Config, d.Warnings = config, slices.Concat(notes, ignored, pod.beside(), warnings, doubts)
	return d, nil
}

// DecideRunning is Decide for a pod that runs already, and so cannot be refused. Where
// inject, or any field, is enforced its malformed annotations are left out, with a
// warning: to leave the pod as it is would keep from it what is enforced.
func DecideRunning(c Conf, p *Policy, pod Pod, auto func() (cidr.List, error)) (Decision, error) {
	d, err := Decide(c, p, pod, auto)
	if err == nil || len(Enforced(c, p, pod.Namespace)) == 0 && injectEnforcedBy(c, p, pod.Namespace) == "" {
		return d, err
	}
	_, _, _, bad, _ := c.configure(p, pod)
	if bad == nil {
		return d, err
	}
	sound := pod
	sound.Annotations = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(pod.Annotations)) {
		sound.Annotations[name] = pod.Annotations[name]
		if _, _, _, bad, _ := c.configure(p, sound); bad != nil {
			delete(sound.Annotations, name)
		}
	}
	again, err := Configure(c, p, sound, auto)
	if err != nil {
		return d, errors.Join(err, bad)
	}
	again.Why = d.Why
	again.Warnings = slices.Insert(again.Warnings, 0, rules.Warning{Field: "annotations", Text: "what of them is malformed is left out, since something is enforced: " + oneLine(bad)})
	return again, nil
}

// configure is the pod's configuration, without what its ranges stand for. bad is what is
// the fault of its annotations, err what is wrong without them.
func (c Conf) configure(p *Policy, pod Pod) (config rules.Config, notes, warnings []rules.Warning, bad, err error) {
	fields, enforced := c.beneath(p, pod.Namespace)
	over, from, notes, bad := annotated(fields, pod.Annotations, func(field string) string { return enforced[field] })
	config, warnings, err = decode(c, over, from)
	if err != nil && len(from) > 0 { // whose fault is the combination?
		if _, _, without := decode(c, fields, nil); without == nil {
			bad, err = errors.Join(err, bad), nil
		}
	}
	return config, notes, warnings, bad, err
}

// beneath are the fields that hold before any annotation, and who enforces which. What
// one layer enforces no later one changes: neither the policy what the entry enforces,
// nor a namespace what the policy does.
func (c Conf) beneath(p *Policy, namespace string) (fields map[string]json.RawMessage, enforced map[string]string) {
	fields, enforced = map[string]json.RawMessage{}, map[string]string{}
	for _, l := range layers(c, p, namespace) {
		for name, raw := range l.fields {
			if enforced[name] == "" {
				fields[name] = raw
			}
		}
		for _, name := range fieldNames() {
			if enforced[name] == "" && l.enforces(name) {
				enforced[name] = l.name
			}
		}
	}
	return fields, enforced
}

// decode is rules.Decode, and judges what cannot be where a node's agent serves.
func decode(c Conf, fields map[string]json.RawMessage, from map[string]string) (rules.Config, []rules.Warning, error) {
	config, warnings, err := rules.DecodeValues(fields)
	if c.NodeMode() {
		err = errors.Join(err, notInNodeMode(config, from))
	}
	if err == nil {
		err = config.Validate()
	}
	if err != nil {
		return rules.Config{}, warnings, err
	}
	return config, append(warnings, config.Doubts()...), nil
}

// notInNodeMode refuses what would have no effect, or an unwanted one, where the agent
// is exempt by a cgroup or a mark of its own and serves what the pod sends.
func notInNodeMode(config rules.Config, from map[string]string) error {
	var errs []error
	defaults := rules.Default()
	for _, f := range rules.Fields() {
		why, refused := refusedInNodeMode[f.Name]
		if !refused || f.Value(config) == f.Value(defaults) {
			continue
		}
		errs = append(errs, blamed(from, f.Name, fmt.Errorf("%s %q: %s", f.Name, f.Value(config), why)))
	}
	if bypassWithoutGate(config) {
		errs = append(errs, blamed(from, "failurePolicy", fmt.Errorf("failurePolicy %q: %w", config.FailurePolicy, ErrBypassNeedsNFT)))
	}
	return errors.Join(errs...)
}

func bypassWithoutGate(config rules.Config) bool {
	return config.FailurePolicy == rules.FailureBypass && (config.Backend == rules.BackendIPTablesNFT || config.Backend == rules.BackendIPTablesLegacy)
}

// ErrBypassNeedsNFT is why a pod that a node's agent serves cannot have failurePolicy
// bypass in iptables: its gate is a set whose elements expire.
var ErrBypassNeedsNFT = errors.New("needs nf_tables where an agent serves the pods; use block, or backend nft")

// blamed names the annotation that brought a field, if one did.
func blamed(from map[string]string, field string, err error) error {
	if name := from[field]; name != "" {
		return fmt.Errorf("annotation %s: %w", name, err)
	}
	return err
}

const ownExemption = "an agent serves the pods (agentSocket), and is known by its cgroup or a mark that nobody else knows; remove it"

var refusedInNodeMode = map[string]string{
	"exemption":           ownExemption,
	"exemptUIDs":          ownExemption,
	"exemptGIDs":          ownExemption,
	"exemptMark":          ownExemption,
	"exemptCgroups":       ownExemption,
	"includeInboundPorts": "an agent serves the pods (agentSocket), and takes nothing that arrives; remove it",
}

// oneLine joins the errors of a list the way a log line can hold them.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// Enforced lists the fields that annotations of the namespace's pods cannot set, and who
// says so.
func Enforced(c Conf, p *Policy, namespace string) map[string]string {
	_, enforced := c.beneath(p, namespace)
	return enforced
}
