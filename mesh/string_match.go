package mesh

import (
	"regexp"
	"strings"
)

// StringMatch is Istio's StringMatch: at most one of Exact, Prefix and Regex is
// set; with none of them every value matches, so that a header or query
// parameter need only be there. The regular expression is RE2 and matches the
// whole value.
type StringMatch struct {
	Exact, Prefix string
	Regex         *regexp.Regexp
	IgnoreCase    bool // for Exact and Prefix
	Empty         bool // Exact is set, to ""
}

// Matches says whether a value is one that m wants.
func (m *StringMatch) Matches(value string) bool {
	switch {
	case m.Regex != nil:
		return m.Regex.MatchString(value)
	case m.Prefix != "" && m.IgnoreCase:
		return len(value) >= len(m.Prefix) && strings.EqualFold(value[:len(m.Prefix)], m.Prefix)
	case m.Prefix != "":
		return strings.HasPrefix(value, m.Prefix)
	case m.Exact != "" && m.IgnoreCase:
		return strings.EqualFold(value, m.Exact)
	case m.Exact != "" || m.Empty:
		return value == m.Exact
	}
	return true
}
