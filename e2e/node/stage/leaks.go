package stage

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
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
	var left, last []string
	began := time.Now()
	if !await.Within(await.Patience, func() bool { last, left = left, n.left(before); return len(left) == 0 }) {
		n.t.Errorf("left behind: %s", strings.Join(left, "; "))
	}
	if took := time.Since(began); took > time.Second {
		n.t.Logf("given back after %v, last: %s", took.Round(time.Millisecond), strings.Join(last, "; "))
	}
}

func (n *Node) left(before Baseline) (left []string) {
	links, err := net.Interfaces()
	must(n.t, err)
	for _, l := range links {
		if strings.HasPrefix(l.Name, "pod") {
			left = append(left, "cable "+l.Name+n.holds(l.Name))
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
	s, err := n.Status()
	if err != nil {
		return append(left, err.Error())
	}
	for _, p := range s.Pods {
		if p.State != "untouched" { // those are only seen, at each sweep
			left = append(left, fmt.Sprintf("pod at the agent: %+v", p))
		}
	}
	return append(left, now.more(before)...)
}

// holds says which processes have the namespace at the other end of a pod's cable, as a
// descriptor or as a thread's own. A namespace that nobody has is on its way out, or a
// socket of it is still open.
func (n *Node) holds(link string) string {
	id, known := n.namespaces.Load(link)
	if !known {
		return ""
	}
	var out string
	for _, pattern := range []string{"/proc/[0-9]*/fd/*", "/proc/[0-9]*/task/*/ns/net"} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			if to, err := os.Readlink(path); err == nil && to == id {
				out += " " + path
			}
		}
	}
	if out == "" {
		return ""
	}
	return " (held at" + out + ")"
}
