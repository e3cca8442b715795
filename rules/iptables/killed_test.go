package iptables_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/iptables"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

// applyEnv makes the test binary apply the configuration it holds to the namespace
// on descriptor 3, with the variant in variantEnv, and end.
const (
	applyEnv   = "SLUICE_TEST_APPLY"
	variantEnv = "SLUICE_TEST_VARIANT"
)

func applyAndExit() int {
	c, _, err := rules.Parse([]byte(os.Getenv(applyEnv)))
	if err == nil {
		var p rules.Plan
		var fw *iptables.Firewall
		p, err = rules.NewPlan(c)
		if err == nil {
			fw, err = iptables.Find(iptables.Variant(os.Getenv(variantEnv)))
		}
		if err == nil {
			err = fw.Apply(3, p)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return 0
}

func TestKilledAtAnyMomentThenAppliedAgainIsAsAppliedOnce(t *testing.T) {
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) {
		r := rand.New(rand.NewPCG(rulestest.Seed(t), 0))
		first, second := rulestest.Plan(t, "includeIPRanges=192.0.2.0/24,2001:db8::/32"), full(t)
		once := labtest.New(t)
		apply(t, fw, once, second)
		want := ours(saved(t, once, fw))
		for range 12 {
			ns := labtest.New(t)
			apply(t, fw, ns, first)
			if r.IntN(2) == 0 {
				ns = labtest.New(t)
			}
			config, err := second.Config.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), applyEnv+"="+string(config), variantEnv+"="+string(fw.Variant()))
			cmd.ExtraFiles = []*os.File{descriptor(t, ns.FD())}
			cmd.Stderr = os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			kill := time.AfterFunc(time.Duration(r.IntN(60))*time.Millisecond, func() { cmd.Process.Kill() })
			cmd.Wait()
			kill.Stop()
			apply(t, fw, ns, second)
			if got := ours(saved(t, ns, fw)); got != want {
				t.Fatalf("killed, then applied:\n%s\napplied once:\n%s", got, want)
			}
		}
	})
}

func descriptor(t *testing.T, fd int) *os.File {
	t.Helper()
	f, err := os.Open("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
