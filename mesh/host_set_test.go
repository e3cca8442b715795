package mesh

import (
	"slices"
	"testing"
)

func TestAHostSetAnswersAsTheListDoes(t *testing.T) {
	t.Parallel()
	hosts := []string{"a.com", "*.a.com", "b.a.com", "*.b.a.com", "c.b.a.com", "*", "*.com", "com", "a", "b.a.com.example.org", "*.example.org", "xa.com", "1.2.3.4"}
	for n := range len(hosts) + 1 {
		for rotated := range hosts {
			list := slices.Concat(hosts[rotated:], hosts[:rotated])[:n]
			s := newHostSet()
			for i, host := range list {
				s.add(host, i)
			}
			for _, host := range hosts {
				want := slices.IndexFunc(list, func(other string) bool { return overlap(host, other) })
				got, found := s.overlapping(host)
				if !found {
					got = -1
				}
				if got != want {
					t.Fatalf("%s overlaps with %d of %v, not %d", host, got, list, want)
				}
				if got, want := s.covers(host), slices.ContainsFunc(list, func(other string) bool { return covers(other, host) }); got != want {
					t.Fatalf("%s is covered by %v: %v", host, list, got)
				}
				if got := slices.Collect(ends(host)); !slices.EqualFunc(got, slices.Collect(wildcardsOver(host)), func(end, wildcard string) bool { return "*"+end == wildcard }) {
					t.Fatalf("over %s: %q", host, got)
				}
			}
		}
	}
}
