package agent

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/cidr/discover/rangesfile"
	"github.com/sluice-cni/sluice/internal/inotify"
	"github.com/sluice-cni/sluice/selection"
)

// pollEvery is how often a file is looked at to which nothing happens.
const pollEvery = 30 * time.Second

// given is what the decider is made from. Its parts come from different goroutines.
type given struct {
	policy *selection.Policy
	known  bool // a policy has come: before, no pod is decided
	ranges cidr.List
	err    error // why there are no ranges
}

// wantsAuto says whether a pod has includeIPRanges auto, or one without annotations would
// have it by the entry or the policy, in any namespace.
func (g *given) wantsAuto(entry selection.Conf, pods []core.PodStatus) bool {
	if slices.ContainsFunc(pods, func(p core.PodStatus) bool { return p.Decision.Auto }) {
		return true
	}
	auto := func(namespace string) bool {
		d, _ := selection.Configure(entry, g.policy, selection.Pod{Namespace: namespace}, func() (cidr.List, error) { return g.ranges, g.err })
		return d.Auto
	}
	if g.policy != nil {
		for namespace := range g.policy.Namespaces {
			if auto(namespace) {
				return true
			}
		}
	}
	return auto("")
}

// decideBy makes the core decide by what is given now, after change has changed it, and
// returns once the core has: a file that is written over and over gives no more work than
// can be done, since what happens to it meanwhile is one change.
func (a *Agent) decideBy(ctx context.Context, change func(*given) news) {
	if a.decideNow(change) {
		a.loop.ask(ctx, func(*core.State) {})
	}
}

// news is what changed of what is given.
type news int

const (
	noNews news = iota
	newRanges
	newPolicy
)

func (a *Agent) decideNow(change func(*given) news) (told bool) {
	a.givenMu.Lock()
	defer a.givenMu.Unlock() // events are told in the order of the changes
	what := change(&a.given)
	if !a.given.known || what == noNews {
		return false
	}
	d := &decider{entry: a.cfg.Entry, policy: a.given.policy, ranges: a.given.ranges, noRanges: a.given.err, byMark: a.cfg.ByMark, shapes: map[shapeOf]string{}}
	if what == newPolicy {
		generation := uint64(0)
		if d.policy != nil {
			generation = d.policy.Generation
		}
		a.loop.tell(core.PolicyChanged{Generation: generation, Decide: d.decide})
		return true
	}
	a.loop.tell(core.RangesChanged{Decide: d.decide})
	return true
}

// followRanges follows the file of the cluster's ranges. One that cannot be read, or is
// out of date, leaves the ranges that were known in force.
func (a *Agent) followRanges(ctx context.Context) {
	said := "" // the last trouble, so that it is not said again and again
	begun := time.Now()
	watchFile(ctx, a.cfg.RangesFile, func() {
		list, err := rangesfile.Read(a.cfg.RangesFile, time.Now())
		warn := func(text string) {
			if errors.Is(err, fs.ErrNotExist) && time.Since(begun) < a.cfg.RangesGrace {
				return
			}
			if err.Error() != said {
				a.log.Warn(text, "error", err)
			}
			said = err.Error()
		}
		a.decideBy(ctx, func(g *given) news {
			switch {
			case err != nil && g.err == nil && !g.ranges.None():
				warn("the cluster's ranges cannot be read; the last ones stay in force")
				return noNews
			case err != nil:
				warn("the cluster's ranges are not known; pods whose includeIPRanges is auto cannot be enrolled")
				if g.err != nil && g.err.Error() == err.Error() {
					return noNews
				}
				g.err = err
				return newRanges
			}
			said = ""
			switch {
			case g.err != nil || !slices.Equal(g.ranges.Prefixes, list.Prefixes) || g.ranges.All != list.All:
				a.log.Info("the cluster's ranges", "ranges", len(list.Prefixes))
				g.ranges, g.err = list, nil
				return newRanges
			}
			return noNews
		})
	})
}

// followPolicy follows what selects pods. It is written down for the plugin before any
// pod is decided by it.
//
// It begins with the one that was compiled last: files that have a mistake when the agent
// starts must not leave the node without any.
func (a *Agent) followPolicy(ctx context.Context) {
	switch p, err := selection.ReadFile(a.cfg.PolicyFile); {
	case err == nil:
		a.decidePolicy(ctx, p)
	case a.cfg.PolicyFile != "" && !errors.Is(err, selection.ErrNone):
		a.log.Warn("the policy that was compiled last is lost; pods are decided once there is another", "error", err)
	}
	if err := a.cfg.Policy.Run(ctx, func(p *selection.Policy) { a.policy(ctx, p) }); err != nil && ctx.Err() == nil {
		a.log.Error("the source of policy has ended; its last word stays in force", "error", err)
	}
}

func (a *Agent) policy(ctx context.Context, p *selection.Policy) {
	a.policyMu.Lock()
	defer a.policyMu.Unlock()
	a.keepPolicy(p)
	a.decidePolicy(ctx, p)
}

// keepPolicy has the plugin decide by a policy. The caller holds policyMu. Who gave the node's pods up does not: the
// file is the agent's that serves them, which may understand more, or of nobody any more
// where all pods are let go for good.
func (a *Agent) keepPolicy(p *selection.Policy) {
	if a.cfg.PolicyFile == "" || p == nil || a.retired.Load() || a.leaving.Load() {
		return
	}
	if _, err := selection.Keep(a.cfg.PolicyFile, p); err != nil {
		a.log.Error("the plugin goes on with the policy it had", "error", err)
	}
}

// keepPolicyAgain is for when this agent's word begins to count: another's, which does not
// any more, may have been written after it.
func (a *Agent) keepPolicyAgain() {
	a.policyMu.Lock()
	defer a.policyMu.Unlock()
	a.givenMu.Lock()
	p := a.given.policy
	a.givenMu.Unlock()
	if p != nil {
		c := *p // whose generation is the file's
		a.keepPolicy(&c)
	}
}

func (a *Agent) decidePolicy(ctx context.Context, p *selection.Policy) {
	a.decideBy(ctx, func(g *given) news {
		before, known := g.policy, g.known
		if known && before.Generation == p.Generation && selection.Same(before, p) {
			return noNews // the one that this agent began with, most of the time
		}
		g.policy, g.known = p, true
		about := []any{"generation", p.Generation, "namespaces", len(p.Namespaces)}
		if known {
			about = append(about, "changed", clip(strings.Join(changes(before, p), ", ")))
		}
		a.log.Info("policy in force", about...)
		return newPolicy
	})
}

// changes names what is another in a policy than in the one before.
func changes(before, after *selection.Policy) (all []string) {
	for _, part := range []struct {
		name string
		of   func(*selection.Policy) selection.Policy
	}{
		{"exemptNamespaces", func(p *selection.Policy) selection.Policy {
			return selection.Policy{ExemptNamespaces: p.ExemptNamespaces}
		}},
		{"selection", func(p *selection.Policy) selection.Policy { return selection.Policy{Selection: p.Selection} }},
		{"defaults", func(p *selection.Policy) selection.Policy { return selection.Policy{Defaults: p.Defaults} }},
		{"enforce", func(p *selection.Policy) selection.Policy { return selection.Policy{Enforce: p.Enforce} }},
		{"outboundPolicy", func(p *selection.Policy) selection.Policy {
			return selection.Policy{OutboundPolicy: p.OutboundPolicy}
		}},
		{"onInvalid", func(p *selection.Policy) selection.Policy { return selection.Policy{OnInvalid: p.OnInvalid} }},
	} {
		if was, is := part.of(before), part.of(after); !selection.Same(&was, &is) {
			all = append(all, part.name)
		}
	}
	names := map[string]bool{}
	for _, p := range []*selection.Policy{before, after} {
		for name := range p.Namespaces {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, is := selection.Policy{}, selection.Policy{}
		for from, to := range map[*selection.Policy]*selection.Policy{before: &was, after: &is} {
			if of, there := from.Namespaces[name]; there {
				to.Namespaces = map[string]selection.NamespacePolicy{name: of}
			}
		}
		switch {
		case selection.Same(&was, &is):
		case was.Namespaces == nil:
			all = append(all, "something is said of namespace "+name+" now")
		case is.Namespaces == nil:
			all = append(all, "nothing is said of namespace "+name+" any more")
		default:
			all = append(all, "namespace "+name)
		}
	}
	return all
}

// watchFile calls look at once, whenever something happens to a file, and now and then:
// what it holds may go out of date.
func watchFile(ctx context.Context, path string, look func()) {
	changes := inotify.Changes(ctx, filepath.Dir(path))
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		look()
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		case _, open := <-changes:
			if !open {
				changes = nil
			}
		}
	}
}
