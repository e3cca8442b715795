package stage

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// Baseline is what the node's processes have when there are no pods.
type Baseline struct {
	HolderFiles, AgentFiles int
	Goroutines              int // the agent's
}

// Measure reads what they have now.
func (n *Node) Measure() (b Baseline, err error) {
	m, err := n.Metrics()
	if err != nil {
		return b, err
	}
	return Baseline{HolderFiles: n.Holder.Descriptors(), AgentFiles: n.Agent().Descriptors(), Goroutines: int(m["go_goroutines"])}, nil
}

// more is what b has beyond a, with a little room for what comes and goes by itself:
// a connection to the other, a timer's goroutine.
func (b Baseline) more(a Baseline) (what []string) {
	const room = 4
	for _, v := range []struct {
		name string
		was  int
		is   int
	}{{"descriptors of the holder", a.HolderFiles, b.HolderFiles}, {"descriptors of the agent", a.AgentFiles, b.AgentFiles}, {"goroutines of the agent", a.Goroutines, b.Goroutines}} {
		if v.is > v.was+room {
			what = append(what, fmt.Sprintf("%d %s, %d before", v.is, v.name, v.was))
		}
	}
	return what
}

// GivenBack ends a test whose pods have all been deleted: it waits until the node has
// let go of everything that they were, and fails the test with what is left. The kernel
// takes a pod's cable away with its namespace, so a cable that stays is a namespace that
// somebody holds.
func (n *Node) GivenBack(before Baseline) {
	n.t.Helper()
	var left []string
	if !Within(patience, func() bool { left = n.left(before); return len(left) == 0 }) {
		n.t.Errorf("left behind: %s", strings.Join(left, "; "))
	}
}

func (n *Node) left(before Baseline) (left []string) {
	links, err := net.Interfaces()
	must(n.t, err)
	for _, l := range links {
		if strings.HasPrefix(l.Name, "pod") {
			left = append(left, "cable "+l.Name)
		}
	}
	for _, dir := range []string{filepath.Join(n.RunDir, "pods"), "/run/netns"} {
		files, _ := os.ReadDir(dir)
		for _, f := range files {
			left = append(left, filepath.Join(dir, f.Name()))
		}
	}
	if len(left) > 0 {
		return left
	}
	now, err := n.Measure()
	if err != nil {
		return []string{err.Error()}
	}
	if s, err := n.HolderStatus(); err != nil || len(s.Pods) > 0 {
		left = append(left, fmt.Sprintf("%d pods at the holder (%v)", len(s.Pods), err))
	}
	if s, err := n.Status(); err != nil || len(s.Pods) > 0 {
		left = append(left, fmt.Sprintf("%d pods at the agent (%v)", len(s.Pods), err))
	}
	return append(left, now.more(before)...)
}
