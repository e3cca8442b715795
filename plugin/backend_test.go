package plugin_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/backend"
)

// installedIn names the backends with rules in a namespace.
func installedIn(t testing.TB, ns *lab.Namespace) string {
	t.Helper()
	found, err := backend.Installed(ns.FD())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, b := range found {
		names = append(names, string(b.Name()))
	}
	return strings.Join(names, ",")
}

func TestTheConfigurationChoosesTheBackend(t *testing.T) {
	t.Parallel()
	ns := pod(t)
	for _, want := range []rules.Backend{rules.BackendIPTablesLegacy, rules.BackendIPTablesNFT, rules.BackendNFT} {
		if _, _, err := backend.Choose(want); err != nil && lab.OwnUserNamespace() {
			t.Skipf("not run: %v", err)
		}
		fields := `"backend":"` + string(want) + `"`
		with := func(verb, fields string) outcome {
			return call{verb: verb, netns: ns.Path(), stdin: conf(fields)}.run(t)
		}
		for range 2 {
			with("ADD", fields).succeeded(t)
			with("CHECK", fields).succeeded(t)
		}
		if got := installedIn(t, ns); got != string(want) {
			t.Errorf("rules are in %s, want %s", got, want)
		}
		// Extra interfaces neither add nor take away.
		onInterface("ADD", "net1", fields, ns).run(t).succeeded(t)
		onInterface("DEL", "net1", fields, ns).run(t).succeeded(t)
		with("CHECK", fields).succeeded(t)
	}
	f := call{verb: "CHECK", netns: ns.Path(), stdin: conf(`"backend":"iptables-nft"`)}.run(t).failed(t)
	if f.Code != 103 || !strings.Contains(f.Details, "rules are in nft; the configuration says backend iptables-nft") {
		t.Errorf("%+v", f)
	}
}

// DEL takes out what ADD made, whatever the configuration says by then.
func TestDelRemovesTheRulesOfAnyBackend(t *testing.T) {
	t.Parallel()
	for _, made := range []rules.Backend{rules.BackendIPTablesLegacy, rules.BackendIPTablesNFT, rules.BackendNFT} {
		if _, _, err := backend.Choose(made); err != nil && lab.OwnUserNamespace() {
			t.Logf("not run: %v", err)
			continue
		}
		ns := pod(t)
		call{verb: "ADD", netns: ns.Path(), stdin: conf(`"backend":"` + string(made) + `"`)}.run(t).succeeded(t)
		for range 2 {
			call{verb: "DEL", netns: ns.Path(), stdin: conf("")}.run(t).succeeded(t)
			if got := installedIn(t, ns); got != "" {
				t.Errorf("%s: left in %s", made, got)
			}
		}
	}
}

func TestCheckNamesAnIPTablesRuleThatIsDeletedByHand(t *testing.T) {
	t.Parallel()
	if _, _, err := backend.Choose(rules.BackendIPTablesNFT); err != nil && lab.OwnUserNamespace() {
		t.Skipf("not run: %v", err)
	}
	ns := pod(t)
	stdin := conf(`"backend":"iptables-nft","includeIPRanges":"10.0.0.0/8,2001:db8::/32"`)
	call{verb: "ADD", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
	err := ns.Do(func() error { return exec.Command("iptables-nft", "-t", "nat", "-F", "OUTPUT").Run() })
	if err != nil {
		t.Fatal(err)
	}
	if f := (call{verb: "CHECK", netns: ns.Path(), stdin: stdin}).run(t).failed(t); f.Code != 103 || !strings.Contains(f.Details, "OUTPUT") {
		t.Errorf("%+v", f)
	}
	call{verb: "ADD", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
	call{verb: "CHECK", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
}
