package found_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/agent/found"
	"github.com/sluice-cni/sluice/agent/netns"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

func identity(t *testing.T, n *lab.Namespace) wire.Netns {
	t.Helper()
	id, err := netns.At(n.FDPath())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestNamespacesAreFoundByFileAndByProcess(t *testing.T) {
	named, err := lab.NewAt(filepath.Join("/run/netns", "found-"+t.Name()))
	if err != nil {
		t.Fatal(err)
	}
	defer named.Close()
	if err := os.WriteFile("/run/netns/plain", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	nameless := labtest.New(t)
	sleeper := exec.Command("sleep", "1000")
	if err := nameless.Start(sleeper); err != nil {
		t.Fatal(err)
	}
	defer func() { sleeper.Process.Kill(); sleeper.Wait() }()
	unseen := identity(t, labtest.New(t)) // held open by nobody but a descriptor

	all, err := found.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	by := map[wire.Netns]found.Namespace{}
	for _, n := range all {
		by[n.ID] = n
	}
	if n := by[identity(t, named)]; n.Path != named.Path() || n.PID != 0 {
		t.Errorf("the named one is %+v", n)
	}
	if n := by[identity(t, nameless)]; n.Path != "" || n.PID != sleeper.Process.Pid {
		t.Errorf("the one with a process is %+v", n)
	}
	host, err := netns.At("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for name, id := range map[string]wire.Netns{"the host's": host, "one that nothing leads to": unseen} {
		if n, there := by[id]; there {
			t.Errorf("%s is found: %+v", name, n)
		}
	}

	var visited []wire.Netns
	err = found.All(context.Background(), func(path string, f *os.File) error {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		visited = append(visited, wire.Netns{Device: st.Dev, Inode: st.Ino})
		return nil
	})
	if err != nil || !slices.Contains(visited, identity(t, named)) || !slices.Contains(visited, identity(t, nameless)) {
		t.Errorf("visited %v, %v", visited, err)
	}
}

// Where the seccomp profile lets it, any process of a pod makes namespaces like this one.
func TestANamespaceThatAPodsProcessMadeIsForeign(t *testing.T) {
	made := exec.Command("sleep", "1000")
	made.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 1000, Size: 1}},
	}
	if err := made.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { made.Process.Kill(); made.Wait() }()
	all, err := found.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	seen := false
	for _, n := range all {
		own := n.PID == made.Process.Pid
		seen = seen || own
		if own != n.Foreign && (own || n.Path != "") {
			t.Errorf("%+v, made by the test: %v", n, own)
		}
	}
	if !seen {
		t.Error("it is not found")
	}
}

// Who may not look at a process does not know what is not there.
func TestProcessesThatMayNotBeLookedAtAreSaid(t *testing.T) {
	other := exec.Command("sleep", "1000")
	other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { other.Process.Kill(); other.Wait() }()
	err := labtest.Without(unix.CAP_SYS_PTRACE, func() error {
		_, err := found.List(t.Context())
		return err
	})
	if err != found.ErrDenied {
		t.Errorf("the list says %v", err)
	}
}
