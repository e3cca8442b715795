package selection

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/internal/prefixed"
	"github.com/sluice-cni/sluice/rules"
)

// ownAnnotations is the name space in which an unknown name is a mistake.
// Everybody else's annotations, Istio's included, are everybody else's business.
const ownAnnotations = "sluice.dev/"

// TrafficAnnotations is where Istio has those that say what a sidecar captures, all of which
// are fields here. Another one is a misspelt one: it says nothing, which is worth a warning.
const TrafficAnnotations = "traffic.sidecar.istio.io/"

// Heeded leaves those of a pod's annotations that sluice, or a later version of it, may
// look at: its own, Istio's and Linkerd's. The others can be large, and are nobody's business.
func Heeded(annotations map[string]string) map[string]string {
	var out map[string]string
	for name, value := range annotations {
		domain, _, _ := strings.Cut(name, "/")
		if strings.HasPrefix(name, ownAnnotations) || domain == "istio.io" || strings.HasSuffix(domain, ".istio.io") || domain == "linkerd.io" {
			if out == nil {
				out = map[string]string{}
			}
			out[name] = value
		}
	}
	return out
}

// olderNames are annotations that Istio still reads though it has newer names for
// them; the newer one wins.
var olderNames = map[string]string{
	"traffic.sidecar.istio.io/kubevirtInterfaces": "istio.io/reroute-virtual-interfaces",
}

// annotated puts a pod's annotations over the fields; those that somebody enforces are
// ignored with a warning, good or bad. enforced gives who enforces a field, "" for
// nobody. from gets the annotation of each field that one sets.
func annotated(fields map[string]json.RawMessage, annotations map[string]string, enforced func(field string) string) (
	out map[string]json.RawMessage, from map[string]string, warnings []rules.Warning, err error) {
	out, from = maps.Clone(fields), map[string]string{}
	byAnnotation := map[string]string{}
	for _, f := range rules.Fields() {
		byAnnotation[f.Annotation] = f.Name
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(annotations)) {
		field, known := byAnnotation[current(name, annotations)]
		switch {
		case name == AnnotationInject:
			errs = append(errs, judgeInject(annotations[name]))
		case !known && strings.HasPrefix(name, ownAnnotations):
			errs = append(errs, unknownAnnotation(name, byAnnotation))
		case !known && strings.HasPrefix(name, TrafficAnnotations):
			warnings = append(warnings, rules.Warning{Field: "annotation", Text: name + ": unknown, and has no effect; " + rightName(name, byAnnotation)})
		case !known:
		case enforced(field) != "":
			warnings = append(warnings, rules.Warning{Field: field, Text: "is enforced by " + enforced(field) + ": annotation " + name + " is ignored"})
		default:
			raw, err := annotationValue(field, annotations[name])
			if err != nil {
				errs = append(errs, prefixed.Each("annotation "+name+": ", err))
				continue
			}
			out[field], from[field] = raw, name
		}
	}
	return out, from, warnings, errors.Join(errs...)
}

// current is the newer name of an annotation, unless the pod has that one too.
func current(name string, annotations map[string]string) string {
	newer, old := olderNames[name]
	if _, both := annotations[newer]; !old || both {
		return name
	}
	return newer
}

// annotationValue is the text as the JSON string that says the same, once it is
// known to be good: the error should name the annotation.
func annotationValue(field, text string) (json.RawMessage, error) {
	scratch := rules.Default()
	if _, err := scratch.Set(field, text); err != nil {
		return nil, err
	}
	return json.Marshal(text)
}

func judgeInject(value string) error {
	if value != "true" && value != "false" {
		return fmt.Errorf("annotation %s %q: not a known value; use true or false", AnnotationInject, value)
	}
	return nil
}

// unknownAnnotation is one of sluice's own name space that is none of its own.
func unknownAnnotation(name string, known map[string]string) error {
	option := strings.TrimPrefix(name, ownAnnotations)
	if strings.EqualFold(option, OutboundPolicy) {
		return fmt.Errorf("annotation %s: not a pod's to say; put it on the namespace, or into the policy", name)
	}
	return fmt.Errorf("annotation %s: unknown; %s", name, rightName(name, known))
}

// rightName is the annotation that a misspelt one would be, by name or by its field's.
func rightName(name string, known map[string]string) string {
	_, option, _ := strings.Cut(name, "/")
	if strings.EqualFold(option, Inject) {
		return "did you mean " + AnnotationInject
	}
	for _, annotation := range slices.Sorted(maps.Keys(known)) {
		if strings.EqualFold(known[annotation], option) || strings.EqualFold(annotation, name) {
			return "did you mean " + annotation
		}
	}
	return "remove it or correct its name"
}
