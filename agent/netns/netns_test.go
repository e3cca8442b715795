package netns_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/agent/netns"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

func open(t testing.TB, pod *lab.Namespace) *netns.Namespace {
	t.Helper()
	n, err := netns.OpenPath(pod.FDPath())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// namespaceOf is the namespace that a socket belongs to.
func namespaceOf(t testing.TB, socket int) wire.Netns {
	t.Helper()
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), unix.SIOCGSKNS, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	defer unix.Close(int(fd))
	var st unix.Stat_t
	if err := unix.Fstat(int(fd), &st); err != nil {
		t.Fatal(err)
	}
	return wire.Netns{Device: st.Dev, Inode: st.Ino}
}

func TestSocketsAreMadeInTheirNamespaces(t *testing.T) {
	t.Parallel()
	var pods [4]*netns.Namespace
	for i := range pods {
		pods[i] = open(t, labtest.New(t))
	}
	var all sync.WaitGroup
	for i := range 64 {
		n := pods[i%len(pods)]
		all.Go(func() {
			for _, domain := range []int{unix.AF_INET, unix.AF_INET6} {
				fd, err := n.Socket(domain, unix.SOCK_STREAM)
				if err != nil {
					t.Error(err)
					return
				}
				if got := namespaceOf(t, fd); got != n.ID() {
					t.Errorf("the socket is in %v, not in %v", got, n.ID())
				}
				if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); flags&unix.O_NONBLOCK == 0 {
					t.Error("the socket waits")
				}
				if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
					t.Error("processes would inherit the socket")
				}
				unix.Close(fd)
			}
		})
	}
	all.Wait()
}

func TestASocketThatCannotBeIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := open(t, labtest.New(t)).Socket(unix.AF_INET, 99); !errors.Is(err, unix.EINVAL) {
		t.Errorf("socket: %v", err)
	}
}

// However what is done inside ends, and whatever threads Go starts meanwhile, no thread
// stays in a pod.
func TestEveryThreadComesBack(t *testing.T) {
	t.Parallel()
	n := open(t, labtest.New(t))
	inside := func() {
		if at, err := netns.At("/proc/thread-self/ns/net"); err != nil || at != n.ID() {
			t.Errorf("inside is %v, %v; want %v", at, err, n.ID())
		}
	}
	gone := errors.New("gone")
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			defer func() { recover() }()
			err := n.Do(func() error {
				inside()
				var others sync.WaitGroup
				for range 8 { // goroutines in long system calls make Go start threads
					others.Go(func() {
						unix.Nanosleep(&unix.Timespec{Nsec: 1e6}, nil)
						if at, err := netns.At("/proc/thread-self/ns/net"); err != nil || at == n.ID() {
							t.Errorf("a goroutine that was started inside is in %v, %v", at, err)
						}
					})
				}
				others.Wait()
				switch i % 3 {
				case 0:
					panic("inside")
				case 1:
					runtime.Goexit()
				}
				return gone
			})
			if !errors.Is(err, gone) {
				t.Errorf("Do: %v", err)
			}
		})
	}
	all.Wait()
	// The thread that made the pod ends by itself, and may not have come to it yet.
	await.Silence(t, func() string {
		if left := threadsIn(t, n.ID()); len(left) > 0 {
			return fmt.Sprintf("process %d: still in the pod are %q", os.Getpid(), left)
		}
		return ""
	})
}

// threadsIn are this process's threads in a namespace.
func threadsIn(t *testing.T, pod wire.Netns) (left []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil || len(all) == 0 {
		t.Fatal("no threads", err)
	}
	for _, thread := range all {
		if at, err := netns.At(thread); err == nil && at == pod {
			left = append(left, thread)
		}
	}
	return left
}

func TestOnlyPodsNamespacesAreOpened(t *testing.T) {
	t.Parallel()
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		"/proc/thread-self/ns/net":   netns.ErrHosts,
		"/proc/self/ns/mnt":          netns.ErrNotOne,
		plain:                        netns.ErrNotOne,
		pipe:                         netns.ErrNotOne,
		filepath.Join(plain, "gone"): unix.ENOTDIR,
		"/nowhere":                   fs.ErrNotExist,
	} {
		if n, err := netns.OpenPath(path); !errors.Is(err, want) {
			t.Errorf("%s: %v, %v; want %v", path, n, err, want)
		} else if !strings.Contains(err.Error(), path) {
			t.Errorf("%s is not named by %q", path, err)
		}
	}
}

// A descriptor's number is another file's once it is closed: nobody may use it then.
func TestAClosedNamespaceIsNotUsed(t *testing.T) {
	t.Parallel()
	for range 50 {
		pod := labtest.New(t)
		n := open(t, pod)
		other, err := n.Dup()
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for {
					fd, err := n.Socket(unix.AF_INET, unix.SOCK_DGRAM)
					if err != nil {
						if !errors.Is(err, os.ErrClosed) {
							t.Error(err)
						}
						return
					}
					unix.Close(fd)
				}
			})
		}
		n.Close()
		all.Wait()
		if err := n.Do(func() error { return nil }); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Do: %v", err)
		}
		again, err := netns.Open(other)
		if err != nil || again.ID() != n.ID() {
			t.Fatalf("a duplicate: %v, %v", again, err)
		}
		again.Close()
		pod.Close()
	}
}

func TestWhatIsOpenedIsClosed(t *testing.T) {
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := netns.Open(f); !errors.Is(err, netns.ErrHosts) {
		t.Fatal(err)
	}
	if err := f.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the file that was refused is open still: %v", err)
	}
}

func BenchmarkSocket(b *testing.B) {
	n := open(b, labtest.New(b))
	for b.Loop() {
		fd, err := n.Socket(unix.AF_INET, unix.SOCK_STREAM)
		if err != nil {
			b.Fatal(err)
		}
		unix.Close(fd)
	}
}
