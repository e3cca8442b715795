package selection

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sluice-cni/sluice/rules"
)

// Validate reports all that is wrong with a policy, each error with the path of its
// field. nil is valid.
func (p *Policy) Validate() error {
	if p == nil {
		return nil
	}
	var errs []error
	if p.Selection != "" && p.Selection != All && p.Selection != Annotated {
		errs = append(errs, fmt.Errorf("selection %q: not a known value; use all or annotated", p.Selection))
	}
	if p.Selection == Annotated && slices.Contains(p.Enforce, Inject) {
		errs = append(errs, errors.New(`enforce "inject": selection is annotated, so no pod could choose; remove it or set selection to all`))
	}
	for i, name := range p.ExemptNamespaces {
		if _, both := p.Namespaces[name]; both {
			errs = append(errs, fmt.Errorf("namespaces.%s: is also in exemptNamespaces, which wins; remove it from one of the two", name))
		}
		errs = append(errs, namespaceName(fmt.Sprintf("exemptNamespaces[%d]", i), name))
	}
	errs = append(errs, judgeLayer("", p.Defaults, p.Enforce, p.OnInvalid))
	for _, name := range slices.Sorted(maps.Keys(p.Namespaces)) {
		of := p.Namespaces[name]
		path := "namespaces." + name
		errs = append(errs, namespaceName(path, name), judgeLayer(path+".", of.Defaults, of.Enforce, of.OnInvalid))
		if of.Select != nil && !*of.Select && slices.Contains(of.Enforce, Inject) {
			errs = append(errs, fmt.Errorf(`%s.enforce "inject": select is false, and inject would select every pod; remove one of the two`, path))
		}
	}
	return errors.Join(errs...)
}

// judgeLayer judges what the node's policy and that of a namespace have in common.
func judgeLayer(path string, defaults map[string]json.RawMessage, enforce []string, onInvalid string) error {
	var errs []error
	config, _, err := rules.DecodeValues(defaults)
	if err != nil {
		errs = append(errs, eachWith(path+"defaults.", err))
	} else if err := notInNodeMode(config, nil); err != nil {
		errs = append(errs, eachWith(path+"defaults.", err))
	}
	known := append(fieldNames(), Inject, Everything)
	for i, name := range enforce {
		if !slices.Contains(known, name) {
			errs = append(errs, fmt.Errorf("%senforce[%d] %q: not a field that annotations can set; use the field names of docs/configuration.md, inject, or *", path, i, name))
		}
	}
	if onInvalid != "" && onInvalid != Fail && onInvalid != Pass {
		errs = append(errs, fmt.Errorf("%sonInvalid %q: not a known value; use fail or pass", path, onInvalid))
	}
	return errors.Join(errs...)
}

// namespaceName refuses what can be no Kubernetes namespace (a label of RFC 1123): a
// misspelt one would leave its pods to the rest of the policy, and nobody would know.
func namespaceName(path, name string) error {
	ok := len(name) > 0 && len(name) <= 63 && name[0] != '-' && name[len(name)-1] != '-'
	for _, r := range name {
		ok = ok && (r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-')
	}
	if !ok {
		return fmt.Errorf("%s %q: not a namespace; use up to 63 of a-z, 0-9 and -", path, name)
	}
	return nil
}
