package selection

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/rules"
)

// Problem is one thing that is wrong with a policy.
type Problem struct {
	// Path is the field's, such as namespaces.shop.defaults.nonTCP; it is a prefix of
	// Text, which is the whole sentence.
	Path, Text string
}

// Validate reports all that is wrong with a policy. nil is valid.
func (p *Policy) Validate() error {
	var errs []error
	for _, problem := range p.Problems() {
		errs = append(errs, errors.New(problem.Text))
	}
	return errors.Join(errs...)
}

// Problems is Validate for who knows where each field was written.
func (p *Policy) Problems() (out []Problem) {
	if p == nil {
		return nil
	}
	complain := func(path, format string, args ...any) {
		out = append(out, Problem{path, path + fmt.Sprintf(format, args...)})
	}
	if p.Selection != "" && p.Selection != All && p.Selection != Annotated {
		complain("selection", " %q: not a known value; use all or annotated", p.Selection)
	}
	if p.Selection == Annotated && slices.Contains(p.Enforce, Inject) {
		complain("enforce", ` "inject": selection is annotated, so no pod could choose; remove it or set selection to all`)
	}
	for i, name := range p.ExemptNamespaces {
		path := fmt.Sprintf("exemptNamespaces[%d]", i)
		if !isNamespace(name) {
			complain(path, " %q: %s", name, noNamespace)
		}
		if _, both := p.Namespaces[name]; both {
			complain(path, " %q: also in namespaces, where it would have no effect; remove it from one of the two", name)
		}
	}
	out = append(out, judgeLayer("", p.Defaults, p.Enforce, p.OnInvalid, p.OutboundPolicy)...)
	for _, name := range slices.Sorted(maps.Keys(p.Namespaces)) {
		of, path := p.Namespaces[name], "namespaces."+name
		if !isNamespace(name) {
			complain(path, ": %s", noNamespace)
		}
		out = append(out, judgeLayer(path+".", of.Defaults, of.Enforce, of.OnInvalid, of.OutboundPolicy)...)
		if of.Select != nil && !*of.Select && slices.Contains(of.Enforce, Inject) {
			complain(path+".enforce", ` "inject": select is false, and inject would select every pod; remove one of the two`)
		}
	}
	return out
}

// Contradictions are what a valid policy says that no pod can have: each field is right by
// itself. They are for who writes a policy. One that was compiled with them is used all the
// same, since they are the trouble of those pods and of no others.
func (p *Policy) Contradictions() (out []Problem) {
	if p == nil {
		return nil
	}
	namespaces := slices.Sorted(maps.Keys(p.Namespaces))
	for _, namespace := range append([]string{""}, namespaces...) {
		fields, _ := Conf{}.beneath(p, namespace)
		config, _, err := rules.DecodeValues(fields)
		if err != nil || !bypassWithoutGate(config) {
			continue
		}
		prefix, own := "defaults.", p.Defaults
		if namespace != "" {
			prefix, own = "namespaces."+namespace+".defaults.", p.Namespaces[namespace].Defaults
		}
		name, value, other := "failurePolicy", string(config.FailurePolicy), "backend "+string(config.Backend)
		if own[name] == nil {
			name, value, other = "backend", string(config.Backend), "failurePolicy bypass"
		}
		if own[name] != nil { // else it is said where it is written
			out = append(out, Problem{prefix + name, fmt.Sprintf("%s%s %q: not beside %s: bypass %v", prefix, name, value, other, ErrBypassNeedsNFT)})
		}
	}
	return out
}

// judgeLayer judges what the node's policy and that of a namespace have in common.
func judgeLayer(prefix string, defaults map[string]json.RawMessage, enforce []string, onInvalid, outbound string) (out []Problem) {
	for _, name := range slices.Sorted(maps.Keys(defaults)) {
		config, _, err := rules.DecodeValues(map[string]json.RawMessage{name: defaults[name]})
		if err == nil {
			err = notInNodeMode(config, nil)
		}
		if err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				out = append(out, Problem{prefix + "defaults." + name, prefix + "defaults." + line})
			}
		}
	}
	known := append(fieldNames(), Inject, OutboundPolicy, Everything)
	for i, name := range enforce {
		if !slices.Contains(known, name) {
			path := fmt.Sprintf("%senforce[%d]", prefix, i)
			out = append(out, Problem{path, fmt.Sprintf("%s %q: not a field that annotations or namespaces can set; use the field names of docs/configuration.md, inject, outboundPolicy, or *", path, name)})
		}
	}
	if onInvalid != "" && onInvalid != Fail && onInvalid != Pass {
		path := prefix + "onInvalid"
		out = append(out, Problem{path, fmt.Sprintf("%s %q: not a known value; use fail or pass", path, onInvalid)})
	}
	if wrong := judgeOutbound(outbound); wrong != "" {
		path := prefix + OutboundPolicy
		out = append(out, Problem{path, path + " " + wrong})
	}
	return out
}

const noNamespace = "not the name of a namespace; use up to 63 of a-z, 0-9 and -"

// isNamespace reports whether a name can be a Kubernetes namespace's (a label of RFC
// 1123): the pods of a misspelt one would be left to the rest of the policy, and nobody
// would know.
func isNamespace(name string) bool {
	ok := len(name) > 0 && len(name) <= 63 && name[0] != '-' && name[len(name)-1] != '-'
	for _, r := range name {
		ok = ok && (r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-')
	}
	return ok
}
