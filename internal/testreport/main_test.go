package main

import (
	"strings"
	"testing"
)

const events = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"noise\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:7: not run: needs root\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p","Elapsed":1.5}
`

func TestAPassingRunIsQuietAndNamesWhatWasNotRun(t *testing.T) {
	var out strings.Builder
	r := newReport(&out)
	if err := r.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	if !r.finish() {
		t.Error("it says that something failed")
	}
	got := out.String()
	if strings.Contains(got, "noise") || !strings.Contains(got, "  TestB: needs root\n") || !strings.HasSuffix(got, "1 passed, 0 failed, 1 skipped\n") {
		t.Errorf("got\n%s", got)
	}
}

func TestFailuresShowTheirOutput(t *testing.T) {
	for name, more := range map[string]string{
		"a failed test": `{"Action":"output","Package":"q","Test":"TestC","Output":"why\n"}
{"Action":"fail","Package":"q","Test":"TestC"}
{"Action":"fail","Package":"q"}
`,
		"a panic": `{"Action":"run","Package":"q","Test":"TestC"}
{"Action":"output","Package":"q","Test":"TestC","Output":"why\n"}
{"Action":"fail","Package":"q"}
`,
		"a package that does not build": `{"Action":"build-output","ImportPath":"q","Output":"why\n"}
{"Action":"build-fail","ImportPath":"q"}
{"Action":"fail","Package":"q"}
`,
	} {
		var out strings.Builder
		r := newReport(&out)
		if err := r.read(strings.NewReader(events + more)); err != nil {
			t.Fatal(err)
		}
		if r.finish() {
			t.Errorf("%s: it says that all is well", name)
		}
		if !strings.Contains(out.String(), "why\n") {
			t.Errorf("%s: got\n%s", name, out.String())
		}
	}
}
