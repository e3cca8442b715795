package policydir_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/selection"
	"github.com/sluice-cni/sluice/selection/policydir"
)

func directory(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, dir, name, text)
	}
	return dir
}

// write puts a file in place as an operator's tools do: at once.
func write(t testing.TB, dir, name, text string) {
	t.Helper()
	tmp := filepath.Join(dir, "."+name)
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func TestAllFilesTogetherAreOnePolicy(t *testing.T) {
	t.Parallel()
	dir := directory(t, map[string]string{
		"10-node.yaml": `
exemptNamespaces: [kube-system, istio-system]
selection: annotated
onInvalid: pass
enforce: &all [excludeIPRanges]
defaults:
  includeIPRanges: auto
  excludeOutboundPorts: [22, "6443", 8000-8999]
  dnsCapture: true
  outboundPort: 15001
namespaces:
  shop: {select: true, enforce: *all, defaults: {excludeIPRanges: ""}}
--- 
# nothing
---
namespaces:
  legacy: {select: false, onInvalid: fail}
`,
		"20-more.yml":  `exemptNamespaces: [kube-system, monitoring]`,
		"30.json":      `{"exemptNamespaces": ["monitoring"]}`,
		"notes.txt":    `][`,
		".hidden.yaml": `][`,
	})
	p, err := policydir.Compile(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"generation":0,"exemptNamespaces":["kube-system","istio-system","monitoring"],"selection":"annotated",` +
		`"defaults":{"dnsCapture":true,"excludeOutboundPorts":["22","6443","8000-8999"],"includeIPRanges":"auto","outboundPort":"15001"},` +
		`"enforce":["excludeIPRanges"],"onInvalid":"pass","namespaces":{"legacy":{"select":false,"onInvalid":"fail"},` +
		`"shop":{"select":true,"defaults":{"excludeIPRanges":""},"enforce":["excludeIPRanges"]}}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestNoDirectoryIsAPolicyThatSaysNothing(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{filepath.Join(t.TempDir(), "none"), t.TempDir()} {
		p, err := policydir.Compile(dir)
		if err != nil || !selection.Same(p, &selection.Policy{}) {
			t.Errorf("%+v, %v", p, err)
		}
	}
}

func TestEveryMistakeIsNamedWithItsFileItsLineAndItsField(t *testing.T) {
	t.Parallel()
	dir := directory(t, map[string]string{
		"a.yaml": `selection: some
Enforce: [x]
nonTCP: allow
enforce:
- inject
- nope
- 7
defaults:
  includeIPRanges: [10.0.0.0/33, 10.0.0.0/8]
  nontcp: allow
  exemptUIDs: 1337
  dnsCapture: {a: b}
  dnsServers:
  outboundPort: 0
onInvalid: maybe
exemptNamespaces: [Shop, shop, kube-system]
namespaces:
  shop:
    select: "yes"
    selekt: true
  web:
    select: false
    enforce: [inject]
    select: false
  under_score: {}
`,
		"b.yaml": `onInvalid: fail
defaults: {nonTCP: reject, includeIPRanges: "*"}
namespaces:
  web: {}
  other: [a]
`,
		"c.yaml": "a: [b\n",
		"d.yaml": "- a\n",
	})
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "e.yaml")); err != nil {
		t.Fatal(err)
	}
	_, err := policydir.Compile(dir)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`a.yaml:1: selection "some": not a known value; use all or annotated`,
		`a.yaml:2: Enforce: unknown field; remove it or use one of defaults, enforce, exemptNamespaces, namespaces, onInvalid, outboundPolicy, selection; did you mean enforce`,
		`a.yaml:3: nonTCP: unknown field; remove it or use one of defaults, enforce, exemptNamespaces, namespaces, onInvalid, outboundPolicy, selection; fields of the interception belong in defaults`,
		`a.yaml:6: enforce[1] "nope": not a field that annotations or namespaces can set`,
		`a.yaml:7: enforce[2] "7": not text`,
		`a.yaml:9: defaults.includeIPRanges element 1 "10.0.0.0/33"`,
		`a.yaml:10: defaults.nontcp: unknown field; remove it or correct its name; did you mean nonTCP`,
		`a.yaml:11: defaults.exemptUIDs "1337": an agent serves the pods`,
		`a.yaml:12: defaults.dnsCapture: a mapping; use a value or a list`,
		`a.yaml:13: defaults.dnsServers: no value; write "" for an empty list, or remove the field`,
		`a.yaml:14: defaults.outboundPort "0": not a port`,
		`a.yaml:15: onInvalid "maybe": not a known value; use fail or pass`,
		`a.yaml:16: exemptNamespaces[0] "Shop": not the name of a namespace`,
		`a.yaml:16: exemptNamespaces[1] "shop": also in namespaces`,
		`a.yaml:19: namespaces.shop.select "yes": not a boolean; use true or false`,
		`a.yaml:20: namespaces.shop.selekt: unknown field; remove it or use one of defaults, enforce, onInvalid, outboundPolicy, select`,
		`a.yaml:23: namespaces.web.enforce "inject": select is false`,
		`a.yaml:24: namespaces.web: select: given twice, in line 22 too; remove one`,
		`a.yaml:25: namespaces.under_score: not the name of a namespace`,
		`b.yaml:1: onInvalid: given in a.yaml:15 too; remove one`,
		`b.yaml:2: defaults.includeIPRanges: given in a.yaml:9 too; remove one`,
		`b.yaml:4: namespaces.web: given in a.yaml:21 too; remove one`,
		`b.yaml:5: namespaces.other: not a mapping; write fields with their values`,
		`c.yaml: line 1: did not find expected ',' or ']'`,
		`d.yaml:1: not a mapping; write fields with their values`,
		`e.yaml: not a regular file`,
	} {
		if !strings.Contains("\n"+err.Error()+"\n", "\n"+want) {
			t.Errorf("does not say %s", want)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 26 {
		t.Errorf("%d errors:\n%v", n, err)
	}
}

// What is in force changes as a whole, or not at all.
func TestTheSourceFollowsTheDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "policy.d")
	s := policydir.New(dir, slog.New(slog.NewTextHandler(io.Discard, nil)))
	ctx, cancel := context.WithCancel(context.Background())
	updates, ended := make(chan *selection.Policy, 10), make(chan error, 1)
	go func() { ended <- s.Run(ctx, func(p *selection.Policy) { updates <- p }) }()
	next := func() *selection.Policy {
		t.Helper()
		select {
		case p := <-updates:
			return p
		case <-time.After(10 * time.Second):
			t.Fatal("nothing was told")
			return nil
		}
	}
	if p := next(); p.Selection != "" {
		t.Errorf("%+v", p)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "a.yaml", "selection: annotated")
	if p := next(); p.Selection != "annotated" || s.Problem() != "" {
		t.Errorf("%+v, %s", p, s.Problem())
	}
	write(t, dir, "b.yaml", "selection: [")
	for s.Problem() == "" {
		select {
		case p := <-updates:
			t.Fatalf("with an error: %+v", p)
		case <-time.After(time.Millisecond):
		}
	}
	write(t, dir, "b.yaml", "exemptNamespaces: [a]")
	if p := next(); p.Selection != "annotated" || len(p.ExemptNamespaces) != 1 || s.Problem() != "" {
		t.Errorf("%+v, %s", p, s.Problem())
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if len(updates) > 0 {
		t.Errorf("told of no change: %+v", <-updates)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("selection: all\nnamespaces: {a: {select: true, defaults: {nonTCP: allow}}}")
	f.Add("a: &a [*a]\n<<: *a\n? [x] : y")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := policydir.Parse("x", []byte(text)); err == nil {
			if err := p.Validate(); err != nil {
				t.Errorf("%q is taken and not valid: %v", text, err)
			}
		}
	})
}
