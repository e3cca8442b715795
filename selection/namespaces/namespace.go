package namespaces

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/selection"
)

// Labels of a Namespace, with the values true and false.
const (
	// LabelInject is whether its pods are captured; one of them may still opt out of true.
	LabelInject = selection.AnnotationInject
	// LabelEnforce, where it is true, takes that choice from them.
	LabelEnforce = "sluice.dev/enforce"
)

// read is what a Namespace says. With an error it is what can be read of it: a value that
// cannot is what it was last, and kept says that there was such a one. A mistyped word
// must neither cut a namespace off nor let it go.
func read(o kubeapi.Object, last selection.NamespacePolicy) (of selection.NamespacePolicy, kept bool, err error) {
	var n struct {
		Metadata struct{ Labels, Annotations map[string]string }
	}
	if err := json.Unmarshal(o.JSON, &n); err != nil {
		return of, false, err
	}
	labels, annotations := n.Metadata.Labels, n.Metadata.Annotations
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	choice := func(label string, last *bool) *bool {
		value, given := labels[label]
		switch {
		case !given:
		case value == "true" || value == "false":
			yes := value == "true"
			return &yes
		default:
			complain("label %s %q: not a known value; use true or false", label, value)
			kept = kept || last != nil
			return last
		}
		return nil
	}
	of.Select = choice(LabelInject, last.Select)
	var enforced *bool
	if len(last.Enforce) > 0 {
		yes := true
		enforced = &yes
	}
	if enforce := choice(LabelEnforce, enforced); enforce != nil && *enforce {
		if of.Select != nil && !*of.Select {
			complain("label %s \"true\": not beside %s \"false\", which selects no pod; remove one of the two", LabelEnforce, LabelInject)
		} else {
			of.Enforce = []string{selection.Inject}
		}
	}
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		if strings.HasPrefix(label, "sluice.dev/") && label != LabelInject && label != LabelEnforce {
			complain("label %s: unknown; remove it, or use %s or %s", label, LabelInject, LabelEnforce)
		}
	}
	fields := map[string]string{}
	for _, f := range rules.Fields() {
		fields[f.Annotation] = f.Name
	}
	for _, name := range slices.Sorted(maps.Keys(annotations)) {
		value := annotations[name]
		field, known := fields[name]
		switch {
		case name == selection.AnnotationOutboundPolicy:
			of.OutboundPolicy = value
		case known:
			raw, err := json.Marshal(value)
			if err != nil {
				complain("annotation %s: %w", name, err)
				continue
			}
			if of.Defaults == nil {
				of.Defaults = map[string]json.RawMessage{}
			}
			of.Defaults[field] = raw
		case name == LabelInject || name == LabelEnforce:
			complain("annotation %s: has no effect on a namespace; make it a label: kubectl label namespace %s %s=%s", name, o.Name, name, value)
		case strings.HasPrefix(name, "sluice.dev/"), strings.HasPrefix(name, selection.TrafficAnnotations):
			complain("annotation %s: unknown; remove it or correct its name", name)
		}
	}
	// What is wrong with a value policies have one judge for.
	p := &selection.Policy{Namespaces: map[string]selection.NamespacePolicy{o.Name: of}}
	path := "namespaces." + o.Name + "."
	for _, problem := range p.Problems() {
		field, isDefault := strings.CutPrefix(problem.Path, path+"defaults.")
		text := strings.TrimPrefix(strings.TrimPrefix(problem.Text, path), "defaults.")
		switch {
		case isDefault:
			delete(of.Defaults, field)
			if raw, was := last.Defaults[field]; was {
				of.Defaults[field], kept = raw, true
			}
			complain("annotation %s: %s", annotationOf(field), text)
		case problem.Path == path+selection.OutboundPolicy:
			of.OutboundPolicy = last.OutboundPolicy
			kept = kept || last.OutboundPolicy != ""
			complain("annotation %s: %s", selection.AnnotationOutboundPolicy, text)
		default:
			complain("%s", text)
		}
	}
	if len(of.Defaults) == 0 {
		of.Defaults = nil
	}
	return of, kept, errors.Join(errs...)
}

func annotationOf(field string) string {
	for _, f := range rules.Fields() {
		if f.Name == field {
			return f.Annotation
		}
	}
	return field
}

// silent says that a namespace's policy says nothing.
func silent(of selection.NamespacePolicy) bool {
	return of.Select == nil && len(of.Defaults) == 0 && len(of.Enforce) == 0 && of.OnInvalid == "" && of.OutboundPolicy == ""
}
