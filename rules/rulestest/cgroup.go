package rulestest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The cgroups of the flows lie beneath the test's own and are threaded, so that a
// thread can join one for the time it makes a socket:
//
//	/sluice-oracle-PID ── a ── deep
//	                   └─ b
//
// Their names are fixed for the life of the process: tests without a kernel use
// them too.
var cgroupNames = sync.OnceValue(func() []string {
	base := cgroupBase()
	return []string{base + "/a", base + "/a/deep", base + "/b"}
})

var cgroupBase = sync.OnceValue(func() string {
	own := ""
	data, _ := os.ReadFile("/proc/self/cgroup") // without one nothing is made there either
	for line := range strings.Lines(string(data)) {
		if path, found := strings.CutPrefix(strings.TrimSpace(line), "0::"); found {
			own = strings.TrimSuffix(path, "/")
		}
	}
	return fmt.Sprintf("%s/sluice-oracle-%d", own, os.Getpid())
})

// cgroupRoot is where the version 2 hierarchy is mounted, "" for nowhere.
var cgroupRoot = sync.OnceValue(func() string {
	data, _ := os.ReadFile("/proc/self/mountinfo") // unreadable is the same as without
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) > 6 && fields[3] == "/" && strings.Contains(line, " - cgroup2 ") {
			return fields[4]
		}
	}
	return ""
})

// cgroupUsers counts the tests that have them; the last one removes them.
var cgroupUsers struct {
	sync.Mutex
	n int
}

// MakeCgroups makes the cgroups of the flows until the test ends, and reports
// whether it could: that takes root and a version 2 hierarchy that is not read-only.
func MakeCgroups(t testing.TB) bool {
	t.Helper()
	if cgroupRoot() == "" {
		return false
	}
	cgroupUsers.Lock()
	defer cgroupUsers.Unlock()
	cgroupUsers.n++
	sweepCgroups()
	t.Cleanup(func() {
		cgroupUsers.Lock()
		defer cgroupUsers.Unlock()
		cgroupUsers.n--
		if cgroupUsers.n > 0 {
			return
		}
		names := cgroupNames()
		for i := len(names) - 1; i >= 0; i-- {
			removeCgroup(t, filepath.Join(cgroupRoot(), names[i]))
		}
		removeCgroup(t, filepath.Join(cgroupRoot(), cgroupBase()))
	})
	for _, p := range append([]string{cgroupBase()}, cgroupNames()...) {
		if !makeThreaded(filepath.Join(cgroupRoot(), p)) {
			return false
		}
	}
	return true
}

// sweepCgroups removes those of processes that were killed. One that is in use cannot
// be removed.
func sweepCgroups() {
	left, _ := filepath.Glob(filepath.Join(cgroupRoot(), filepath.Dir(cgroupBase()), "sluice-oracle-*")) // a bad pattern it is not
	for _, dir := range left {
		pid := strings.TrimPrefix(filepath.Base(dir), "sluice-oracle-")
		if _, err := os.Stat("/proc/" + pid); err == nil {
			continue
		}
		var inside []string
		filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				inside = append(inside, path)
			}
			return nil
		})
		for _, path := range slices.Backward(inside) {
			unix.Rmdir(path)
		}
	}
}

func makeThreaded(dir string) bool {
	switch err := os.Mkdir(dir, 0o755); {
	case errors.Is(err, os.ErrExist):
		return true // another test's
	case err != nil:
		return false
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.type"), []byte("threaded"), 0o644) == nil
}

// RootCgroup is the cgroup above all others.
func RootCgroup(t testing.TB) *os.File {
	t.Helper()
	folder, err := os.Open(cgroupRoot())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	return folder
}

// NewCgroup makes a cgroup beside those of the flows, for a process that a test starts,
// until the test ends; it lies so many cgroups deeper than they do. The caller has called
// MakeCgroups, and does not close the folder.
func NewCgroup(t testing.TB, deeper int) *os.File {
	t.Helper()
	dir := filepath.Join(cgroupRoot(), cgroupBase())
	for range deeper + 1 {
		inside, err := os.MkdirTemp(dir, "process-")
		if err == nil {
			dir = inside
			t.Cleanup(func() { removeCgroup(t, inside) })
			err = os.WriteFile(filepath.Join(dir, "cgroup.type"), []byte("threaded"), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	folder, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	return folder
}

// removeCgroup waits for the threads that were in it: they end a moment after
// their goroutines.
func removeCgroup(t testing.TB, dir string) {
	deadline := time.Now().Add(3 * time.Second)
	for {
		err := unix.Rmdir(dir)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("remove the cgroup %s: %v", dir, err)
			return
		}
		unix.Poll(nil, 10)
	}
}

// CgroupNames are the cgroups that MakeCgroups makes.
func CgroupNames() []string { return cgroupNames() }

// JoinCgroup moves this thread, which must end soon.
func JoinCgroup(path string) error {
	if path == "" {
		return nil
	}
	file := filepath.Join(cgroupRoot(), path, "cgroup.threads")
	if err := os.WriteFile(file, []byte(strconv.Itoa(unix.Gettid())), 0o644); err != nil {
		return fmt.Errorf("join a cgroup: %w", err)
	}
	return nil
}
