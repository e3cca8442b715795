package mesh

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// selector says which workloads a rule is for: those of a namespace that have all the
// labels (sourceLabels and sourceNamespace of a match, workloadSelector of a
// DestinationRule). Selectors are decided when a view is built and cost a request
// nothing.
type selector struct {
	namespace string // "": any
	labels    map[string]string
	text      string // the same for selectors that say the same
}

// newSelector gives nil, which takes every workload, where nothing is said.
func newSelector(namespace string, labels map[string]string) *selector {
	if namespace == "" && len(labels) == 0 {
		return nil
	}
	s := &selector{namespace: namespace, labels: labels}
	var b strings.Builder
	b.WriteString(namespace)
	for _, l := range s.sorted() {
		b.WriteString("," + strconv.Quote(l.name) + "=" + strconv.Quote(l.value))
	}
	b.WriteByte(';')
	s.text = b.String()
	return s
}

type label struct{ name, value string }

func (s *selector) sorted() []label {
	out := make([]label, 0, len(s.labels))
	for name, value := range s.labels {
		out = append(out, label{name, value})
	}
	slices.SortFunc(out, func(a, b label) int { return cmp.Compare(a.name, b.name) })
	return out
}

func (s *selector) takes(w Workload) bool {
	return s == nil || (s.namespace == "" || s.namespace == w.Namespace) && hasLabels(w.Labels, s.labels)
}

// says compares what two selectors say.
func (s *selector) says(other *selector) bool {
	return s == other || s != nil && other != nil && s.text == other.text
}

// hasLabels says whether every wanted label is there.
func hasLabels(labels, wanted map[string]string) bool {
	for name, value := range wanted {
		if got, ok := labels[name]; !ok || got != value {
			return false
		}
	}
	return true
}

// selectors are those of a snapshot that look at labels, each once. They are kept
// under one of their labels, so that a workload is compared only with what it may
// match.
type selectors map[label]map[string]*selector

func (x selectors) add(s *selector) {
	if s == nil || len(s.labels) == 0 {
		return // the namespace is part of a view's key as it is
	}
	first := s.sorted()[0]
	if x[first] == nil {
		x[first] = make(map[string]*selector)
	}
	x[first][s.text] = s
}

// taking is what the selectors have to say about a workload, in one string: workloads
// of a namespace that agree on it are told apart by none of them. "" is none takes it.
func (x selectors) taking(w Workload) string {
	if len(x) == 0 {
		return ""
	}
	var found []string
	for name, value := range w.Labels {
		for text, s := range x[label{name, value}] {
			if s.takes(w) {
				found = append(found, text)
			}
		}
	}
	slices.Sort(found)
	return strings.Join(found, "")
}
