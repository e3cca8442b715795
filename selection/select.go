package selection

import (
	"fmt"
	"slices"
)

// Inject, as an annotation or a label, takes a pod out (false) or, where only annotated pods are
// selected, in (true); as an enforced name it takes that choice from the pods.
const (
	Inject           = "inject"
	AnnotationInject = ownAnnotations + Inject
)

// Select says whether the pod is sluice's business, and why. It looks at names, the
// one annotation or label, and for others' sidecars only, so a pod that is not selected passes whatever is broken; what
// cannot be read selects, and Decide reports the error then. The first line decides:
//
//	excludeNamespaces of the entry holds its namespace      no
//	exemptNamespaces of the policy does                     no
//	entry, policy or the namespace's policy enforce inject  yes
//	another mesh's sidecar serves it                        no
//	annotation inject, else the label, is "false"           no
//	the namespace's policy says select                      what it says
//	selection is annotated, neither annotation nor label    no
//	otherwise                                               yes
func Select(c Conf, p *Policy, pod Pod) (selected bool, why string) {
	if exempt, why := Exempt(c, p, pod.Namespace); exempt {
		return false, why
	}
	if slices.Contains(c.broken, KeySelection) || slices.Contains(c.broken, KeyEnforce) {
		return true, "what selects cannot be read"
	}
	if by := injectEnforcedBy(c, p, pod.Namespace); by != "" {
		return true, by + " enforces it"
	}
	if mesh := pod.anothers(); mesh != "" {
		return false, mesh + leftAlone
	}
	inject, given, what := pod.inject()
	if given && inject == "false" {
		return false, fmt.Sprintf("%s %s is false", what, AnnotationInject)
	}
	if said := p.selects(pod.Namespace); said != nil {
		return *said, fmt.Sprintf("the policy of namespace %s says select %v", pod.Namespace, *said)
	}
	switch {
	case given:
		return true, fmt.Sprintf("%s %s", what, AnnotationInject)
	case selectionOf(c, p) == Annotated:
		return false, fmt.Sprintf("selection is annotated, and there is neither annotation nor label %s", AnnotationInject)
	}
	return true, "selection is all"
}

const leftAlone = "'s sidecar serves it"

// LeftAlone names the mesh for whose sidecar the pod is not selected, "" where that is
// not why.
func LeftAlone(c Conf, p *Policy, pod Pod) string {
	mesh := pod.anothers()
	if _, why := Select(c, p, pod); mesh == "" || why != mesh+leftAlone {
		return ""
	}
	return mesh
}

// inject is the pod's own word: its annotation, or where there is none its label. A label
// can say nothing else than the annotation, and one that is neither true nor false is no
// word: labels are for others too.
func (p Pod) inject() (value string, given bool, what string) {
	if value, given = p.Annotations[AnnotationInject]; given {
		return value, true, "annotation"
	}
	if value, given = p.Labels[AnnotationInject]; given && judgeInject(value) == nil {
		return value, true, "label"
	}
	return "", false, ""
}

// Exempt reports whether the pods of a namespace pass through whatever they say: what
// no pod can change, and all that counts while a policy cannot be read.
func Exempt(c Conf, p *Policy, namespace string) (exempt bool, why string) {
	switch {
	case namespace == "":
	case slices.Contains(c.ExcludeNamespaces, namespace):
		return true, fmt.Sprintf("namespace %s is in excludeNamespaces", namespace)
	case p != nil && slices.Contains(p.ExemptNamespaces, namespace):
		return true, fmt.Sprintf("namespace %s is in exemptNamespaces", namespace)
	}
	return false, ""
}

func (p *Policy) selects(namespace string) *bool {
	if p == nil || namespace == "" {
		return nil
	}
	return p.Namespaces[namespace].Select
}

func selectionOf(c Conf, p *Policy) string {
	if p != nil && p.Selection != "" {
		return p.Selection
	}
	return c.Selection
}

// injectEnforcedBy names who takes the choice from the pod, "" for nobody. A star
// enforces what would be the case without annotations, so where only annotated pods
// are selected it leaves them that one.
func injectEnforcedBy(c Conf, p *Policy, namespace string) string {
	if c.Selection == All && enforcesInject(c.Enforce, true) {
		return "the configuration"
	}
	if p == nil {
		return ""
	}
	everybody := selectionOf(c, p) == All
	if enforcesInject(p.Enforce, everybody) {
		return "the policy"
	}
	of, found := p.Namespaces[namespace]
	if of.Select != nil {
		everybody = *of.Select
	}
	if found && namespace != "" && enforcesInject(of.Enforce, everybody) {
		return "the policy of namespace " + namespace
	}
	return ""
}

func enforcesInject(list []string, star bool) bool {
	return slices.Contains(list, Inject) || star && slices.Contains(list, Everything)
}
