package plugin

import (
	"fmt"
	"slices"
)

// annotationInject takes a pod out (false) or, where only annotated pods are
// selected, in (true).
const (
	optionInject     = "inject"
	annotationInject = ownAnnotations + optionInject
)

// unselected says why the pod is none of the plugin's business, "" when it is.
// It looks at nothing but the configuration and the annotations, so a pod that is
// not selected passes whatever is broken; what cannot be read selects, and the
// error is reported then.
//
//	excludeNamespaces holds its namespace     no   nothing a pod can change
//	inject is enforced                        yes  whatever the annotation says
//	annotation inject is "false"              no
//	selection is annotated, no annotation     no
//	otherwise                                 yes
func (c conf) unselected() string {
	s := c.settings
	if c.pod.namespace != "" && slices.Contains(s.excludeNamespaces, c.pod.namespace) {
		return fmt.Sprintf("namespace %s is in excludeNamespaces", c.pod.namespace)
	}
	if slices.Contains(s.broken, keySelection) || slices.Contains(s.broken, keyEnforce) {
		return ""
	}
	inject, given := c.pod.annotations[annotationInject]
	switch {
	case s.selection == selectAll && s.enforces(optionInject):
		return ""
	case given && inject == "false":
		return fmt.Sprintf("annotation %s is false", annotationInject)
	case s.selection == selectAnnotated && !given:
		return fmt.Sprintf("selection is annotated, and there is no annotation %s", annotationInject)
	}
	return ""
}

// role is what an interface means to the plugin. The rules hold for the whole
// namespace, whatever the number of its interfaces.
type role uint8

const (
	owner  role = iota // ADD programs, DEL removes
	member             // ADD programs, DEL leaves the rules to the owner
	extra              // not ours; but the pod's rules, where there are any, must cover it
)

func (s settings) role(ifname string) role {
	every := s.interfaces[0] == everything
	switch {
	case every && ifname == defaultInterface, !every && ifname == s.interfaces[0]:
		return owner
	case every, slices.Contains(s.interfaces, ifname):
		return member
	}
	return extra
}
