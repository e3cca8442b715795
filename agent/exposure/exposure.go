// Package exposure looks at the processes of pods for what the rules in their network
// namespaces do not protect against: capabilities with which a process may change the
// rules or go around them, and a cgroup that it shares with the agent. It only looks;
// docs/security-model.md says what each means.
package exposure

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/agent/netns"
	"github.com/sluice-cni/sluice/holder/wire"
)

// Pod is what the processes of one network namespace hold, together.
type Pod struct {
	// Capabilities by name, each with a process that has it in its bounding or its
	// effective set: what is bounding can be had by executing a file that has it.
	Capabilities map[string]Process
	// SharesCgroup is a process in the agent's cgroup, or beneath it; nil: none is.
	SharesCgroup *Process
}

// Process is one that is seen.
type Process struct {
	PID  int
	Name string // as the kernel has it, 15 bytes of whatever the process likes
}

// dangerous are the capabilities (capability.h) that matter.
var dangerous = []struct {
	bit  uint
	name string
	// byMark: it only matters where pods know the agent by a mark.
	byMark bool
	means  string
}{
	{12, "NET_ADMIN", false, "it can change the rules"},
	{13, "NET_RAW", true, "it can set marks, and try out the agent's"},
	{16, "SYS_MODULE", false, "it can load code into the kernel"},
	{39, "BPF", false, "it can load programs that send"},
	{21, "SYS_ADMIN", false, "it can enter other namespaces and cgroups"},
}

// NotProtected begins every warning.
const NotProtected = "NOT PROTECTED: "

// Warnings are sentences for people, none where all is well. byMark: the pod's rules
// know the agent's sockets by a mark.
func (p Pod) Warnings(byMark bool) (out []string) {
	for _, c := range dangerous {
		if by, held := p.Capabilities[c.name]; held && (byMark || !c.byMark) {
			out = append(out, NotProtected+"process "+by.String()+" may have "+c.name+": "+c.means)
		}
	}
	if by := p.SharesCgroup; by != nil && !byMark {
		out = append(out, NotProtected+"process "+by.String()+" is in the agent's cgroup: its connections are taken for the agent's; start the agent in one of its own (--cgroup)")
	}
	return out
}

func (p Process) String() string { return strconv.Itoa(p.PID) + " (" + p.Name + ")" }

// Look is every namespace that processes are in, but this process's own. cgroup is the
// agent's path in version 2, "" where it does not matter.
func Look(ctx context.Context, cgroup string) (map[wire.Netns]Pod, error) {
	own, err := netns.At("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	out := map[wire.Netns]Pod{}
	for _, dir := range processes {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() {
			continue
		}
		id, err := netns.OfProcess(pid)
		if err != nil || id == own {
			continue
		}
		pod := out[id]
		pod.add(pid, dir, cgroup)
		out[id] = pod
	}
	return out, nil
}

func (p *Pod) add(pid int, dir, cgroup string) {
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return // it has ended
	}
	name, held := parse(string(status))
	process := Process{pid, name}
	for _, c := range held {
		if p.Capabilities == nil {
			p.Capabilities = map[string]Process{}
		}
		if _, known := p.Capabilities[c]; !known {
			p.Capabilities[c] = process
		}
	}
	if cgroup == "" || p.SharesCgroup != nil {
		return
	}
	if groups, err := os.ReadFile(filepath.Join(dir, "cgroup")); err == nil && within(string(groups), cgroup) {
		p.SharesCgroup = &process
	}
}

// parse reads proc_pid_status(5).
func parse(status string) (name string, held []string) {
	var sets uint64
	for line := range strings.Lines(status) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch key {
		case "Name":
			name = value
		case "CapEff", "CapBnd":
			n, _ := strconv.ParseUint(value, 16, 64)
			sets |= n
		}
	}
	for _, c := range dangerous {
		if sets&(1<<c.bit) != 0 {
			held = append(held, c.name)
		}
	}
	slices.Sort(held)
	return name, held
}

// within says that a process with these cgroups (proc_pid_cgroup(5)) is in one of
// version 2 or beneath it.
func within(groups, cgroup string) bool {
	for line := range strings.Lines(groups) {
		if own, found := strings.CutPrefix(strings.TrimRight(line, "\n"), "0::"); found {
			return own == cgroup || strings.HasPrefix(own, strings.TrimSuffix(cgroup, "/")+"/")
		}
	}
	return false
}
