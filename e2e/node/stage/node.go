package stage

import (
	"cmp"
	"encoding/json"
	"io"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/cidr/discover/rangesfile"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab"
)

// Options are what a node has beyond the defaults.
type Options struct {
	// Entry are further keys of the plugin's entry: failurePolicy, timeout and the like.
	Entry map[string]any
	// More is how many resources there are beside the few that register the internet's
	// servers.
	More int
	// Agent and Holder are further flags.
	Agent, Holder []string
	// DrainLimit is the agents'; default 10 s.
	DrainLimit time.Duration
	// Kubeconfig leads to the cluster that agents follow instead of the directory.
	Kubeconfig string
	// Runtime makes the node's pods known to agents as a container runtime would.
	Runtime bool
	// Resolver is the address of the pods' DNS; default Resolver.
	Resolver string
	// IPv6 gives pods of container runtimes addresses of both families.
	IPv6 bool
}

// Node is a node: folders of its own, an internet, and the processes that were started.
type Node struct {
	RunDir, StateDir, ConfigDir, PolicyDir string
	Internet                               *Internet
	Entry                                  map[string]any // of the plugin
	Holder                                 *Process       // the last that was started
	Agents                                 []*Process     // all that were started, the last last
	CRI                                    string         // the socket that agents ask about pods, or off
	IPv6                                   bool           // as in Options

	t       testing.TB
	o       Options
	ns      *lab.Namespace // of the node itself
	logs    string
	runtime *runtime
	pods    atomic.Int64
	// namespaces are what /proc calls them, by the node's end of the cable.
	namespaces sync.Map
	holders    int
}

// New makes a node with nothing running on it.
func New(t testing.TB, o Options) *Node {
	t.Helper()
	if o.DrainLimit == 0 {
		o.DrainLimit = 10 * time.Second
	}
	o.Resolver = cmp.Or(o.Resolver, Resolver)
	n := &Node{t: t, o: o, RunDir: "/run/sluice", StateDir: "/var/lib/sluice", ConfigDir: t.TempDir(), PolicyDir: t.TempDir(), IPv6: o.IPv6, logs: t.TempDir()}
	var err error
	n.ns, err = lab.Current()
	must(t, err)
	t.Cleanup(func() { n.ns.Close() })
	n.Internet = newInternet(t, n.ns)
	n.Entry = map[string]any{
		"agentSocket": filepath.Join(n.RunDir, "holder.sock"), "policyFile": filepath.Join(n.StateDir, "policy.json"),
		"rangesFile": filepath.Join(n.StateDir, "ranges.json"), "includeIPRanges": "auto", "dnsCapture": true,
		"capabilities": map[string]bool{"io.kubernetes.cri.pod-annotations": true, "dns": true},
	}
	for k, v := range o.Entry {
		n.Entry[k] = v
	}
	n.Write("resources.yaml", Resources+More(o.More))
	n.Ranges(Captured)
	n.CRI = "off"
	if o.Runtime {
		n.runtime = newRuntime(t)
		n.CRI = n.runtime.socket
	}
	t.Cleanup(func() { n.empty(n.RunDir); n.empty(n.StateDir) })
	return n
}

// empty removes what a test has left in a folder that outlives it.
func (n *Node) empty(dir string) {
	all, _ := os.ReadDir(dir)
	for _, e := range all {
		os.RemoveAll(filepath.Join(dir, e.Name()))
	}
}

// Write replaces a file of resources, all at once.
func (n *Node) Write(name, content string) {
	n.t.Helper()
	replace(n.t, filepath.Join(n.ConfigDir, name), content)
}

// Policy replaces the node's policy.
func (n *Node) Policy(yaml string) {
	n.t.Helper()
	replace(n.t, filepath.Join(n.PolicyDir, "policy.yaml"), yaml)
}

// Ranges replaces the cluster's ranges, as `sluice cidr --write` does.
func (n *Node) Ranges(all ...string) {
	n.t.Helper()
	must(n.t, rangesfile.Write(filepath.Join(n.StateDir, "ranges.json"), rangesfile.File{Written: time.Now(), Ranges: all}))
}

func replace(t testing.TB, path, content string) {
	t.Helper()
	temporary := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	must(t, os.WriteFile(temporary, []byte(content), 0o644))
	must(t, os.Rename(temporary, path))
}

// StartHolder starts a holder and waits until it answers.
func (n *Node) StartHolder() *Process {
	n.t.Helper()
	p := n.LaunchHolder()
	n.AwaitHolder(p)
	return p
}

// AwaitHolder waits until a holder that was launched answers.
func (n *Node) AwaitHolder(p *Process) {
	n.t.Helper()
	n.eventually(p.Name+" answers", func() bool {
		if !p.Running() {
			n.t.Fatalf("%s has ended: %v\n%s", p.Name, p.State, p.LogEnd(6000))
		}
		s, err := n.HolderStatus()
		return err == nil && s.PID == p.PID
	})
}

// LaunchHolder starts a holder and does not wait.
func (n *Node) LaunchHolder() *Process {
	n.t.Helper()
	n.holders++
	n.Holder = start(n.t, "holder-"+strconv.Itoa(n.holders), n.logs, append([]string{"holder", "--run-dir", n.RunDir}, n.o.Holder...)...)
	return n.Holder
}

// StartAgent starts an agent and waits until it serves every pod there is.
func (n *Node) StartAgent() *Process {
	n.t.Helper()
	p := n.LaunchAgent()
	n.AwaitAgent(p)
	return p
}

// AwaitAgent waits until an agent that was launched serves every pod there is.
func (n *Node) AwaitAgent(p *Process) {
	n.t.Helper()
	n.eventually(p.Name+" is ready", func() bool {
		if !p.Running() {
			n.t.Fatalf("%s has ended: %v\n%s", p.Name, p.State, p.LogEnd(6000))
		}
		s, err := n.Status()
		return err == nil && s.PID == p.PID && s.Ready
	})
}

// LaunchAgent starts an agent, with more arguments perhaps, and does not wait.
func (n *Node) LaunchAgent(more ...string) *Process {
	n.t.Helper()
	from := []string{"--config", n.ConfigDir}
	if n.o.Kubeconfig != "" {
		from = []string{"--kubernetes=" + n.o.Kubeconfig, "--node-name", "worker"}
	}
	args := append([]string{"agent", "--run-dir", n.RunDir, "--state-dir", n.StateDir, "--policy-dir", n.PolicyDir,
		"--cri", n.CRI, "--drain-limit", n.o.DrainLimit.String(), "--access-log", filepath.Join(n.logs, "access.log"), "--metrics-listen", "off",
		"--cni-conf", n.entryFile()}, n.o.Agent...)
	args = slices.Concat(args, from, more)
	p := start(n.t, "agent-"+strconv.Itoa(len(n.Agents)+1), n.logs, args...)
	n.Agents = append(n.Agents, p)
	return p
}

// entryFile has the plugin's entry for agents, which need it for pods that were running
// before there was a plugin.
func (n *Node) entryFile() string {
	n.t.Helper()
	entry := map[string]any{"type": "sluice-cni"}
	for k, v := range n.Entry {
		entry[k] = v
	}
	content, err := json.Marshal(entry)
	must(n.t, err)
	path := filepath.Join(n.logs, "entry.json")
	must(n.t, os.WriteFile(path, content, 0o644))
	return path
}

// Agent is the agent that was started last.
func (n *Node) Agent() *Process { return n.Agents[len(n.Agents)-1] }

// patience bounds every wait. It is long since the machine may be busy.
const patience = time.Minute

func (n *Node) eventually(what string, holds func() bool) {
	n.t.Helper()
	await.True(n.t, what, holds)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// quiet takes what the internet's servers have to say about clients that go away.
var quiet = log.New(io.Discard, "", 0)
