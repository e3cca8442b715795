package cgroup_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/agent/cgroup"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

// joinEnv has the test binary join a cgroup, say where it is, and wait.
const joinEnv = "SLUICE_TEST_JOIN"

// hideEnv has it hide the hierarchy from itself before, as in a container without it.
const hideEnv = "SLUICE_TEST_HIDE"

func TestMain(m *testing.M) {
	path, asked := os.LookupEnv(joinEnv)
	if !asked {
		labtest.Main(m)
	}
	if os.Getenv(hideEnv) != "" {
		if err := hide(); err != nil {
			fmt.Printf("\nhide: %v\n", err)
			os.Exit(1)
		}
	}
	own, err := cgroup.Join(path)
	data, _ := os.ReadFile("/proc/self/cgroup")
	fmt.Printf("%s\n%v\n%s", own, err, data)
	os.Stdout.Close()
	os.Stdin.Read(make([]byte, 1))
	os.Exit(0)
}

// hide takes the file system of cgroups out of this process's mount namespace, which is
// one of its own.
func hide() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Unmount("/sys/fs/cgroup", unix.MNT_DETACH)
}

// join runs a process that joins, and returns what it says and how to end it.
func join(t *testing.T, path string) (own, failure, actual string, end func()) {
	t.Helper()
	return joinAs(t, path, func(*exec.Cmd) {})
}

func joinAs(t *testing.T, path string, as func(*exec.Cmd)) (own, failure, actual string, end func()) {
	t.Helper()
	labtest.NeedsOtherUsers(t) // an ordinary one may move no process
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), joinEnv+"="+path)
	as(cmd)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	said.ReadFrom(stdout)
	lines := strings.SplitN(said.String(), "\n", 3)
	for line := range strings.Lines(lines[2]) {
		if at, found := strings.CutPrefix(strings.TrimSpace(line), "0::"); found {
			actual = at
		}
	}
	return lines[0], lines[1], actual, func() { stdin.Close(); cmd.Wait() }
}

// hierarchy is where this machine has version 2.
func hierarchy(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.controllers")); err == nil {
			return dir
		}
	}
	t.Fatal("no cgroup version 2")
	return ""
}

func TestTheProcessIsInTheCgroupItNames(t *testing.T) {
	root := hierarchy(t)
	path := fmt.Sprintf("/sluice-test-%d", os.Getpid())
	own, failure, actual, end := join(t, path)
	defer os.Remove(filepath.Join(root, path))
	defer end()
	if own != path || actual != path || failure != "<nil>" {
		t.Errorf("joined %q (%s), is in %q; want %q", own, failure, actual, path)
	}
}

// Nobody is exempt by a cgroup where others are, the root least of all.
func TestAnAgentHasACgroupToItself(t *testing.T) {
	root := hierarchy(t)
	own, failure, actual, end := join(t, "")
	defer end()
	if failure != "<nil>" || own != actual || !strings.Contains(own, "/sluice-agent-") {
		t.Errorf("joined %q (%s), is in %q", own, failure, actual)
	}
	end()
	// The next one removes what the last has left.
	_, _, _, end = join(t, "")
	defer end()
	if _, err := os.Stat(filepath.Join(root, own)); err == nil {
		t.Errorf("%s is still there", own)
	}
}

// On a node with both versions a container sees version 1 only, and is in a cgroup of
// version 2 all the same.
func TestAHierarchyThatIsNotMountedIsFound(t *testing.T) {
	root := hierarchy(t)
	own, failure, actual, end := joinAs(t, "", func(c *exec.Cmd) {
		c.Env = append(c.Env, hideEnv+"=1")
		c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	})
	defer end()
	if failure != "<nil>" || own != actual || !strings.Contains(own, "/sluice-agent-") {
		t.Errorf("joined %q (%s), is in %q", own, failure, actual)
	}
	end()
	if err := os.Remove(filepath.Join(root, own)); err != nil {
		t.Error("it was no cgroup of the hierarchy: ", err)
	}
}

func TestTheRootIsNoProcesssOwn(t *testing.T) {
	_, failure, _, end := join(t, "/..")
	defer end()
	if !strings.Contains(failure, "is the root") {
		t.Errorf("joined the root: %s", failure)
	}
}
