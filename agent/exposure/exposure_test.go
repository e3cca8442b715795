package exposure

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/agent/netns"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

func TestWhatMayBeHadIsAsDangerousAsWhatIsHeld(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Name:\tapp\nCapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\n": "NET_RAW", // containerd's default set
		"Name:\tapp\nCapEff:\t0000000000001000\nCapBnd:\t0000000000000000\n": "NET_ADMIN",
		"Name:\tapp\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n": "",
		"Name:\tapp\nCapBnd:\t000001ffffffffff\n":                            "BPF NET_ADMIN NET_RAW SYS_ADMIN SYS_MODULE",
		"": "",
	} {
		if _, held := parse(text); strings.Join(held, " ") != want {
			t.Errorf("%q holds %v; want %s", text, held, want)
		}
	}
}

func TestACgroupIsSharedByWhoIsInItOrBeneath(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		groups, agents string
		want           bool
	}{
		{"1:cpu:/a\n0::/agent\n", "/agent", true},
		{"0::/agent/child\n", "/agent", true},
		{"0::/agents\n", "/agent", false},
		{"0::/\n", "/agent", false},
		{"1:cpu:/agent\n", "/agent", false},
		{"0::/kubepods\n", "/", true}, // an agent in the root would be told from nobody
	} {
		if got := within(tc.groups, tc.agents); got != tc.want {
			t.Errorf("%q in %s: %t", tc.groups, tc.agents, got)
		}
	}
}

// NET_RAW is the default of containers: it is worth a warning only where it helps.
func TestNetRawIsWarnedOfWhereMarksDecide(t *testing.T) {
	t.Parallel()
	p := Pod{Capabilities: map[string]Process{"NET_RAW": {1, "app"}}, SharesCgroup: &Process{2, "other"}}
	if w := p.Warnings(false); len(w) != 1 || !strings.Contains(w[0], "2 (other)") {
		t.Errorf("by cgroup: %q", w)
	}
	if w := p.Warnings(true); len(w) != 1 || !strings.Contains(w[0], "NET_RAW") || !strings.HasPrefix(w[0], NotProtected) {
		t.Errorf("by mark: %q", w)
	}
}

func TestProcessesAreLookedAtByTheirNamespaces(t *testing.T) {
	pod := labtest.New(t)
	id, err := netns.At(pod.FDPath())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "1000")
	if err := pod.Start(cmd); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	all, err := Look(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	p := all[id]
	if by := p.Capabilities["NET_ADMIN"]; by != (Process{cmd.Process.Pid, "sleep"}) {
		t.Errorf("held %+v", p)
	}
	if !slices.ContainsFunc(p.Warnings(false), func(w string) bool { return strings.Contains(w, "(sleep) may have NET_ADMIN") }) {
		t.Errorf("warnings %q", p.Warnings(false))
	}
}
