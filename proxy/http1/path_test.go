package http1

import (
	"bytes"
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestDotSegmentsAndBackslashesAreNormalized(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"/":                   "/",
		"/a/b?x=../y":         "/a/b?x=../y",
		"/a/./b":              "/a/b",
		"/a/../b":             "/b",
		"/a/..":               "/",
		"/a/b/.":              "/a/b/",
		"/a/b/..":             "/a/",
		"/../../etc/passwd":   "/etc/passwd",
		`/a\..\b`:             "/b",
		"/a/%2e%2E/b":         "/b",
		"/a/.%2e/b":           "/b",
		"/a/%2f../b":          "/a/%2f../b",
		"/a//b":               "/a//b",
		"/a//../b":            "/a/b",
		"/.hidden/..name/...": "/.hidden/..name/...",
		"/a/../?q":            "/?q",
	} {
		if got := string(Normalize([]byte(in), nil)); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzNormalize(f *testing.F) {
	f.Add([]byte("/a/../%2e/b\\..?x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = append([]byte("/"), b...)
		got := Normalize(b, nil)
		if len(got) == 0 || got[0] != '/' {
			t.Fatalf("%q became %q", b, got)
		}
		if again := Normalize(got, nil); !bytes.Equal(again, got) {
			t.Fatalf("%q became %q, then %q", b, got, again)
		}
		plain, _, _ := strings.Cut(string(got), "?")
		decoded, err := url.PathUnescape(plain)
		if err == nil && !strings.ContainsAny(plain, "%") && !strings.Contains(decoded, "//") {
			if clean := path.Clean(decoded); clean != strings.TrimSuffix(decoded, "/") && decoded != "/" {
				t.Fatalf("%q became %q, which is not clean (%q)", b, got, clean)
			}
		}
	})
}
