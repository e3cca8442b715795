package mesh

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-cni/sluice/internal/egresspage"
	"github.com/sluice-cni/sluice/internal/yamltext"
)

// FuzzDecode holds that no text makes the decoder panic, that every error has a
// place, and that what it accepts can be built and shown.
func FuzzDecode(f *testing.F) {
	paths, _ := filepath.Glob("testdata/*/*.yaml")
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("%YAML 1.2\n---\na: &a [*a]\n...\n--- {}\n"))
	f.Add([]byte("\xef\xbb\xbf---\r\nkind: List\r\nitems: []\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		resources, issues := Decode("fuzz", data, DecodeOptions{})
		for _, i := range issues {
			if i.Line < 1 || i.Message == "" {
				t.Errorf("no place: %s", i)
			}
		}
		s, _ := Build(resources, Options{})
		v := s.View(Workload{})
		for _, port := range v.Ports() {
			v.Listener(port).MatchHTTP([]byte("a.b.c"))
		}
	})
}

func TestDocumentsCoverTheStreamWithoutOverlap(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "a: 1", "---\na: 1\n---\nb: 2\n", "a: 1\n...\nb: 2\n", "%YAML 1.2\n---\na: 1\n", "# c\n---\na: |\n  ---\n  x\n--- # d\nb: 1",
		"a: 1\r\n---\r\nb: 2\r\n", "---\n---\n---",
	} {
		var joined bytes.Buffer
		for _, d := range yamltext.Documents([]byte(text)) {
			joined.WriteString(text[d.Start:d.End])
			if want := 1 + strings.Count(text[:d.Start], "\n"); d.Line != want {
				t.Errorf("%q: document at %d is in line %d, want %d", text, d.Start, d.Line, want)
			}
		}
		if joined.String() != text {
			t.Errorf("%q became %q", text, joined.String())
		}
	}
}

func TestAnAliasBombIsRefused(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: bomb}\nspec:\n  hosts: [a.com]\n  http:\n")
	b.WriteString("  - &r\n    match:\n    - &m {uri: {exact: /a}, method: {exact: GET}}\n")
	b.WriteString(strings.Repeat("    - *m\n", 500))
	b.WriteString(strings.Repeat("  - *r\n", 500))
	_, issues := Decode("bomb", []byte(b.String()), DecodeOptions{})
	if !strings.Contains(issues.Of(Error).String(), "aliases expand to more than") {
		t.Errorf("%d issues, none about aliases", len(issues))
	}
}

func TestAListReadsLikeItsObjects(t *testing.T) {
	t.Parallel()
	single, _ := Decode("one", []byte(egresspage.HTTPBin), DecodeOptions{})
	text, err := protojson.Marshal(single[0].Spec)
	if err != nil {
		t.Fatal(err)
	}
	json := fmt.Sprintf(`{"apiVersion":"v1","kind":"List","items":[{"apiVersion":%q,"kind":%q,"metadata":{"name":%q,"namespace":"ns"},"spec":%s}]}`,
		single[0].APIVersion, single[0].Kind, single[0].Name, text)
	listed, issues := Decode("list", []byte(json), DecodeOptions{})
	if len(listed) != 1 || !proto.Equal(listed[0].Spec, single[0].Spec) || listed[0].Namespace != "ns" || listed[0].Extent.Item != 0 {
		t.Errorf("got %v\n%s", listed, issues)
	}
}
