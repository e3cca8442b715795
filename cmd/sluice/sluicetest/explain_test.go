package sluicetest_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

// explained is what a program reads of an answer.
type explained struct {
	Captured bool
	Verdict  string
	Port     int
	Agree    bool
	Config   struct {
		Source, Verdict, Name, Because string
		Line                           int
	}
	Kernel struct {
		Backend, Verdict, Fate string
		Decided                struct{ Chain, Rule string }
	}
	Notes []string
}

func explain(t testing.TB, code int, args ...string) explained {
	t.Helper()
	p := sluice(t, "", append([]string{"explain", "-o", "json"}, args...)...)
	var e explained
	if err := json.Unmarshal([]byte(p.out), &e); err != nil || p.code != code {
		t.Fatalf("explain %v: %v\n%+v", args, err, p)
	}
	return e
}

// routed is a pod with a default route, so that its routes choose the interface.
func routed(t *testing.T) *lab.Namespace {
	t.Helper()
	ns, internet := pod(t), labtest.New(t)
	end := func(n *lab.Namespace, name, address string) lab.End {
		return lab.End{In: n, Name: name, Addresses: []netip.Prefix{netip.MustParsePrefix(address)}}
	}
	if err := lab.Connect(end(ns, "eth0", "10.77.0.2/24"), end(internet, "east", "10.77.0.1/24")); err != nil {
		t.Fatal(err)
	}
	if err := ns.Do(func() error {
		return lab.AddRoute("eth0", netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.77.0.1"))
	}); err != nil {
		t.Fatal(err)
	}
	return ns
}

func TestExplainAnswersByTheConfigurationAndByTheKernel(t *testing.T) {
	t.Parallel()
	everyBackend(t, func(t *testing.T, backend rules.Backend) {
		ns := routed(t)
		fine(t, "", "rules", "apply", "--netns", ns.Path(), "--backend", string(backend), "--include-ip-ranges", "10.0.0.0/8,1.0.0.0/8",
			"--exclude-ip-ranges", "10.9.0.0/16", "--exempt-uids", "1337", "--dns-capture", "--include-outbound-ports", "8080", "--include-inbound-ports", "80", "--exclude-interfaces", "net1")
		for args, want := range map[string]struct {
			captured bool
			verdict  string
			port     int
			name     string
			because  string
			fate     string
		}{
			"--dst 1.2.3.4:443":                       {true, "to the proxy", 15001, "included range", "includeIPRanges 1.0.0.0/8", "redirected"},
			"--dst 240.240.1.2:5432":                  {true, "to the proxy", 15001, "included range", "virtual range 240.240.0.0/16", "redirected"},
			"--dst 9.9.9.9:8080":                      {true, "to the proxy", 15001, "included port", "includeOutboundPorts 8080", "redirected"},
			"--dst 9.9.9.9:443":                       {false, "direct", 0, "housekeeping", "", "passes"},
			"--dst 10.9.1.1:443":                      {false, "direct", 0, "excluded range", "excludeIPRanges 10.9.0.0/16", "passes"},
			"--dst 1.2.3.4:443 --uid 1337":            {false, "direct", 0, "exempt", "", "passes"},
			"--dst 1.2.3.4:443 --out-if net1":         {false, "direct", 0, "excluded interface", "", "passes"},
			"--dst 1.2.3.4:443 --proto udp --gid 7":   {false, "refused", 0, "non-TCP", "includeIPRanges 1.0.0.0/8", "refused"},
			"--dst 1.2.3.4 --proto icmp":              {false, "refused", 0, "non-TCP", "includeIPRanges 1.0.0.0/8", "refused"},
			"--dst 1.2.3.4 --proto sctp":              {false, "refused", 0, "non-TCP", "includeIPRanges 1.0.0.0/8", "refused"},
			"--dst 9.9.9.9:53 --proto udp":            {true, "to the DNS proxy", 15053, "DNS", "dnsServers *", "redirected"},
			"--dst 127.0.0.1:443":                     {false, "direct", 0, "local", "", "passes"},
			"--dst 10.77.0.2:443":                     {false, "direct", 0, "local", "", "passes"},
			"--dst 10.77.0.2:80 --in-if eth0":         {true, "to the inbound proxy", 15006, "included inbound port", "includeInboundPorts 80", "redirected"},
			"--dst 10.77.0.2:81 --src-if eth0":        {false, "direct", 0, "inbound", "", "passes"},
			"--dst [::ffff:1.2.3.4]:443 --mark 0x539": {true, "to the proxy", 15001, "included range", "includeIPRanges 1.0.0.0/8", "redirected"},
		} {
			code := 0
			if want.verdict == "refused" {
				code = 1
			}
			e := explain(t, code, append([]string{"--netns", ns.Path()}, strings.Fields(args)...)...)
			if e.Captured != want.captured || e.Verdict != want.verdict || e.Port != want.port || !e.Agree ||
				e.Config.Name != want.name || e.Config.Because != want.because || e.Config.Source != "kept with the rules" ||
				e.Kernel.Backend != string(backend) || e.Kernel.Fate != want.fate || e.Kernel.Verdict != want.verdict {
				t.Errorf("%s: %+v", args, e)
			}
		}
		p := fine(t, "", "explain", "--netns", filepath.Base(ns.Path()), "--dst", "1.2.3.4:443")
		for _, line := range []string{
			"1.2.3.4:443 over TCP, from uid 0, gid 0, by eth0\n", "captured: to the proxy, port 15001\n",
			`  configuration (kept with the rules): line 13 "included range": TCP sent to an address in includeIPRanges, or in the virtual ranges when dnsCapture is on (includeIPRanges 1.0.0.0/8)`,
			"  kernel (" + string(backend) + "): redirected to port 15001 by chain ", `rule "included IPv4 range": redirect to :15001`, "  they agree\n",
		} {
			if !strings.Contains(p.out, line) {
				t.Errorf("no %q in\n%s", line, p.out)
			}
		}
	})
}

func TestExplainSaysWhenTheKernelDoesOtherwise(t *testing.T) {
	t.Parallel()
	ns := routed(t)
	fine(t, "", "rules", "apply", "--netns", ns.Path(), "--failure-policy", "bypass")
	rulestest.Tamper(t, ns, rulestest.DeleteRule("output_nat", "included IPv4 range"))
	e := explain(t, 1, "--netns", ns.Path(), "--dst", "1.2.3.4:443")
	if e.Agree || !e.Captured || e.Kernel.Verdict != "direct" || len(e.Notes) != 1 || !strings.Contains(e.Notes[0], `rule "included IPv4 range" is missing`) {
		t.Errorf("%+v", e)
	}
	p := sluice(t, "", "explain", "--netns", ns.Path(), "--dst", "1.2.3.4:443")
	if p.code != 1 || !strings.Contains(p.out, "THEY DISAGREE: by the configuration it is to the proxy, by the kernel direct") ||
		!strings.Contains(p.out, "\nin doubt: ") || strings.Contains(p.out, "captured: ") {
		t.Error(p)
	}
	explain(t, 0, "--netns", ns.Path(), "--dst", "[2001:db8::1]:443", "--out-if", "eth0") // the other family is whole
}

func TestExplainWithoutRulesOrWithoutANamespace(t *testing.T) {
	t.Parallel()
	ns, file := routed(t), filepath.Join(t.TempDir(), "rules.json")
	if err := os.WriteFile(file, []byte(`{"includeIPRanges":"1.0.0.0/8,::/0"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if e := explain(t, 0, "--netns", ns.Path(), "--dst", "1.2.3.4:443"); e.Captured || e.Kernel.Verdict != "direct" || !strings.Contains(e.Notes[0], "no rules of sluice's") {
		t.Errorf("%+v", e)
	}
	if e := explain(t, 1, "--netns", ns.Path(), "--rules", file, "--dst", "1.2.3.4:443"); e.Agree || !e.Captured {
		t.Errorf("%+v", e)
	}
	if e := explain(t, 0, "--rules", file, "--dst", "1.2.3.4:443"); !e.Captured || e.Config.Source != file || e.Kernel.Fate != "" {
		t.Errorf("%+v", e)
	}
	if e := explain(t, 0, "--rules", file, "--dst", "[::1]:443"); e.Captured || e.Config.Name != "local" {
		t.Errorf("%+v", e)
	}
	if e := explain(t, 0, "--netns", ns.Path(), "--dst", "[2001:db8::1]:443"); len(e.Notes) != 2 || !strings.Contains(e.Notes[0], "no route") {
		t.Errorf("%+v", e)
	}
}

func TestExplainKnowsTheProxysCgroup(t *testing.T) {
	t.Parallel()
	if !rulestest.MakeCgroups(t) {
		labtest.NeedsOtherUsers(t)
	}
	own := fmt.Sprintf("/sluice-oracle-%d/a", os.Getpid())
	ns := routed(t)
	fine(t, "", "rules", "apply", "--netns", ns.Path(), "--exemption", "cgroup", "--exempt-cgroups", own)
	if e := explain(t, 0, "--netns", ns.Path(), "--dst", "1.2.3.4:443", "--cgroup", own); e.Captured || e.Config.Name != "exempt" || !strings.HasPrefix(e.Kernel.Decided.Rule, "exempt cgroup") {
		t.Errorf("%+v", e)
	}
	if e := explain(t, 0, "--netns", ns.Path(), "--dst", "1.2.3.4:443"); !e.Captured {
		t.Errorf("%+v", e)
	}
}

func TestMistakesOfExplainAreSaidAllAtOnce(t *testing.T) {
	t.Parallel()
	p := sluice(t, "", "explain", "--dst", "example.com:443", "--proto", "quic", "--mark", "red", "-o", "yaml")
	for _, want := range []string{`--dst "example.com:443": not an address and port`, `--proto "quic"`, `--mark "red"`, `output "yaml"`} {
		if p.code != 2 || !strings.Contains(p.err, want) {
			t.Errorf("want %q in %+v", want, p)
		}
	}
	for _, args := range [][]string{{"--rules", "-"}, {"--rules", "-", "--dst", "1.2.3.4"}, {"--netns", "/run/netns/none", "--dst", "1.2.3.4:1"}} {
		if p := sluice(t, "{}", append([]string{"explain"}, args...)...); p.code == 0 || p.err == "" {
			t.Errorf("%v: %+v", args, p)
		}
	}
}
