package mesh

import "regexp"

// StringMatch is Istio's StringMatch: exactly one of the three is set. The
// regular expression is RE2 and must match the whole value.
type StringMatch struct {
	Exact, Prefix string
	Regex         *regexp.Regexp
}
