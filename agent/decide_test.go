package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/selection"
)

func members(all map[string]string) map[string]json.RawMessage {
	out := map[string]json.RawMessage{
		selection.KeyAgentSocket: json.RawMessage(`"/run/sluice/holder.sock"`),
		selection.KeyPolicyFile:  json.RawMessage(`"/var/lib/sluice/policy.json"`),
	}
	for name, value := range all {
		out[name] = json.RawMessage(value)
	}
	return out
}

// deciding is a decider with "auto" for the pods that were found running.
func deciding(t *testing.T, ranges string) *decider {
	t.Helper()
	entry, err := selection.ReadConf(members(map[string]string{"includeIPRanges": `"auto"`}))
	must(t, err)
	list, _, err := cidr.Parse(ranges)
	must(t, err)
	yes, no := true, false
	return &decider{
		entry: entry, ranges: list, shapes: map[shapeOf]string{},
		policy: &selection.Policy{Selection: "annotated", Namespaces: map[string]selection.NamespacePolicy{"shop": {Select: &yes, OutboundPolicy: selection.Observe}, "off": {Select: &no}, "held": {Select: &yes, Enforce: []string{"inject"}, OutboundPolicy: selection.Observe}}},
	}
}

func described(namespace string, annotations map[string]string) core.Description {
	return core.Description{Name: selection.Pod{Namespace: namespace, Name: "web", Annotations: annotations}}
}

func TestWhatIsDecidedOfAPod(t *testing.T) {
	t.Parallel()
	fromADD := described("off", nil)
	fromADD.Document = selection.Document{Fields: map[string]json.RawMessage{
		selection.KeyAgentSocket: json.RawMessage(`"/run/sluice/holder.sock"`), "includeIPRanges": json.RawMessage(`"192.0.2.0/24"`),
	}}
	unreadable := described("shop", nil)
	unreadable.Document = selection.Document{Fields: map[string]json.RawMessage{"includeIPRanges": json.RawMessage(`7`)}}
	elsewhere := described("shop", nil)
	elsewhere.Ports = core.Ports{Outbound: 15111}
	marked := described("shop", nil)
	marked.Mark = 77
	programmed := described("shop", map[string]string{"sluice.dev/backend": "iptables-nft"})
	programmed.Mark = 78
	bypass := map[string]string{"sluice.dev/failurePolicy": "bypass"}
	for name, tc := range map[string]struct {
		pod      core.Description
		byMark   bool
		noRanges error
		selected bool
		err      string // part of it
		check    func(core.Decision) bool
	}{
		"selected by its namespace":           {pod: described("shop", nil), selected: true, check: func(d core.Decision) bool { return d.Auto && d.Gate == 0 && !d.DNS }},
		"not selected":                        {pod: described("off", nil)},
		"its entry has no policy":             {pod: fromADD, selected: true, check: func(d core.Decision) bool { return !d.Auto }},
		"an entry that cannot be read":        {pod: unreadable, selected: true, err: "includeIPRanges"},
		"a malformed annotation":              {pod: described("shop", map[string]string{"traffic.sidecar.istio.io/excludeOutboundPorts": "x"}), selected: true, err: "excludeOutboundPorts"},
		"nonsense where inject is enforced":   {pod: described("held", map[string]string{"sluice.dev/x": "y"}), selected: true, check: func(d core.Decision) bool { return strings.Contains(d.Warnings[0], "left out") }},
		"ranges are not known":                {pod: described("shop", nil), noRanges: errors.New("no ranges"), selected: true, err: "no ranges"},
		"bypass":                              {pod: described("shop", bypass), selected: true, check: func(d core.Decision) bool { return d.Gate == selection.DefaultGate }},
		"its sockets are elsewhere":           {pod: elsewhere, selected: true, check: func(d core.Decision) bool { return d.Config.OutboundPort == 15111 }},
		"a mark is not used where cgroups do": {pod: marked, selected: true, check: func(d core.Decision) bool { return d.Config.ExemptMark == 0 }},
		"a mark with iptables, which know no cgroups": {pod: programmed, selected: true, check: func(d core.Decision) bool {
			return d.Config.Exemption == rules.ExemptByMark && d.Config.ExemptMark == 78 && d.Mark == 78
		}},
		"a mark where they do not": {pod: marked, byMark: true, selected: true, check: func(d core.Decision) bool {
			return d.Config.Exemption == rules.ExemptByMark && d.Config.ExemptMark == 77
		}},
	} {
		d := deciding(t, "203.0.113.0/24")
		d.byMark, d.noRanges = tc.byMark, tc.noRanges
		got := d.decide(tc.pod)
		if got.Selected != tc.selected || (tc.err == "") != (got.Err == "") || !strings.Contains(got.Err, tc.err) {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		if valid := tc.selected && tc.err == ""; valid && (got.Hash == "" || got.Shape == "" || got.Config == nil) {
			t.Errorf("%s: a valid decision without rules: %+v", name, got)
		}
		// Whatever is wrong with a pod, what becomes of the rest is the policy's word.
		if want := got.Selected && tc.pod.Document.Fields == nil; want != (got.Outbound == selection.Observe) {
			t.Errorf("%s: outbound %q", name, got.Outbound)
		}
		if tc.check != nil && !tc.check(got) {
			t.Errorf("%s: %+v, %+v", name, got, got.Config)
		}
	}
}

// Where only ranges differ sets are replaced, and nothing else: the shape is the same.
func TestOnlyRangesLeaveTheShape(t *testing.T) {
	t.Parallel()
	pod := described("shop", nil)
	first := deciding(t, "203.0.113.0/24").decide(pod)
	again := deciding(t, "203.0.113.0/24").decide(pod)
	if first.Hash != again.Hash || first.Shape != again.Shape {
		t.Error("the same is decided differently")
	}
	other := deciding(t, "203.0.113.0/24,198.51.100.0/24").decide(pod)
	if other.Hash == first.Hash || other.Shape != first.Shape {
		t.Errorf("other ranges: hashes %s and %s, shapes %s and %s", first.Hash, other.Hash, first.Shape, other.Shape)
	}
	for name, annotations := range map[string]map[string]string{
		"bypass":        {"sluice.dev/failurePolicy": "bypass"},
		"other non-TCP": {"sluice.dev/nonTCP": "reject"}, // Observe allows it
	} {
		changed := deciding(t, "203.0.113.0/24").decide(described("shop", annotations))
		if changed.Err != "" || changed.Shape == first.Shape {
			t.Errorf("%s: %+v", name, changed)
		}
	}
}

// A policy is said to be in force once, and each other one with what is new in it.
func TestAPolicyInForceIsSaidOnceAndWhatChanged(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	a := New(Config{Log: slog.New(slog.NewTextHandler(&said, nil))})
	decide := func(p *selection.Policy, want string) {
		t.Helper()
		said.Reset()
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nobody runs the core
		a.decidePolicy(ctx, p)
		if _, line, _ := strings.Cut(said.String(), "msg="); strings.TrimSpace(line) != want {
			t.Errorf("said %q, want %q", line, want)
		}
	}
	yes := true
	first := func() *selection.Policy {
		return &selection.Policy{
			Generation: 1, Selection: "all", Enforce: []string{"inject"},
			Namespaces: map[string]selection.NamespacePolicy{"shop": {Select: &yes}, "old": {}, "same": {OnInvalid: "pass"}},
		}
	}
	decide(first(), `"policy in force" generation=1 namespaces=3`)
	decide(first(), "")
	next := first()
	next.Generation, next.Enforce, next.Selection = 2, nil, "annotated"
	next.Namespaces["shop"] = selection.NamespacePolicy{Select: &yes, Enforce: []string{"inject"}}
	next.Namespaces["new"] = selection.NamespacePolicy{}
	delete(next.Namespaces, "old")
	decide(next, `"policy in force" generation=2 namespaces=3 changed="selection, enforce, something is said of namespace new now, nothing is said of namespace old any more, namespace shop"`)
}

func TestTheRosterCountsWhoServes(t *testing.T) {
	t.Parallel()
	h := (*handler)(New(Config{Agents: wire.Agents{Levels: []int{2}, IDs: []uint64{9}}}))
	r := h.roster([]wire.AgentInfo{
		{Agents: wire.Agents{Levels: []int{1}, IDs: []uint64{3}}, Serving: true},
		{Agents: wire.Agents{Levels: []int{2}, IDs: []uint64{4}}, Serving: true, Retired: true},
		{Agents: wire.Agents{Levels: []int{2}, IDs: []uint64{9}}},
	})
	if r.Others != 3 || r.Rivals != 1 || len(r.Agents.IDs) != 3 || len(r.Agents.Levels) != 2 {
		t.Errorf("%+v", r)
	}
}

// The loop gives events in their order, and ticks when the core wants one.
func TestTheLoopKeepsOrderAndTime(t *testing.T) {
	t.Parallel()
	l := newLoop(core.Settings{FactsWait: time.Millisecond})
	acted := make(chan core.Action, 16)
	l.perform, l.alive = func(a core.Action) { acted <- a }, func() {}
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { defer close(ended); l.run(ctx) }()
	pod := wire.Netns{Device: 4, Inode: 1}
	l.tell(core.SnapshotReady{})
	l.tell(core.Connected{Roster: core.Roster{Agents: wire.Agents{IDs: []uint64{1}}}})
	l.tell(core.Held{Pod: pod, Files: 1, Name: selection.Pod{Namespace: "shop", Name: "web"}})
	l.tell(core.Listed{})
	exempt := (<-acted).(core.Exempt)
	l.tell(core.Done{Action: exempt})
	for started := false; !started; { // once its facts are waited for no more: by a tick
		switch a := (<-acted).(type) {
		case core.ReadBack:
			l.tell(core.Done{Action: a, Rules: core.Rules{State: core.RulesApplied}})
		case core.Start:
			started = true
		}
	}
	served := make(chan int, 1)
	must(t, l.ask(ctx, func(s *core.State) { served <- len(s.Status().Pods) }))
	if n := <-served; n != 1 {
		t.Errorf("%d pods", n)
	}
	gone, give := context.WithCancel(ctx)
	give()
	if err := l.ask(gone, func(*core.State) { t.Error("asked, although nobody waits") }); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	cancel()
	<-ended
}

// An agent that another has taken over from, or that lets every pod go for good, writes no
// policy for the plugin any more; one that takes over writes its own again.
func TestOnlyWhoServesWritesThePolicyDown(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "policy.json")
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nobody runs the core
	written := func(want string) {
		t.Helper()
		p, err := selection.ReadFile(path)
		must(t, err)
		if p.Selection != want {
			t.Errorf("written %q, want %q", p.Selection, want)
		}
	}
	start := func() *Agent { return New(Config{Log: slog.New(slog.DiscardHandler), PolicyFile: path}) }
	old, next := start(), start()
	old.policy(ctx, &selection.Policy{Selection: "annotated"})
	next.policy(ctx, &selection.Policy{Selection: "all"})
	written("all")
	old.policy(ctx, &selection.Policy{Selection: "annotated", OnInvalid: "pass"}) // it is not told yet
	written("annotated")
	next.perform(core.Take{})
	next.actions.Wait()
	written("all")
	old.retired.Store(true)
	old.policy(ctx, &selection.Policy{Selection: "annotated"})
	written("all")
	old.retired.Store(false)
	old.perform(core.Take{}) // it serves again
	old.actions.Wait()
	written("annotated")
	old.leaving.Store(true)
	must(t, os.Remove(path))
	old.policy(ctx, &selection.Policy{Selection: "all"})
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("written while every pod is let go: ", err)
	}
}

// Ranges that are missing are nobody's concern where nobody wants them.
func TestWhoWantsTheClustersRanges(t *testing.T) {
	t.Parallel()
	auto, all := members(map[string]string{"includeIPRanges": `"auto"`}), members(map[string]string{"includeIPRanges": `"*"`})
	everything := &selection.Policy{Defaults: map[string]json.RawMessage{"includeIPRanges": json.RawMessage(`"*"`)}}
	one := &selection.Policy{Defaults: everything.Defaults, Namespaces: map[string]selection.NamespacePolicy{
		"shop": {Defaults: map[string]json.RawMessage{"includeIPRanges": json.RawMessage(`"auto"`)}},
	}}
	pod := []core.PodStatus{{}, {Decision: core.Decision{Auto: true}}}
	for name, c := range map[string]struct {
		entry  map[string]json.RawMessage
		policy *selection.Policy
		pods   []core.PodStatus
		want   bool
	}{
		"the entry":                        {auto, nil, nil, true},
		"the policy says otherwise":        {auto, everything, nil, false},
		"nobody":                           {all, nil, pod[:1], false},
		"a namespace's policy":             {all, one, nil, true},
		"a pod, by its annotation perhaps": {all, everything, pod, true},
	} {
		entry, err := selection.ReadConf(c.entry)
		must(t, err)
		g := given{policy: c.policy, err: fs.ErrNotExist}
		if got := g.wantsAuto(entry, c.pods); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
