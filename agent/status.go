package agent

import (
	"cmp"
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/rules"
)

// Status is the agent as it is, for `sluice status`.
type Status struct {
	NodeStatus
	Pods []PodStatus `json:"pods"`
}

// NodeStatus is what is true of the whole node.
type NodeStatus struct {
	Build string `json:"build"`
	PID   int    `json:"pid"`
	// Instance is the UID of the pod that the agent runs in; "": in none.
	Instance string `json:"instance,omitempty"`
	// Connected: the session with the holder stands.
	Connected bool `json:"connected"`
	Ready     bool `json:"ready"`
	// NotReady is what is missing; "" when nothing is.
	NotReady string `json:"notReady,omitempty"`
	// Retired: another agent serves, and this one's connections drain. Leaving: sluice
	// is being uninstalled.
	Retired bool `json:"retired,omitempty"`
	Leaving bool `json:"leaving,omitempty"`
	// Exemption is cgroup, or mark and Why.
	Exemption string `json:"exemption"`
	Why       string `json:"why,omitempty"`
	Cgroup    string `json:"cgroup,omitempty"`
	// Agents there are beside this one.
	Others int `json:"others,omitempty"`
	// Policy is the generation in force; Ranges those of the cluster, for auto.
	Policy    uint64 `json:"policy"`
	PolicyErr string `json:"policyError,omitempty"` // why it is not that of the files
	Ranges    int    `json:"ranges"`
	RangesErr string `json:"rangesError,omitempty"` // why there are none, where a pod or the policy wants auto
	Resources int    `json:"resources"`
	Errors    int    `json:"errors,omitempty"` // in the resources
	// Issues are what there is to say about the resources, errors first; maxIssues at most.
	Issues []string `json:"issues,omitempty"`
	// Cluster is what is the matter with following the cluster; "" when nothing is, or no
	// cluster is followed. ClusterAway is since when its API server has not answered.
	Cluster     string     `json:"cluster,omitempty"`
	ClusterAway *time.Time `json:"clusterAway,omitempty"`
	// Beside is what other programs on the node should do otherwise.
	Beside []string `json:"beside,omitempty"`
	// Serving are pods, Draining servers of pods that have only old connections left.
	Serving  int `json:"serving"`
	Draining int `json:"draining,omitempty"`
	// Used are what all pods hold together, Most what they may.
	Used       proxy.Usage `json:"used"`
	Most       proxy.Usage `json:"most"`
	Goroutines int         `json:"goroutines"`
	// unsettled says why a pod may be captured that is not among Pods; "" when none is.
	unsettled string
	// Descriptors are this process's open files.
	Descriptors int `json:"descriptors"`
}

// PodStatus is one pod.
type PodStatus struct {
	Name      wire.PodName `json:"name"`
	Netns     string       `json:"netns"` // device-inode
	Path      string       `json:"path,omitempty"`
	Container string       `json:"container,omitempty"`
	// State is one of core's words, Reason why it is not another.
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	// Decided is why the pod is selected, or not.
	Decided string `json:"decided,omitempty"`
	Rules   string `json:"rules"`
	Hash    string `json:"hash,omitempty"`
	// Policy is what becomes of traffic without an agent: block, or bypass.
	Policy string `json:"failurePolicy,omitempty"`
	// Ranges are captured; Auto: they are the cluster's.
	Ranges []string `json:"ranges,omitempty"`
	Auto   bool     `json:"auto,omitempty"`
	DNS    bool     `json:"dns,omitempty"`
	// Outbound is the policy's word about what nothing is registered for.
	Outbound string `json:"outboundPolicy,omitempty"`
	// Settings are the fields of the capture that are not at their defaults, but what is
	// above, and how its agents are exempt: that may be a mark, which is a secret.
	Settings    map[string]string `json:"settings,omitempty"`
	Exemption   string            `json:"exemption,omitempty"`
	Connections int               `json:"connections"`
	Draining    int               `json:"draining,omitempty"` // former servers of it whose connections have not ended
	Drifts      int               `json:"drifts,omitempty"`
	Since       *time.Time        `json:"since,omitempty"` // it is served
	Warnings    []string          `json:"warnings,omitempty"`
}

// Status is the state of the node and its pods.
func (a *Agent) Status(ctx context.Context) (Status, error) {
	var s core.Status
	if err := a.loop.ask(ctx, func(state *core.State) { s = state.Status() }); err != nil {
		return Status{}, err
	}
	out := Status{NodeStatus: a.node(s), Pods: []PodStatus{}}
	served := a.host.Served()
	for _, p := range s.Pods {
		if nobodys(p) {
			continue
		}
		one := podStatus(p)
		if of, ok := served[p.Pod]; ok {
			one.Connections, one.Since = of.Open, &of.Since
		}
		out.Pods = append(out.Pods, one)
	}
	slices.SortStableFunc(out.Pods, func(x, y PodStatus) int {
		return strings.Compare(x.Name.String(), y.Name.String())
	})
	return out, nil
}

// nobodys is a namespace that has nothing to do with pods: a browser's sandbox, a VPN.
func nobodys(p core.PodStatus) bool {
	return p.Name.Name == "" && !p.Held && (p.Rules == core.RulesNone || p.Rules == core.RulesUnknown)
}

func (a *Agent) node(s core.Status) NodeStatus {
	n := NodeStatus{
		Build: a.cfg.Build, PID: os.Getpid(), Instance: a.cfg.Instance, Connected: s.Connected, Ready: s.Ready,
		Retired: s.Retired, Leaving: s.Leaving, Exemption: "cgroup", Why: a.cfg.Why, Cgroup: a.cfg.Cgroup,
		Others: s.Others, Policy: s.Generation, Serving: s.Serving, Draining: s.Draining,
		Goroutines: goroutines(), Descriptors: descriptors(),
	}
	if a.cfg.ByMark {
		n.Exemption = "mark"
	}
	if missing := a.notReady(s); missing != nil {
		n.NotReady = missing.Error()
	}
	n.unsettled = unsettled(s)
	if source, says := a.cfg.Policy.(interface{ Problem() string }); says {
		n.PolicyErr = source.Problem()
	}
	a.givenMu.Lock()
	n.Ranges = len(a.given.ranges.Prefixes)
	if a.given.err != nil && a.given.wantsAuto(a.cfg.Entry, s.Pods) {
		n.RangesErr = a.given.err.Error()
	}
	a.givenMu.Unlock()
	n.Used, n.Most = a.cfg.Common.Shares.Usage()
	if a.cfg.Beside != nil {
		n.Beside = a.cfg.Beside()
	}
	if c, follows := a.cluster(); follows {
		n.Cluster = c.String()
		if !c.Away.IsZero() {
			n.ClusterAway = &c.Away
		}
	}
	if a.cfg.Resources != nil {
		n.Resources, n.Errors = a.cfg.Resources()
	}
	if a.cfg.Issues != nil {
		n.Issues = issueLines(a.cfg.Issues())
	}
	return n
}

// maxIssues bounds what one status says of resources.
const maxIssues = 100

func issueLines(all mesh.Issues) (lines []string) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b mesh.Issue) int { return cmp.Compare(a.Severity, b.Severity) })
	for _, i := range all[:min(len(all), maxIssues)] {
		lines = append(lines, i.String())
	}
	return lines
}

func podStatus(p core.PodStatus) PodStatus {
	out := PodStatus{
		Name:  wire.PodName{Namespace: p.Name.Namespace, Name: p.Name.Name, UID: p.Name.UID},
		Netns: p.Pod.String(), Path: p.Path, Container: p.Container,
		State: string(p.State), Reason: p.Reason, Decided: p.Why, Rules: string(p.Rules), Hash: p.Hash,
		Draining: p.Drains, Drifts: p.Drifts, Warnings: p.Warnings,
	}
	if p.State == core.PodUntouched {
		out.Warnings = nil // of a capture that is not
	}
	if p.Rules == core.RulesNone || p.Rules == core.RulesStandalone {
		return out
	}
	out.Policy, out.Exemption = string(rules.FailureBlock), "cgroup"
	if p.Gate > 0 {
		out.Policy = string(rules.FailureBypass)
	}
	if p.Mark {
		out.Exemption = "mark"
	}
	out.Outbound = p.Decision.Outbound
	if c := p.Decision.Config; c != nil {
		out.Auto, out.DNS = p.Decision.Auto, p.Decision.DNS
		for _, r := range c.IncludeIPRanges.Prefixes {
			out.Ranges = append(out.Ranges, r.String())
		}
		if c.IncludeIPRanges.All {
			out.Ranges = []string{"*"}
		}
		out.Settings = settings(*c)
	}
	return out
}

var notSettings = []string{"includeIPRanges", "dnsCapture", "failurePolicy", "exemption", "exemptUIDs", "exemptGIDs", "exemptMark", "exemptCgroups"}

func settings(c rules.Config) map[string]string {
	out := map[string]string{}
	defaults := rules.Default()
	for _, f := range rules.Fields() {
		if value := f.Value(c); value != f.Value(defaults) && !slices.Contains(notSettings, f.Name) {
			out[f.Name] = value
		}
	}
	return out
}
