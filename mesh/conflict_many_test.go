package mesh

import (
	"fmt"
	"testing"
)

func TestWhatIsSaidOfOneResourceIsBounded(t *testing.T) {
	t.Parallel()
	entry := `{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: e%d}, spec: {resolution: DNS, hosts: [` + repeated(256, "h%d.com") +
		`], ports: [` + repeated(256, "{number: 1%03[1]d, name: http-%[1]d, protocol: HTTP}") + `]}}` + "\n---\n"
	text := ""
	for i := range 4 {
		text += fmt.Sprintf(entry, i)
	}
	resources, issues := Decode("a.yaml", []byte(text), DecodeOptions{})
	if issues.HasErrors() {
		t.Fatal(issues[0])
	}
	s, _ := Build(resources, Options{})
	about := map[string]int{}
	for _, i := range s.Check() {
		about[i.Name]++
	}
	if len(about) != 3 || about["e1"] != mostWarnings+1 {
		t.Errorf("%v", about)
	}
}
