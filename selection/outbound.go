package selection

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/rules"
)

// What becomes of traffic for which nothing is registered.
const (
	// Observe lets everything pass, as AllowAny does, what is not TCP too unless field nonTCP
	// says otherwise, and says what RegistryOnly would have refused: for a namespace
	// before it is governed.
	Observe = "Observe"
	// RegistryOnly refuses it, AllowAny lets it pass: the names of Istio's
	// outboundTrafficPolicy.
	RegistryOnly = "REGISTRY_ONLY"
	AllowAny     = "ALLOW_ANY"
)

// OutboundPolicy is the field of a policy, and what enforces it by name.
const OutboundPolicy = "outboundPolicy"

// AnnotationOutboundPolicy says it of a namespace, as an annotation of that. A pod has no
// say in it: it would be a way around REGISTRY_ONLY for whoever writes pods.
const AnnotationOutboundPolicy = ownAnnotations + OutboundPolicy

func outboundPolicies() []string { return []string{Observe, RegistryOnly, AllowAny} }

// judgeOutbound says what is wrong with a value, "" for nothing.
func judgeOutbound(value string) string {
	if value == "" || slices.Contains(outboundPolicies(), value) {
		return ""
	}
	return fmt.Sprintf("%q: not a known value; use %s", value, strings.Join(outboundPolicies(), ", "))
}

// Outbound is what holds for the namespace's pods, whatever is broken about them.
func (p *Policy) Outbound(namespace string) string {
	value, _ := p.outbound(namespace)
	return value
}

// outbound is what holds for the namespace's pods, "" for what resources say. A policy
// that enforces it, by name or with everything else, leaves namespaces no choice; the
// plugin's entry has no say.
func (p *Policy) outbound(namespace string) (value string, notes []rules.Warning) {
	if p == nil {
		return "", nil
	}
	of := p.Namespaces[namespace].OutboundPolicy
	switch {
	case of == "" || namespace == "":
		return p.OutboundPolicy, nil
	case (layer{enforce: p.Enforce}).enforces(OutboundPolicy) && of != p.OutboundPolicy:
		return p.OutboundPolicy, []rules.Warning{{Field: OutboundPolicy, Text: "is enforced by the policy: " + of + " of namespace " + namespace + " is ignored"}}
	}
	return of, nil
}

const nonTCP = "nonTCP"

// observing are the fields of a layer whose own word is Observe: what cannot be written
// down passes as well, unless the layer itself says otherwise.
func observing(fields map[string]json.RawMessage) map[string]json.RawMessage {
	if _, said := fields[nonTCP]; said {
		return fields
	}
	fields = maps.Clone(fields)
	if fields == nil {
		fields = map[string]json.RawMessage{}
	}
	fields[nonTCP] = json.RawMessage(`"` + rules.NonTCPAllow + `"`)
	return fields
}
