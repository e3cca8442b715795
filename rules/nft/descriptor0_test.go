package nft_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

// zeroEnv names what the test binary is to do to the namespace that is its descriptor 0.
const zeroEnv = "SLUICE_NFT_ZERO"

// A namespace may have any number. To the netlink library 0 is none: what was meant for a
// pod went where the process was.
func TestANamespaceMayBeDescriptor0(t *testing.T) {
	t.Parallel()
	p := rulestest.NewPair(t)
	namespace := os.NewFile(uintptr(dup(t, p.Pod.FD())), "namespace")
	defer namespace.Close()
	do := func(verb string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
		cmd.Env = append(os.Environ(), zeroEnv+"="+verb)
		cmd.Stdin = namespace
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", verb, err, out)
		}
	}
	do("apply")
	if err := nft.Check(p.Pod.FD(), zeroPlan()); err != nil {
		t.Errorf("as applied to descriptor 0, read by another: %v", err)
	}
	if n := len(tables(t, p.Pod)); n != 2 { // the second names the pod's interfaces
		t.Errorf("%d tables", n)
	}
	for _, verb := range []string{"check", "exempt", "disable", "remove"} {
		do(verb)
	}
	if left := tables(t, p.Pod); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func zeroPlan() rules.Plan {
	p, err := rules.NewPlan(rules.Default(), rules.NodeMode())
	if err != nil {
		panic(err)
	}
	return p
}

// beAtZero does one thing, and makes sure that the namespace it is in has no part in it.
func beAtZero(verb string) {
	err := map[string]func() error{
		"apply":   func() error { return nft.Apply(0, zeroPlan()) },
		"check":   func() error { return nft.Check(0, zeroPlan()) },
		"exempt":  func() error { return nft.Exempt(0, rules.Agents{}) },
		"disable": func() error { return nft.Disable(0) },
		"remove":  func() error { return nft.Remove(0) },
	}[verb]()
	c, failed := nftables.New()
	if err = errors.Join(err, failed); err == nil {
		own, failed := c.ListTables()
		if err = failed; len(own) > 0 {
			err = fmt.Errorf("this process's own namespace has %d tables", len(own))
		}
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}
