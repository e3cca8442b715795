package mesh

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// String is what is wanted: prefix "/v1".
func (m *StringMatch) String() string {
	kind, value := "any value", ""
	switch {
	case m.Regex != nil:
		kind, value = "regex", strings.TrimSuffix(strings.TrimPrefix(m.Regex.String(), `^(?:`), `)$`)
	case m.Prefix != "":
		kind, value = "prefix", m.Prefix
	case m.Exact != "" || m.Empty:
		kind, value = "exact", m.Exact
	default:
		return kind
	}
	kind += " " + strconv.Quote(value)
	if m.IgnoreCase {
		kind += " in any case"
	}
	return kind
}

// String is all that must hold, in the order in which it is looked at.
func (m *HTTPMatch) String() string {
	var all []string
	one := func(name string, want *StringMatch) {
		if want != nil {
			all = append(all, name+" "+want.String())
		}
	}
	many := func(name string, wants map[string]*StringMatch) {
		for _, key := range slices.Sorted(maps.Keys(wants)) {
			one(fmt.Sprintf("%s %q", name, key), wants[key])
		}
	}
	one("uri", m.URI)
	many("query parameter", m.QueryParams)
	one("method", m.Method)
	one("scheme", m.Scheme)
	one("authority", m.Authority)
	many("header", m.Headers)
	many("not header", m.WithoutHeaders)
	if m.Port != 0 {
		all = append(all, fmt.Sprintf("port %d", m.Port))
	}
	if len(all) == 0 {
		return "everything"
	}
	return strings.Join(all, " and ")
}
