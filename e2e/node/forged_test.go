package node

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/sluice-cni/sluice/agent/netns"
	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
)

// Without a seccomp profile (Kubernetes' default) any process makes itself a user
// namespace and a network namespace in it, and is free to write there what looks like
// our rules. Nobody is fooled: nothing in it is read, opened or served.
func TestANamespaceThatAPodsProcessForgesIsNobodys(t *testing.T) {
	needsRoot(t)
	forger := exec.Command("sleep", "1000")
	forger.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 1000, Size: 1}},
	}
	must(t, forger.Start())
	defer func() { forger.Process.Kill(); forger.Wait() }()
	cave, err := os.Open(netns.PathOf(forger.Process.Pid))
	must(t, err)
	defer cave.Close()
	plan, err := rules.NewPlan(rules.Default(), rules.NodeMode())
	must(t, err)
	must(t, nft.Apply(int(cave.Fd()), plan))

	n := aNode(t, stage.Options{})
	p := added(t, n)
	await.True(t, "the pod is enrolled", func() bool { return isEnrolled(n, p) })
	s, err := n.Status()
	must(t, err)
	if len(s.Pods) != 1 {
		t.Errorf("the agent has %+v, want the pod alone", s.Pods)
	}
	held, err := n.HolderStatus()
	must(t, err)
	if len(held.Pods) != 1 {
		t.Errorf("the holder has %+v, want the pod alone", held.Pods)
	}
	if r, found, err := nft.Read(int(cave.Fd())); err != nil || !found || r.Hash != plan.Hash {
		t.Errorf("the forged rules were touched: %+v, %v", r, err)
	}
}
