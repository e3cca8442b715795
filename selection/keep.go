package selection

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
)

// Keep makes the file hold the policy: it writes where the file holds another one, none
// or nothing that can be used, and counts the generation up. p.Generation is that of the
// file afterwards. With an error the file is as it was.
func Keep(path string, p *Policy) (changed bool, err error) {
	before, err := ReadFile(path)
	switch {
	case err == nil && Same(before, p):
		p.Generation = before.Generation
		return false, nil
	case err == nil:
		p.Generation = before.Generation + 1
	case errors.Is(err, ErrNone), errors.Is(err, ErrTorn):
		p.Generation = 1
	}
	return true, p.WriteFile(path)
}

// Same reports whether two policies say the same, whatever their generations.
func Same(a, b *Policy) bool {
	if a == nil || b == nil {
		return a == b
	}
	without := func(p Policy) []byte {
		p.Generation = 0
		data, err := json.Marshal(p)
		if err != nil {
			return nil
		}
		return data
	}
	x, y := without(*a), without(*b)
	return x != nil && bytes.Equal(x, y)
}

// Merge is what several sources say together, the most trusted first: what the first
// says of a field stands. Namespaces that any of them exempts are exempt, and what any
// of them enforces is enforced. What one enforces for a namespace no later one sets
// there, nor lets its pods go where that is everything. A nil one says nothing; nothing
// at all is nil.
func Merge(policies ...*Policy) *Policy {
	var out *Policy
	for _, p := range policies {
		switch {
		case p == nil:
		case out == nil:
			out = clone(p)
		default:
			out.add(p)
		}
	}
	out.reconcile()
	return out
}

// reconcile takes out what has no effect where one source says more than another knows:
// it would be a mistake in one.
func (p *Policy) reconcile() {
	if p == nil {
		return
	}
	if p.Selection == Annotated && slices.Contains(p.Enforce, Inject) {
		p.Selection = All
	}
	maps.DeleteFunc(p.Namespaces, func(name string, _ NamespacePolicy) bool { return slices.Contains(p.ExemptNamespaces, name) })
	for name, of := range p.Namespaces {
		if of.Select != nil && !*of.Select && slices.Contains(of.Enforce, Inject) {
			of.Select = nil
			p.Namespaces[name] = of
		}
	}
}

func clone(p *Policy) *Policy {
	c := *p
	c.Namespaces = maps.Clone(p.Namespaces)
	return &c
}

func (p *Policy) add(o *Policy) {
	p.Generation = max(p.Generation, o.Generation)
	p.ExemptNamespaces = union(p.ExemptNamespaces, o.ExemptNamespaces)
	p.Selection = first(p.Selection, o.Selection)
	p.OnInvalid = first(p.OnInvalid, o.OnInvalid)
	p.OutboundPolicy = first(p.OutboundPolicy, o.OutboundPolicy)
	p.Defaults, p.Enforce = beneath(p.Defaults, o.Defaults), union(p.Enforce, o.Enforce)
	for name, theirs := range o.Namespaces {
		if p.Namespaces == nil {
			p.Namespaces = map[string]NamespacePolicy{}
		}
		ours := p.Namespaces[name]
		theirs = theirs.without(ours.Enforce)
		if ours.Select == nil {
			ours.Select = theirs.Select
		}
		ours.OnInvalid = first(ours.OnInvalid, theirs.OnInvalid)
		ours.OutboundPolicy = first(ours.OutboundPolicy, theirs.OutboundPolicy)
		ours.Defaults, ours.Enforce = beneath(ours.Defaults, theirs.Defaults), union(ours.Enforce, theirs.Enforce)
		p.Namespaces[name] = ours
	}
}

// without is what a source still says of a namespace for which a more trusted one
// enforces these: of inject only that its pods are captured.
func (of NamespacePolicy) without(enforced []string) NamespacePolicy {
	held := func(field string) bool {
		return slices.Contains(enforced, field) || slices.Contains(enforced, Everything)
	}
	if held(Inject) && of.Select != nil && !*of.Select {
		of.Select = nil
	}
	if held(OutboundPolicy) {
		of.OutboundPolicy = ""
	}
	of.Defaults = maps.Clone(of.Defaults)
	maps.DeleteFunc(of.Defaults, func(field string, _ json.RawMessage) bool { return held(field) })
	return of
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, name := range b {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// beneath puts fields under others, which win.
func beneath(over, under map[string]json.RawMessage) map[string]json.RawMessage {
	if len(over)+len(under) == 0 {
		return nil
	}
	out := map[string]json.RawMessage{}
	maps.Copy(out, under)
	maps.Copy(out, over)
	return out
}
