package chart_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-cni/sluice/e2e/cluster/apiserver"
	"github.com/sluice-cni/sluice/e2e/cluster/chart"
)

// older are objects from before the policies, malformed.
const older = `
apiVersion: v1
kind: Namespace
metadata: {name: older, labels: {sluice.dev/inject: "yes"}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: older, namespace: shop}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}, annotations: {sluice.dev/nonTCP: drop}}
    spec: {containers: [{name: c, image: i}]}
`

// leavesWhatIsOlder: who changes something else of it is a controller, or somebody who can
// do nothing about it. Whoever changes a word of sluice.dev/ puts the others right.
func leavesWhatIsOlder(t *testing.T, s *apiserver.Server) {
	for _, c := range []struct{ change, says string }{
		{"annotate namespace older team.test/of=shop", ""},
		{"label namespace older sluice.dev/enforce=true", "label sluice.dev/inject: must be true or false"},
		{"label namespace older sluice.dev/enforce=true sluice.dev/inject=true --overwrite", ""},
		{"label namespace older sluice.dev/enforce=yes --overwrite", "label sluice.dev/enforce: must be true or false"},
		{"--namespace=shop rollout restart deployment/older", ""},
		{"--namespace=shop set image deployment/older c=j", ""},
		{`--namespace=shop patch deployment older --patch={"spec":{"template":{"metadata":{"annotations":{"sluice.dev/dnsCapture":"true"}}}}}`, "annotation sluice.dev/nonTCP: must be reject or allow"},
		{`--namespace=shop patch deployment older --patch={"spec":{"template":{"metadata":{"annotations":{"sluice.dev/nonTCP":null}}}}}`, ""},
	} {
		out, err := kubectl(s, "", strings.Fields(c.change)...)
		if (err != nil) != (c.says != "") || !strings.Contains(out, c.says) {
			t.Errorf("kubectl %s: says %q, not %q", c.change, out, c.says)
		}
	}
}

// warned are the pages that show what is refused, with the words that the policies have for it.
var warned = map[string]string{
	"reference-mongo.yaml":     "is a file of the node's",
	"reference-unix.yaml":      "unix:// is refused",
	"reference-workloads.yaml": "spec.workloadSelector is refused",
}

// takesWhatPagesHave has definitions and policies judge the resources that pages have: what
// sluice takes they take without a word, and of what it refuses they say so.
func takesWhatPagesHave(t *testing.T, s *apiserver.Server) {
	texts := map[string]string{}
	for _, pattern := range []string{"../../e2e/pages/testdata/*.yaml", "../../internal/egresspage/*.yaml", "../../docs/*.md", "../../README.md"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if texts[filepath.Base(path)] = string(text); filepath.Ext(path) == ".md" {
				texts[filepath.Base(path)] = inBlocks(string(text))
			}
		}
	}
	// What the pages' tests put in: addresses of the internet that they act, and files.
	address, file := regexp.MustCompile(`\{\{v4 [^}]*\}\}`), regexp.MustCompile(`\{\{[^}]*\}\}`)
	judged, said := 0, map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		text := ofIstio(t, s, file.ReplaceAllString(address.ReplaceAllString(texts[name], "203.0.113.1"), "/etc/file.pem"))
		if judged += strings.Count(text, "apiVersion:"); text == "" {
			continue
		}
		out, err := kubectl(s, text, "apply", "--server-side", "--dry-run=server", "-f", "-")
		words := warned[name]
		if said[name] = words != ""; err != nil || strings.Contains(out, "Warning") != said[name] || !strings.Contains(out, words) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	for name := range warned {
		if !said[name] {
			t.Errorf("there is no %s any more", name)
		}
	}
	if judged < 80 {
		t.Errorf("only %d resources were found", judged)
	}
}

// inBlocks are the resources in a page's fenced blocks, of YAML or of what a shell is given.
func inBlocks(page string) string {
	var found []string
	for _, m := range regexp.MustCompile("(?ms)^(apiVersion: networking\\.istio\\.io/.*?)^(?:EOF|```)").FindAllStringSubmatch(page, -1) {
		found = append(found, m[1])
	}
	return strings.Join(found, "---\n")
}

// ofIstio are those documents of a text that are of kinds that sluice reads, whose namespaces
// are made.
func ofIstio(t *testing.T, s *apiserver.Server, text string) string {
	t.Helper()
	var kept []string
	for _, document := range regexp.MustCompile(`(?m)^---.*\n`).Split(text, -1) {
		var o struct {
			APIVersion string `yaml:"apiVersion"`
			Kind       string
			Metadata   struct{ Namespace string }
		}
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		if !strings.HasPrefix(o.APIVersion, "networking.istio.io/") || !slices.Contains([]string{"ServiceEntry", "VirtualService", "DestinationRule", "Sidecar"}, o.Kind) {
			continue
		}
		if o.Metadata.Namespace != "" {
			s.Apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: " + o.Metadata.Namespace + "}\n")
		}
		kept = append(kept, document)
	}
	return strings.Join(kept, "\n---\n")
}

// takesNewerDefinitions: helm made those that are there, and a field of theirs that another
// manager wants to change is a conflict. That they are ours, and no Istio's, a label says.
func takesNewerDefinitions(t *testing.T, s *apiserver.Server) {
	definitions, err := chart.Definitions()
	if err != nil {
		t.Fatal(err)
	}
	if ours, err := s.Kubectl("get", "crd", "-l", "app.kubernetes.io/name=sluice", "-o", "name"); err != nil || strings.Count(ours, "\n") != 4 {
		t.Errorf("of helm's %q are ours (%v)", ours, err)
	}
	const before, after = "The older spelling of host.", "Another word for host."
	newer := strings.ReplaceAll(string(definitions), before, after)
	if out, err := kubectl(s, newer, "apply", "--server-side", "--force-conflicts", "-f", "-"); err != nil {
		t.Fatal(out)
	}
	if now, err := s.Kubectl("get", "crd", "destinationrules.networking.istio.io", "-o", "yaml"); err != nil || !strings.Contains(now, after) || strings.Contains(now, before) {
		t.Errorf("the definition is as it was (%v)", err)
	}
}
