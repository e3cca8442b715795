package mesh

import (
	"iter"
	"strings"
)

// hostSet is a list of hosts in which others are looked up by name: there may be tens of
// thousands of either. Its keys are parts of the hosts' own text.
type hostSet struct {
	at    map[string]int // host ▸ its place in the list, of the first
	over  map[string]int // the same of wildcards, without their star
	below map[string]int // what follows a wildcard's star ▸ the first host that it covers
}

func newHostSet() hostSet { return hostSet{map[string]int{}, map[string]int{}, map[string]int{}} }

// ends gives what follows the star of the wildcards that cover a host: of wildcardsOver,
// without making a text of each.
func ends(host string) iter.Seq[string] {
	return func(yield func(string) bool) {
		rest := strings.TrimPrefix(host, "*")
		for from := 1; from < len(rest); from++ {
			if rest[from] == '.' && !yield(rest[from:]) {
				return
			}
		}
		if host != "*" {
			yield("")
		}
	}
}

// add takes in the host at a place of the list, after those before it.
func (s hostSet) add(host string, place int) {
	note := func(all map[string]int, name string) {
		if _, there := all[name]; !there {
			all[name] = place
		}
	}
	note(s.at, host)
	if isWildcard(host) {
		note(s.over, host[1:])
	}
	for end := range ends(host) {
		note(s.below, end)
	}
}

// overlapping is the place of the first host of which some name is the other's too.
func (s hostSet) overlapping(host string) (place int, found bool) {
	consider := func(all map[string]int, name string) {
		if at, there := all[name]; there && (!found || at < place) {
			place, found = at, true
		}
	}
	consider(s.at, host)
	if isWildcard(host) {
		consider(s.below, host[1:])
	}
	for end := range ends(host) {
		consider(s.over, end)
	}
	return place, found
}

// meets says whether there is one.
func (s hostSet) meets(host string) bool {
	_, found := s.overlapping(host)
	return found
}

// covers says whether each name of a host is one of a host in the list.
func (s hostSet) covers(host string) bool {
	if _, there := s.at[host]; there {
		return true
	}
	for end := range ends(host) {
		if _, there := s.over[end]; there {
			return true
		}
	}
	return false
}
