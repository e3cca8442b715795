package selection

import (
	"context"
	"encoding/json"
	"slices"
	"time"
)

// Policy is what a node's operator says about selection, beside the plugin's entry. It
// is compiled from files, or made from Kubernetes' objects; nil is none.
type Policy struct {
	Generation       uint64                     `json:"generation"`
	ExemptNamespaces []string                   `json:"exemptNamespaces,omitempty"`
	Selection        string                     `json:"selection,omitempty"` // All, Annotated, or "" for the entry's
	Defaults         map[string]json.RawMessage `json:"defaults,omitempty"`  // fields of rules.Config
	Enforce          []string                   `json:"enforce,omitempty"`   // as Settings.Enforce
	OnInvalid        string                     `json:"onInvalid,omitempty"` // Fail, Pass, or "" for Fail
	// OutboundPolicy is Observe, RegistryOnly or AllowAny, over what resources say of the
	// pods; "" leaves it to those. It concerns what serves the pods, and no rule.
	OutboundPolicy string                     `json:"outboundPolicy,omitempty"`
	Namespaces     map[string]NamespacePolicy `json:"namespaces,omitempty"`
}

// NamespacePolicy is what holds for the pods of one Kubernetes namespace.
type NamespacePolicy struct {
	Select    *bool                      `json:"select,omitempty"` // nil: as the node's selection says
	Defaults  map[string]json.RawMessage `json:"defaults,omitempty"`
	Enforce   []string                   `json:"enforce,omitempty"`
	OnInvalid string                     `json:"onInvalid,omitempty"` // "" for the node's
	// OutboundPolicy as Policy's, over the node's.
	OutboundPolicy string `json:"outboundPolicy,omitempty"`
}

// What becomes of a pod whose annotations are malformed.
const (
	// Fail fails its ADD, with all that is wrong; a pod that runs already stays as it is.
	Fail = "fail"
	// Pass lets it through untouched, unless inject is enforced: then a malformed
	// annotation would be a way out.
	Pass = "pass"
)

// DefaultPath of the compiled policy: it survives a reboot, so that the first pods
// after one are selected as the last ones before it.
const DefaultPath = "/var/lib/sluice/policy.json"

// DefaultGate is how long a pod under failurePolicy bypass stays captured without a
// word from its agent.
const DefaultGate = 10 * time.Second

// Source brings policies. Run calls update with the first and with each other one, one
// call at a time, and ends with ctx; a source that is away keeps its last.
type Source interface {
	Run(ctx context.Context, update func(*Policy)) error
}

// layer is one place that says something about fields.
type layer struct {
	name    string
	fields  map[string]json.RawMessage
	enforce []string
}

// layers are those beneath the annotations, the strongest first where they enforce and
// the weakest first where they do not.
func layers(c Conf, p *Policy, namespace string) []layer {
	out := []layer{{"the configuration", c.Fields, c.Enforce}}
	if p == nil {
		return out
	}
	observe := p.Outbound(namespace) == Observe
	with := func(name, outbound string, fields map[string]json.RawMessage, enforce []string) {
		l := layer{name, fields, enforce}
		if observe && outbound == Observe && (!l.enforces(nonTCP) || l.enforces(OutboundPolicy)) {
			l.fields = observing(fields)
		}
		out = append(out, l)
	}
	with("the policy", p.OutboundPolicy, p.Defaults, p.Enforce)
	if of, found := p.Namespaces[namespace]; found && namespace != "" {
		with("the policy of namespace "+namespace, of.OutboundPolicy, of.Defaults, of.Enforce)
	}
	return out
}

func (l layer) enforces(field string) bool {
	return slices.Contains(l.enforce, field) || slices.Contains(l.enforce, Everything)
}

// onInvalid is what holds for a pod of the namespace.
func (p *Policy) onInvalid(namespace string) string {
	if p == nil {
		return Fail
	}
	for _, said := range []string{p.Namespaces[namespace].OnInvalid, p.OnInvalid} {
		if said != "" {
			return said
		}
	}
	return Fail
}
