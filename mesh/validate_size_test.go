package mesh

import (
	"fmt"
	"regexp/syntax"
	"runtime"
	"strings"
	"testing"
)

func virtualServiceOf(spec string) string {
	return `{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a}, spec: {hosts: [a.com], http: [` + spec + `]}}`
}

func repeated(n int, format string) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(all, ", ")
}

// Each node of a cluster has every resource in memory, and little text can be much there.
func TestWhatAResourceBecomesInMemoryIsBounded(t *testing.T) {
	const to = `{destination: {host: a.com}, weight: 1`
	head := func(bytes int) string { return `headers: {request: {set: {a: ` + strings.Repeat("x", bytes) + `}}}` }
	for _, tt := range []struct{ what, spec, refused string }{
		{"expressions as they are usual", repeated(1000, `{match: [{uri: {regex: '/v[0-9]+/(users|orders)/[a-z0-9-]{1,36}/%d(/.*)?'}}], route: [`+to+`}]}`), ""},
		{"expressions that become large", repeated(1000, `{match: [{headers: {x: {regex: '\pL{300}\pN{300}%d'}}}], route: [`+to+`}]}`), "spec.http[1].match[0].headers"},
		{"one that does", `{match: [{uri: {regex: '(x{1,100}){1,100}(\pL{10}){1,100}'}}], route: [` + to + `}]}`, "spec.http[0].match[0].uri.regex"},
		{"in a rewrite", `{rewrite: {uriRegexRewrite: {match: '\pL{1000}', rewrite: /}}, route: [` + to + `}]}`, "spec.http[0].rewrite.uriRegexRewrite.match"},
		{"one rule's fields for many destinations", `{` + head(50000) + `, route: [` + strings.Repeat(to+`}, `, 1000) + `]}`, ""},
		{"fields of many destinations", `{` + head(10) + `, route: [` + strings.Repeat(to+`, headers: {response: {add: {b: c}}}}, `, 1000) + `]}`, ""},
		{"one rule's with those of many destinations", `{` + head(50000) + `, route: [` + strings.Repeat(to+`, headers: {request: {set: {b: c}}}}, `, 1000) + `]}`, "spec.http[0].headers"},
		{"of many rules", repeated(30, `{match: [{uri: {prefix: /%d}}], `+head(50000)+`, route: [`+to+`}]}`), "spec.http[20].headers"},
		{"a head that no server takes", `{` + head(50000) + `, route: [` + to + `, ` + head(20000) + `}]}`, "spec.http[0].headers"},
	} {
		resources, issues := Decode("a.yaml", []byte(virtualServiceOf(tt.spec)), DecodeOptions{})
		if errs := issues.Of(Error); tt.refused == "" && len(errs) > 0 || tt.refused != "" && (len(errs) != 1 || !strings.HasPrefix(errs[0].Field, tt.refused)) {
			t.Errorf("%s: %.1000s", tt.what, errs)
			continue
		}
		before := heap()
		s, _ := Build(resources, Options{})
		if grown := heap() - before; grown > 32<<20 {
			t.Errorf("%s: %d bytes become %d", tt.what, len(tt.spec), grown)
		}
		runtime.KeepAlive(s)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestTheWeightOfAnExpression(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]int{
		"": 1, "abc": 3, "a*": 2, "a|bc": 4, "[a-z]": 2, "[a-z_]": 3, "(a)": 2, "ab{3}": 6, "a{2,}": 4, "(?:a{10}){10}": 111, ".*x": 4,
	} {
		parsed, err := syntax.Parse(expression, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		if got := weigh(parsed); got != want {
			t.Errorf("%q weighs %d, not %d", expression, got, want)
		}
	}
}
