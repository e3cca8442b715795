// Package found looks through the node for network namespaces: those that are bound to
// files under /run/netns, as container runtimes do, and those that processes are in. It
// asks nobody and changes nothing. The host's own is never among them.
package found

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/agent/netns"
	"github.com/sluice-cni/sluice/holder/wire"
)

// Namespace is one that was seen. It may be gone, and its number another's, by the time
// it is opened: netns.OpenPath and its ID tell.
type Namespace struct {
	ID   wire.Netns
	Path string // of its file; "" where only processes lead to it
	PID  int    // the lowest of the processes inside, 0 for none
	// Foreign: no file leads to it, and it belongs to another user namespace than this
	// process's. Any process may have made it, and may do in it whatever it likes
	// (user_namespaces(7)): write rules that look like ours, for instance.
	Foreign bool
}

// Where is a path that leads to it.
func (n Namespace) Where() string {
	if n.Path != "" {
		return n.Path
	}
	return netns.PathOf(n.PID)
}

// Directories are where runtimes bind namespaces to files.
var Directories = []string{"/run/netns", "/var/run/netns"}

// List is every namespace there is, by identity. An error tells what could not be
// looked through, and the rest is there all the same: where that is ErrDenied alone, all
// that files lead to are there, and those of the processes that may be looked at. A
// directory that does not exist holds none.
func List(ctx context.Context) ([]Namespace, error) {
	host, err := netns.At("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	seen := map[wire.Netns]Namespace{}
	skip := map[wire.Netns]bool{host: true}
	if machine, err := netns.At("/proc/1/ns/net"); err == nil {
		skip[machine] = true
	}
	var errs []error
	for _, dir := range Directories {
		errs = append(errs, bound(dir, seen))
	}
	denied, err := inhabited(ctx, seen)
	errs = append(errs, err)
	var all []Namespace
	for id, n := range seen {
		if !skip[id] {
			n.Foreign = n.Path == "" && foreign(n)
			all = append(all, n)
		}
	}
	slices.SortFunc(all, func(a, b Namespace) int {
		return cmp.Or(cmp.Compare(a.ID.Device, b.ID.Device), cmp.Compare(a.ID.Inode, b.ID.Inode))
	})
	if err = errors.Join(errs...); err == nil {
		err = denied
	}
	return all, err
}

// ErrDenied is that there are processes which may not be looked at. It says no more, so
// that the same is not said again and again in other words.
var ErrDenied = fmt.Errorf("processes may not be looked at, nor the network namespaces that only they are in: %w; it takes CAP_SYS_PTRACE, and no AppArmor or SELinux profile that forbids it", fs.ErrPermission)

// foreign looks whose a namespace is. One that is gone by now is nobody's.
func foreign(n Namespace) bool {
	f, err := os.Open(netns.PathOf(n.PID))
	if err != nil {
		return false
	}
	defer f.Close()
	owner, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return false // EPERM: it belongs to an ancestor of ours
	}
	defer unix.Close(owner)
	var st unix.Stat_t
	own, err := netns.At("/proc/self/ns/user")
	return err == nil && unix.Fstat(owner, &st) == nil && own != wire.Netns{Device: st.Dev, Inode: st.Ino}
}

// All calls visit with each namespace, open, which it closes. An error of visit ends it.
func All(ctx context.Context, visit func(path string, f *os.File) error) error {
	all, err := List(ctx)
	for _, n := range all {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if failed := n.visit(visit); failed != nil {
			return failed
		}
	}
	return err
}

func (n Namespace) visit(visit func(path string, f *os.File) error) error {
	ns, err := netns.OpenPath(n.Where())
	if err != nil {
		return nil // gone meanwhile
	}
	defer ns.Close()
	if ns.ID() != n.ID {
		return nil
	}
	f, err := ns.Dup()
	if err != nil {
		return err
	}
	defer f.Close()
	return visit(n.Where(), f)
}

// bound finds the files of a directory that namespaces are bound to. Where mounts do
// not reach this process, in a container, they are plain files.
func bound(dir string, seen map[wire.Netns]Namespace) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		id, err := netns.Bound(path)
		if _, known := seen[id]; err == nil && !known {
			seen[id] = Namespace{ID: id, Path: path}
		}
	}
	return nil
}

// inhabited finds those that processes are in. denied: there are others.
func inhabited(ctx context.Context, seen map[wire.Netns]Namespace) (denied, err error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() || pid == 1 { // our first thread may be in a pod for a moment; the machine's first process is in none
			continue
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		id, err := netns.OfProcess(pid)
		if errors.Is(err, fs.ErrPermission) {
			denied = ErrDenied
		}
		if err != nil {
			continue // it has ended, or is a zombie
		}
		n := seen[id]
		if n.ID = id; n.PID == 0 || pid < n.PID {
			n.PID = pid
		}
		seen[id] = n
	}
	return denied, nil
}
