package main

import "testing"

func TestStreamsAreOneBehindTheOther(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ first, second, want string }{
		{"", "\ufeffa: 1\n", "\ufeffa: 1\n"},
		{"a: 1\n", "b: 2\n", "a: 1\n---\nb: 2\n"},
		{"a: 1", "\ufeffb: 2\n", "a: 1\n---\nb: 2\n"},
		{"a: 1\n", "\ufeff%YAML 1.1\n---\nb: 2\n", "a: 1\n...\n%YAML 1.1\n---\nb: 2\n"},
	} {
		if got := string(appendStream([]byte(c.first), []byte(c.second))); got != c.want {
			t.Errorf("%q and %q are %q, want %q", c.first, c.second, got, c.want)
		}
	}
}
