package mesh

import (
	"iter"
	"strings"
)

// canonicalHost is how hosts are compared: lower case, no trailing dot.
func canonicalHost(host string) string {
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

func isWildcard(host string) bool { return strings.HasPrefix(host, "*") }

// covers says whether every name that host stands for is one that pattern stands
// for. A wildcard stands for names of any depth below it, never for the bare domain.
func covers(pattern, host string) bool {
	if pattern == host {
		return true
	}
	return isWildcard(pattern) && len(host) >= len(pattern) && strings.HasSuffix(strings.TrimPrefix(host, "*"), pattern[1:])
}

// overlap says whether some name belongs to both.
func overlap(a, b string) bool { return covers(a, b) || covers(b, a) }

// wildcardsOver lists the wildcards that cover a host, the longest first:
// a.b.example.com has *.b.example.com, *.example.com, *.com and *.
func wildcardsOver(host string) iter.Seq[string] {
	return func(yield func(string) bool) {
		rest := strings.TrimPrefix(host, "*")
		from := 1
		for {
			dot := strings.IndexByte(rest[min(from, len(rest)):], '.')
			if dot < 0 {
				break
			}
			from += dot
			if !yield("*" + rest[from:]) {
				return
			}
			from++
		}
		if host != "*" {
			yield("*")
		}
	}
}

// hostIndex finds what is kept for a host, exactly or by its longest wildcard.
type hostIndex[T any] map[string]T

func (x hostIndex[T]) find(host string) (T, bool) {
	if v, ok := x[host]; ok {
		return v, true
	}
	for wildcard := range wildcardsOver(host) {
		if v, ok := x[wildcard]; ok {
			return v, true
		}
	}
	var none T
	return none, false
}
