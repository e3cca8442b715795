package http1diff

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// seed gives a target the corpus of proxy/http1's own, and the documented differences.
func seed(f *testing.F, target string) {
	f.Helper()
	files, err := filepath.Glob("../../proxy/http1/testdata/fuzz/" + target + "/*")
	if err != nil || len(files) == 0 {
		f.Fatal("no corpus: ", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			quoted, isBytes := strings.CutPrefix(strings.TrimSpace(line), "[]byte(")
			if text, err := strconv.Unquote(strings.TrimSuffix(quoted, ")")); isBytes && err == nil {
				f.Add([]byte(text))
			}
		}
	}
	for _, d := range differences {
		if d.target == target {
			f.Add([]byte(d.text))
		}
	}
}

// FuzzRequest: a request that we accept fasthttp reads alike, or the difference is
// of a documented kind.
func FuzzRequest(f *testing.F) {
	seed(f, "FuzzRequest")
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, ok := ourRequest(b)
		if !ok {
			return
		}
		if fast, ok := fastRequest(b); (!ok || fast != ours) && !explained("FuzzRequest", b, ok) {
			t.Fatalf("%q:\nours %+v\nfasthttp %v %+v", b, ours, ok, fast)
		}
	})
}

// FuzzResponse is FuzzRequest for the other direction.
func FuzzResponse(f *testing.F) {
	seed(f, "FuzzResponse")
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, ok := ourResponse(b)
		if !ok {
			return
		}
		if fast, ok := fastResponse(b); (!ok || fast != ours) && !explained("FuzzResponse", b, ok) {
			t.Fatalf("%q:\nours %+v\nfasthttp %v %+v", b, ours, ok, fast)
		}
	})
}

// FuzzChunks: a chunked body that we accept fasthttp reads alike.
func FuzzChunks(f *testing.F) {
	seed(f, "FuzzChunks")
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, used, ok := ourChunks(b)
		if !ok {
			return
		}
		if fast, fastUsed, ok := fastChunks(b); (!ok || !bytes.Equal(fast, ours) || fastUsed != used) && !explained("FuzzChunks", b, ok) {
			t.Fatalf("%q:\nours %q %d\nfasthttp %v %q %d", b, ours, used, ok, fast, fastUsed)
		}
	})
}
