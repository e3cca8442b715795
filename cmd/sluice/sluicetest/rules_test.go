package sluicetest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/cidr/discover/rangesfile"
	"github.com/sluice-cni/sluice/cmd/sluice/sluicetest"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

// printed is what a run of the program left.
type printed struct {
	out, err string
	code     int
}

func sluice(t testing.TB, stdin string, args ...string) printed {
	t.Helper()
	cmd := exec.Command(sluicetest.File(), args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	var exited *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exited) {
		t.Fatal(err)
	}
	return printed{out.String(), complaint.String(), cmd.ProcessState.ExitCode()}
}

// fine is sluice for a command that must succeed.
func fine(t testing.TB, stdin string, args ...string) printed {
	t.Helper()
	p := sluice(t, stdin, args...)
	if p.code != 0 {
		t.Fatalf("sluice %v: exit code %d\n%s%s", args, p.code, p.out, p.err)
	}
	return p
}

// pod makes a namespace with a path.
func pod(t testing.TB) *lab.Namespace {
	t.Helper()
	n, err := lab.NewAt(filepath.Join("/run/netns", fmt.Sprintf("cli-%d", time.Now().UnixNano())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// everyBackend runs a test with each. An ordinary user may lack the programs.
func everyBackend(t *testing.T, test func(t *testing.T, backend rules.Backend)) {
	for _, b := range []rules.Backend{rules.BackendNFT, rules.BackendIPTablesNFT, rules.BackendIPTablesLegacy} {
		t.Run(string(b), func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(string(b)); b != rules.BackendNFT && err != nil {
				labtest.NeedsOtherUsers(t)
			}
			test(t, b)
		})
	}
}

func TestRulesAreAppliedShownCheckedAndRemoved(t *testing.T) {
	t.Parallel()
	everyBackend(t, func(t *testing.T, backend rules.Backend) {
		ns := pod(t)
		conf := `{"includeIPRanges":"10.0.0.1/8","excludeOutboundPorts":[22]}`
		p := fine(t, conf, "rules", "apply", "--netns", ns.Path(), "--config", "-", "--backend", string(backend), "--excludeIPRanges", "10.9.0.0/16", "--exempt-uids=1337")
		if !strings.Contains(p.out, "by "+string(backend)) || !strings.Contains(p.err, "10.0.0.1/8 means 10.0.0.0/8") {
			t.Error(p)
		}
		fine(t, "", "rules", "check", "--netns", ns.Path())
		var shown struct {
			Backend string
			Config  rules.Config
			Plan    string
		}
		if err := json.Unmarshal([]byte(fine(t, "", "rules", "show", "--netns", ns.Path(), "-o", "json").out), &shown); err != nil {
			t.Fatal(err)
		}
		c := shown.Config
		if shown.Backend != string(backend) || c.IncludeIPRanges.String() != "10.0.0.0/8" || c.ExcludeIPRanges.String() != "10.9.0.0/16" || c.ExemptUIDs.String() != "1337" || c.ExcludeOutboundPorts.String() != "22" {
			t.Errorf("%+v", shown)
		}
		text := fine(t, "", "rules", "show", "--netns", filepath.Base(ns.Path())).out
		if !strings.Contains(text, "# backend "+string(backend)) || !strings.Contains(text, `"excludeIPRanges": "10.9.0.0/16"`) || !strings.Contains(text, shown.Plan) || !strings.Contains(text, "chain output_nat {") {
			t.Error(text)
		}
		// Another configuration than the applied one differs.
		if p := sluice(t, "", "rules", "check", "--netns", ns.Path(), "--include-ip-ranges", "10.0.0.0/8"); p.code != 1 || !strings.Contains(p.err, "error: ") {
			t.Error(p)
		}
		if p := fine(t, "", "rules", "remove", "--netns", ns.Path()); !strings.Contains(p.out, string(backend)) {
			t.Error(p)
		}
		if p := fine(t, "", "rules", "remove", "--netns", ns.Path()); !strings.Contains(p.out, "nothing to remove") {
			t.Error(p)
		}
		for _, verb := range []string{"show", "check"} {
			if p := sluice(t, "", "rules", verb, "--netns", ns.Path()); p.code != 1 || !strings.Contains(p.err, "has no rules of sluice's") {
				t.Error(verb, p)
			}
		}
	})
}

func TestCheckNamesTheRuleThatWasDeleted(t *testing.T) {
	t.Parallel()
	ns := pod(t)
	fine(t, "", "rules", "apply", "--netns", ns.Path())
	rulestest.Tamper(t, ns, rulestest.DeleteRule("output_nat", "included IPv4 range"))
	p := sluice(t, "", "rules", "check", "--netns", ns.Path())
	if p.code != 1 || !strings.Contains(p.err, `error: chain output_nat: rule "included IPv4 range" is missing`) || !strings.Contains(p.err, "hint: 'sluice rules apply'") {
		t.Error(p)
	}
}

func TestApplyReadsTheConfigurationOfThePluginAndAutoRanges(t *testing.T) {
	t.Parallel()
	ns, file := pod(t), filepath.Join(t.TempDir(), "ranges.json")
	list := `{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"ptp"},{"type":"sluice-cni","includeIPRanges":"auto","rangesFile":"` + file + `","selection":"all"}]}`
	if p := sluice(t, list, "rules", "apply", "--netns", ns.Path(), "--config", "-"); p.code != 1 || !strings.Contains(p.err, "is missing; run 'sluice cidr --from-cluster --write") {
		t.Error(p)
	}
	fine(t, "clusterIpv4Cidr: 10.4.0.0/14\n", "cidr", "--write", file)
	fine(t, list, "rules", "apply", "--netns", ns.Path(), "--config", "-")
	if p := fine(t, "", "rules", "show", "--netns", ns.Path()); !strings.Contains(p.out, `"includeIPRanges": "10.4.0.0/14"`) {
		t.Error(p)
	}
	if err := rangesfile.Write(file, rangesfile.File{Written: time.Now(), Ranges: []string{"10.8.0.0/14"}}); err != nil {
		t.Fatal(err)
	}
	fine(t, "", "rules", "apply", "--netns", ns.Path(), "--include-ip-ranges", "auto", "--ranges-file", file)
	if p := fine(t, "", "rules", "show", "--netns", ns.Path()); !strings.Contains(p.out, `"includeIPRanges": "10.8.0.0/14"`) {
		t.Error(p)
	}
}

func TestMistakesOfRulesAreSaidAllAtOnce(t *testing.T) {
	t.Parallel()
	ns := pod(t)
	plain := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args  []string
		stdin string
		code  int
		want  []string
	}{
		"many":         {[]string{"apply", "--netns", ns.Path(), "--config", "-", "--non-tcp", "maybe"}, `{"includeIPRanges":"10.0.0.0/40","nonsense":1}`, 1, []string{`stdin: includeIPRanges element 1 "10.0.0.0/40"`, "stdin: nonsense: unknown field", `nonTCP "maybe"`}},
		"combination":  {[]string{"apply", "--netns", ns.Path(), "--exemption", "mark"}, "", 1, []string{`exemptMark "0"`}},
		"no namespace": {[]string{"apply"}, "", 2, []string{"flag --netns: is missing"}},
		"gone":         {[]string{"check", "--netns", "/run/netns/none"}, "", 1, []string{"cannot be opened: no such file"}},
		"no netns":     {[]string{"show", "--netns", plain}, "", 1, []string{"is no network namespace"}},
		"the host":     {[]string{"apply", "--netns", "/proc/self/ns/net"}, "", 1, []string{"is this machine's or this process's own", "--allow-host"}},
		"the node's":   {[]string{"apply", "--netns", "/proc/self/ns/net", "--pod-ip", "::ffff:10.0.0.7", "--host-ip", "10.0.0.7"}, "", 1, []string{"is the node's address", "hint: take hostNetwork or the sidecar out of the pod"}},
		"no pod's":     {[]string{"apply", "--netns", "/proc/self/ns/net", "--pod-ip", "", "--host-ip", "10.0.0.7"}, "", 1, []string{`--pod-ip "": not an address`}},
		"no node's":    {[]string{"apply", "--netns", "/proc/self/ns/net", "--pod-ip", "10.0.0.7"}, "", 1, []string{`--host-ip "": not an address`}},
		"no such file": {[]string{"apply", "--netns", ns.Path(), "--config", "/nowhere.json"}, "", 1, []string{`file "/nowhere.json": cannot be read`}},
		"a directory":  {[]string{"apply", "--netns", ns.Path(), "--config", "/tmp"}, "", 1, []string{`--config "/tmp": is a directory; name a JSON file`, "hint: ", "'sluice proxy --config /tmp'"}},
		"verb":         {[]string{"aply"}, "", 2, []string{"did you mean 'sluice rules apply'"}},
		"backend":      {[]string{"apply", "--netns", ns.Path(), "--backend", "ebpf"}, "", 1, []string{`backend "ebpf": not a known value; use auto, nft, iptables-nft or iptables-legacy`}},
		"output":       {[]string{"show", "--netns", ns.Path(), "-o", "yaml"}, "", 2, []string{`output "yaml"`}},
	} {
		p := sluice(t, tc.stdin, append([]string{"rules"}, tc.args...)...)
		for _, want := range tc.want {
			if p.code != tc.code || !strings.Contains(p.err, want) {
				t.Errorf("%s: want %q in %+v", name, want, p)
			}
		}
	}
	if p := sluice(t, "", "rules", "show", "--netns", ns.Path()); p.code != 1 {
		t.Error("something was applied", p)
	}
}
