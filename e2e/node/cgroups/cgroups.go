// Package cgroups gives the tests of a node a place in every cgroup hierarchy of the
// machine. Cgroups are the one thing that a world does not have to itself.
package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// parent is below what all tests of this machine put their cgroups, each run under the
// number of its process.
const parent = "sluice-e2e"

// placeEnv carries the name of the reserved place into the world.
const placeEnv = "SLUICE_TEST_CGROUP"

// Reserve names a place for this run and returns what removes everything below it once
// nothing runs there. What runs that crashed have left is removed first.
func Reserve() (release func(), err error) {
	removeLeft()
	place := filepath.Join(parent, strconv.Itoa(os.Getpid()))
	return func() { removeBelow(place) }, os.Setenv(placeEnv, place)
}

// Share is the variable of the environment that makes the nth part of this run's place
// the whole place of a process.
func Share(n int) string {
	return placeEnv + "=" + filepath.Join(os.Getenv(placeEnv), strconv.Itoa(n))
}

// Make makes the place in every hierarchy, as whoever puts cgroups below it may expect
// it to be there. In that of cpuset, version 1, a cgroup begins without processors and
// memory and takes no process until it has been given some.
func Make() error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		dir := h
		for part := range strings.SplitSeq(os.Getenv(placeEnv), "/") {
			above := dir
			dir = filepath.Join(dir, part)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
				content, err := os.ReadFile(filepath.Join(above, name))
				if _, missing := os.Stat(filepath.Join(dir, name)); err != nil || missing != nil {
					continue // another hierarchy, or version 2, which inherits
				}
				if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Parent is the place as container runtimes are told it: /sluice-e2e/PID/N.
func Parent() string { return "/" + os.Getenv(placeEnv) }

// hierarchies are the folders that cgroup file systems are mounted at.
func hierarchies() (all []string, err error) {
	mounts, err := cgroupMounts()
	for _, m := range mounts {
		all = append(all, m.at)
	}
	return all, err
}

// removeLeft removes the places of processes that are gone.
func removeLeft() {
	all, _ := hierarchies() // none, none to clean
	for _, h := range all {
		places, _ := os.ReadDir(filepath.Join(h, parent))
		for _, p := range places {
			if pid, err := strconv.Atoi(p.Name()); err == nil && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
				removeBelow(filepath.Join(parent, p.Name()))
			}
		}
	}
}

func removeBelow(place string) {
	all, _ := hierarchies()
	for _, h := range all {
		var folders []string
		filepath.WalkDir(filepath.Join(h, place), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				folders = append(folders, path)
			}
			return nil
		})
		for i := len(folders) - 1; i >= 0; i-- {
			os.Remove(folders[i])
		}
		os.Remove(filepath.Join(h, parent)) // fails while others have places in it
	}
}

// Clear removes everything below the place, in which nothing runs any more, and makes it
// anew.
func Clear() error {
	removeBelow(os.Getenv(placeEnv))
	return Make()
}

// Left are the folders of this run's place that are still there.
func Left() (left []string) {
	all, _ := hierarchies()
	for _, h := range all {
		dir := filepath.Join(h, os.Getenv(placeEnv))
		if _, err := os.Stat(dir); err == nil {
			left = append(left, dir)
		}
	}
	return left
}

// Unified is where the machine has cgroup version 2, or an error.
func Unified() (string, error) {
	mounts, err := cgroupMounts()
	if err != nil {
		return "", err
	}
	for _, m := range mounts {
		if m.kind == "cgroup2" {
			return m.at, nil
		}
	}
	return "", errors.New("no cgroup2 file system is mounted here")
}

// New makes a cgroup of version 2 and opens its folder, for SysProcAttr.CgroupFD. Both
// end with the test; whatever still runs in it is killed.
func New(t testing.TB, name string) *os.File {
	t.Helper()
	root, err := Unified()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, Parent(), name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.Close()
		if err := Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return f
}

// Remove kills what runs in a cgroup and removes it.
func Remove(dir string) error {
	os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
	events, err := os.Open(filepath.Join(dir, "cgroup.events"))
	if err != nil {
		return err
	}
	defer events.Close()
	for {
		content := make([]byte, 256)
		n, err := events.ReadAt(content, 0)
		if n == 0 {
			return err
		}
		if strings.Contains(string(content[:n]), "populated 0") {
			break
		}
		// cgroup.events says of a change by POLLPRI.
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(events.Fd()), Events: unix.POLLPRI}}, 5000); err != nil && err != unix.EINTR || n == 0 {
			return fmt.Errorf("cgroup %s: what was killed there has not ended: %w", dir, err)
		}
	}
	// Agents make cgroups beneath theirs.
	beneath, _ := filepath.Glob(filepath.Join(dir, "*", ""))
	for _, child := range beneath {
		unix.Rmdir(child)
	}
	return os.Remove(dir)
}
