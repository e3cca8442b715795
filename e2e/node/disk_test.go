package node

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/internal/await"
)

// With no room left on the node's disks, and /run, pods are held and governed all the
// same; what cannot be written down is told, and what was in force stays.
func TestDisksAreFull(t *testing.T) {
	needsRoot(t)
	n := stage.New(t, stage.Options{})
	for _, dir := range []string{n.RunDir, n.StateDir} {
		smallDisk(t, dir)
	}
	n.Ranges(stage.Captured) // again: the disk is another
	n.StartHolder()
	n.StartAgent()
	before := baseline(t, n)
	old := makePods(t, n, 2)
	each(t, old, 2, (*stage.Pod).Add)
	allGoverned(t, old)

	filler := fill(t, n.RunDir, n.StateDir)
	pods := makePods(t, n, 2)
	each(t, pods, 2, (*stage.Pod).Add)
	await.True(t, "the pods are enrolled", func() bool { return n.Enrolled() == 4 })
	allGoverned(t, append(pods, old...))
	// Nothing of the pods that came is on the disk: their rules tell who they are.
	n.Agent().Kill()
	n.Holder.Kill()
	n.StartHolder()
	n.StartAgent()
	await.True(t, "all pods are served again", func() bool { return n.Enrolled() == 4 })
	allGoverned(t, append(pods, old...))
	filler()
	each(t, append(pods, old...), 4, (*stage.Pod).Delete)
	n.GivenBack(before)
}

// smallDisk mounts a disk of 256 KiB at a folder until the test ends.
func smallDisk(t *testing.T, dir string) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o700))
	must(t, unix.Mount("small", dir, "tmpfs", 0, "size=256k,mode=0700"))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
}

// fill leaves no room on the disks of these folders until free is called.
func fill(t *testing.T, dirs ...string) (free func()) {
	t.Helper()
	var all []string
	for _, dir := range dirs {
		path := filepath.Join(dir, "filler")
		f, err := os.Create(path)
		must(t, err)
		for {
			if _, err := f.Write(make([]byte, 4096)); err != nil {
				break
			}
		}
		must(t, f.Close())
		all = append(all, path)
	}
	return func() {
		for _, path := range all {
			must(t, os.Remove(path))
		}
	}
}
