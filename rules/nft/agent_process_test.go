package nft_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/escape"
	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/rules/rulestest"
	"golang.org/x/sys/unix"
)

// agentEnv makes the test binary a node's agent: it measures by what it is known, and
// sends from the namespace that is descriptor 3, as its standard input says.
const agentEnv = "SLUICE_NFT_AGENT"

// In a cgroup namespace of its own, and the step before.
const (
	agentHere    = "here"
	agentApart   = "apart"
	agentUnshare = "unshare"
)

// agentProcess is such a process.
type agentProcess struct {
	in  io.Writer
	out *bufio.Scanner
}

func newCgroup(t testing.TB, deeper int) *os.File {
	t.Helper()
	needsCgroups(t)
	return rulestest.NewCgroup(t, deeper)
}

// startAgent starts an agent of a pod in a cgroup, until the test ends.
func startAgent(t testing.TB, pod *lab.Namespace, cgroup *os.File) *agentProcess {
	t.Helper()
	return startAgentAs(t, agentHere, pod, cgroup)
}

func startAgentAs(t testing.TB, how string, pod *lab.Namespace, cgroup *os.File) *agentProcess {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), agentEnv+"="+how)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(cgroup.Fd()), Pdeathsig: syscall.SIGKILL}
	namespace := os.NewFile(uintptr(dup(t, pod.FD())), "namespace")
	defer namespace.Close()
	cmd.ExtraFiles = []*os.File{namespace}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	runtime.LockOSThread() // Pdeathsig is of the thread
	err = cmd.Start()
	must(t, err)
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
		runtime.UnlockOSThread()
	})
	return &agentProcess{in, bufio.NewScanner(out)}
}

// ask sends one command and returns its answer.
func (a *agentProcess) ask(t testing.TB, command string) string {
	t.Helper()
	fmt.Fprintln(a.in, command)
	if !a.out.Scan() {
		t.Fatalf("%s: the agent's process has ended: %v", command, a.out.Err())
	}
	return a.out.Text()
}

// own is by what the kernel knows the process.
func (a *agentProcess) own(t testing.TB) rules.Agents {
	t.Helper()
	var own rules.Agents
	answer := a.ask(t, "own")
	if err := json.Unmarshal([]byte(answer), &own); err != nil {
		t.Fatal(answer)
	}
	return own
}

// sends makes the agent connect from the pod, and send a datagram.
func (a *agentProcess) sends(t testing.TB, to netip.Addr) func() {
	return func() {
		if answer := a.ask(t, "send "+to.String()); answer != "sent" {
			t.Error(answer)
		}
	}
}

// exempts has the agent write who is exempt: itself, or with the agents named also them.
func (a *agentProcess) exempts(t testing.TB, others ...rules.Agents) {
	t.Helper()
	data, err := json.Marshal(others)
	must(t, err)
	if answer := a.ask(t, "exempt "+string(data)); answer != "exempt" {
		t.Fatal(answer)
	}
}

// beAgent answers commands until there are no more.
func beAgent() {
	if os.Getenv(agentEnv) == agentUnshare {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWCGROUP)
		if err == nil { // the threads that follow are all in it
			os.Setenv(agentEnv, agentApart)
			err = unix.Exec("/proc/self/exe", os.Args, os.Environ())
		}
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	unix.CloseOnExec(3)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		command, value, _ := strings.Cut(lines.Text(), " ")
		answer, err := obey(command, value)
		if err != nil {
			answer = "error: " + strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		fmt.Println(answer)
	}
	os.Exit(0)
}

func obey(command, value string) (string, error) {
	switch command {
	case "own":
		own, err := nft.OwnAgents()
		if err != nil {
			return "", err
		}
		data, err := json.Marshal(own)
		return string(data), err
	case "exempt":
		var others []rules.Agents
		if err := json.Unmarshal([]byte(value), &others); err != nil {
			return "", err
		}
		own, err := nft.OwnAgents()
		if err != nil {
			return "", err
		}
		return "exempt", nft.Exempt(3, rules.Union(append(others, own)...))
	case "send":
		to, err := netip.ParseAddr(value)
		if err != nil {
			return "", err
		}
		return "sent", inPod(func() {
			escape.Connect(to, 80)
			escape.Datagram(to, 443)
		})
	case "ask":
		who := ""
		err := inPod(func() { who = connectAndAsk(value) })
		return who, err
	}
	return "", errors.New("no such command: " + command)
}

// connectAndAsk is who answers at an address, or the error.
func connectAndAsk(address string) string {
	c, err := net.DialTimeout("tcp", address, 3*time.Second)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	return rulestest.Ask(c)
}

func inPod(f func()) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Setns(3, unix.CLONE_NEWNET)
		if err == nil {
			f()
		}
		done <- err
	}()
	return <-done
}
