package mesh

import "slices"

// scope is exportTo: the namespaces that see a resource.
type scope struct {
	own        string // the resource's namespace
	everyone   bool
	namespaces []string
}

func newScope(namespace string, exportTo []string) scope {
	s := scope{own: namespace, everyone: len(exportTo) == 0}
	for _, to := range exportTo {
		switch to {
		case "*":
			s.everyone = true
		case ".":
			s.namespaces = append(s.namespaces, namespace)
		case "~": // nobody
		default:
			s.namespaces = append(s.namespaces, to)
		}
	}
	return s
}

func (s scope) includes(namespace string) bool {
	return s.everyone || slices.Contains(s.namespaces, namespace)
}

// overlaps says whether some namespace may see both.
func (s scope) overlaps(other scope) bool {
	switch {
	case s.everyone:
		return other.everyone || len(other.namespaces) > 0
	case other.everyone:
		return len(s.namespaces) > 0
	}
	return slices.ContainsFunc(s.namespaces, other.includes)
}
