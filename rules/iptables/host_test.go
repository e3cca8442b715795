package iptables_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/iptables"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

// nodeEnv has the test binary be a node: a process with mounts of its own, in which a
// folder lies over /usr/local/sbin.
const nodeEnv = "SLUICE_TEST_NODE"

func beNode(folder string) int {
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err == nil {
		err = unix.Mount(folder, "/usr/local/sbin", "", unix.MS_BIND, "")
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	os.Stdin.Read(make([]byte, 1))
	return 0
}

// startNode is a node's mount namespace, with scripts in it that say which network
// namespace they run in.
func startNode(t *testing.T) *os.File {
	t.Helper()
	folder := t.TempDir()
	for _, family := range []string{"iptables", "ip6tables"} {
		for suffix, does := range map[string]string{"": "echo 'iptables v1.8.99 (legacy)'", "-save": "readlink /proc/self/ns/net; test -e /proc/self/root/usr/local/sbin/iptables-legacy", "-restore": "cat"} {
			if err := os.WriteFile(filepath.Join(folder, family+"-legacy"+suffix), []byte("#!/bin/sh\n"+does+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), nodeEnv+"="+folder)
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); c.Wait() })
	if said, _ := bufio.NewReader(stdout).ReadString('\n'); said != "ready\n" {
		t.Fatal("the node: ", said)
	}
	mounts, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", c.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mounts.Close() })
	return mounts
}

// A container that has no programs uses its node's, in the pod's network namespace.
func TestANodesProgramsAreUsedFromAContainer(t *testing.T) {
	labtest.NeedsOtherUsers(t) // an ordinary one may enter no mounts but its own
	iptables.UseProgramsOf(startNode(t))
	defer iptables.UseProgramsOf(nil)
	fw, err := iptables.Find(iptables.Legacy)
	if err != nil || !strings.HasPrefix(fw.String(), "iptables 1.8.99 (legacy), /usr/local/sbin/") {
		t.Fatalf("%v, %v", fw, err)
	}
	if _, err := os.Stat("/usr/local/sbin/iptables-legacy"); err == nil {
		t.Error("this process sees the node's files by now")
	}
	ns := labtest.New(t)
	var stat unix.Stat_t
	if err := unix.Fstat(ns.FD(), &stat); err != nil {
		t.Fatal(err)
	}
	text, err := fw.Saved(ns.FD(), false)
	if want := fmt.Sprintf("net:[%d]\n", stat.Ino); err != nil || text != want {
		t.Errorf("it ran in %q, %v; want %q", text, err, want)
	}
	// The machine's own are in its /usr/sbin as well.
	own := find(t, iptables.NFT)
	p := rulestest.Plan(t)
	apply(t, own, ns, p)
	if err := own.Check(ns.FD(), p); err != nil {
		t.Error(err)
	}
	if err := own.Remove(ns.FD()); err != nil {
		t.Error(err)
	}
}

// A unit with mounts of its own may not enter the node's, and a container may share its PIDs
// with a pause container only: its own programs do.
func TestOnesOwnProgramsAreUsedWhereTheNodesCannotBe(t *testing.T) {
	hostWith(t, []string{"-legacy"}, "iptables v1.8.98 (legacy)")
	notMounts, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer notMounts.Close()
	iptables.UseProgramsOf(notMounts)
	defer iptables.UseProgramsOf(nil)
	if fw, err := iptables.Find(iptables.Legacy); err != nil || !strings.HasPrefix(fw.String(), "iptables 1.8.98 (legacy)") {
		t.Errorf("%v, %v", fw, err)
	}
	hostWith(t, []string{"-legacy"}, "iptables v1.4.21")
	_, err = iptables.Find(iptables.Legacy)
	if !errors.Is(err, rules.ErrUnsupported) || !strings.Contains(err.Error(), "cannot be reached") || !strings.Contains(err.Error(), "1.4.21") {
		t.Errorf("what is wrong with both: %v", err)
	}
}
