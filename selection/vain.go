package selection

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/sluice-cni/sluice/rules"
)

// InVain are the fields that one source says of a namespace without an effect in p, which
// is that source merged with more trusted ones: those exempt the namespace, enforce the
// field or say otherwise. A source's enforce is never in vain but in an exempt namespace.
func (p *Policy) InVain(namespace string, of NamespacePolicy) (fields []string) {
	exempt, _ := Exempt(Conf{}, p, namespace)
	if selected, _ := Select(Conf{}, p, Pod{Namespace: namespace}); of.Select != nil && selected != *of.Select {
		fields = append(fields, Inject)
	}
	if len(of.Enforce) > 0 && exempt {
		fields = append(fields, "enforce")
	}
	if of.OutboundPolicy != "" && (exempt || p.Outbound(namespace) != of.OutboundPolicy) {
		fields = append(fields, OutboundPolicy)
	}
	force, _ := Conf{}.beneath(p, namespace)
	for _, name := range slices.Sorted(maps.Keys(of.Defaults)) {
		if exempt || !sameValue(name, force[name], of.Defaults[name]) {
			fields = append(fields, name)
		}
	}
	return fields
}

// sameValue compares two spellings of a field's value, as "true" and true are.
func sameValue(name string, a, b json.RawMessage) bool {
	value := func(raw json.RawMessage) (string, error) {
		config, _, err := rules.DecodeValues(map[string]json.RawMessage{name: raw})
		for _, f := range rules.Fields() {
			if f.Name == name {
				return f.Value(config), err
			}
		}
		return "", err
	}
	x, errX := value(a)
	y, errY := value(b)
	return a != nil && errX == nil && errY == nil && x == y
}
