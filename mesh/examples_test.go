package mesh

import (
	"os"
	"strings"
	"testing"
)

func TestTheExamplesInTheDocumentationAreFlawless(t *testing.T) {
	t.Parallel()
	const page = "../docs/examples.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "```yaml\n")[1:]
	if len(blocks) < 5 {
		t.Fatalf("%d examples in %s", len(blocks), page)
	}
	var all []*Resource
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		resources, issues := Decode("example.yaml", []byte(block), DecodeOptions{Namespace: "default"})
		_, more := Build(resources, Options{})
		if issues = append(issues, more...); len(issues) > 0 {
			t.Errorf("%s%v", block, issues)
		}
		all = append(all, resources...)
	}
	if _, issues := Build(all, Options{}); len(issues) > 0 {
		t.Errorf("together: %v", issues)
	}
}
