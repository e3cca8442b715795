package sandbox

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// leftovers are what a command leaves running: everything in its namespace, and
// every descendant of root (0: nobody's) but spared.
type leftovers struct {
	namespace    namespaceID
	root, spared int
}

// killTimeout bounds the wait for killed processes to be gone; only one that
// hangs inside the kernel takes longer.
const killTimeout = 5 * time.Second

// kill ends them all, and those that they start meanwhile. reap is called
// between two looks to collect children.
func (l leftovers) kill(reap func()) error {
	deadline := time.Now().Add(killTimeout)
	for {
		pids, err := l.find()
		if err != nil || len(pids) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v of the command do not end", pids)
		}
		for _, pid := range pids {
			unix.Kill(pid, unix.SIGKILL)
		}
		time.Sleep(2 * time.Millisecond)
		reap()
	}
}

func (l leftovers) find() ([]int, error) {
	pids, err := processes()
	if err != nil {
		return nil, err
	}
	parents := map[int]int{}
	for _, pid := range pids {
		if parent, ok := parentOf(pid); ok {
			parents[pid] = parent
		}
	}
	var found []int
	for pid := range parents {
		if pid == os.Getpid() || pid == l.spared {
			continue
		}
		if l.descends(pid, parents) || l.inNamespace(pid) {
			found = append(found, pid)
		}
	}
	return found, nil
}

func (l leftovers) descends(pid int, parents map[int]int) bool {
	for l.root != 0 && pid > 1 {
		parent, ok := parents[pid]
		if !ok {
			return false
		}
		if parent == l.root {
			return true
		}
		pid = parent
	}
	return false
}

func (l leftovers) inNamespace(pid int) bool {
	if l.namespace == (namespaceID{}) {
		return false
	}
	namespace, err := namespaceOf(strconv.Itoa(pid))
	return err == nil && namespace == l.namespace
}
