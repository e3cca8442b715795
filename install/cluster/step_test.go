package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cni/sluice/kubeapi"
)

var own = kubeapi.Key{Namespace: "sluice-system", Name: "sluice-uninstall"}

func TestEveryNodeIsDoneBeforeTheAgentsGoAndOnceMoreAfterThem(t *testing.T) {
	t.Parallel()
	passes := 0
	var got []string
	for _, s := range steps(own, []string{"agents", "holders"}, func() string { passes++; return fmt.Sprint("pass ", passes) }) {
		text := "delete " + s.set.Name
		if !s.deletes() {
			text = s.run + " of " + s.set.Name
		}
		if s.most > 0 {
			text += " or go on"
		}
		got = append(got, text)
	}
	want := []string{"pass 1 of sluice-uninstall", "delete agents", "delete holders", "pass 2 of sluice-uninstall", "delete sluice-uninstall or go on"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// aSet is a DaemonSet that wants a pod on so many nodes, of which its controller knows or not.
func aSet(nodes int, seen bool) (d daemonSet) {
	d.Status.DesiredNumberScheduled = nodes
	if !seen {
		d.Metadata.Generation = 2
	}
	return d
}

// somePods are written NODE PHASE, with "old" before them those of an earlier pass, and with
// "going" those that are deleted.
func somePods(lines ...string) (all []pod) {
	for _, line := range lines {
		var p pod
		p.Metadata.Annotations = map[string]string{runAnnotation: "now"}
		words := strings.Fields(line)
		switch words[0] {
		case "old":
			p.Metadata.Annotations, words = nil, words[1:]
		case "going":
			p.Metadata.DeletionTimestamp, words = "2026-01-01T00:00:00Z", words[1:]
		}
		p.Spec.NodeName, p.Status.Phase = words[0], words[1]
		p.Metadata.Name = "on-" + words[0]
		all = append(all, p)
	}
	return all
}

// What to do next while every node is to be done.
func TestAPassIsJudgedByItsPods(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		now   sight
		say   string
		done  bool
		err   string
		waits []string
	}{
		"the controller has not seen it":      {now: sight{set: aSet(0, false)}},
		"no node":                             {now: sight{set: aSet(0, true)}, say: "0 of 0 nodes done", done: true},
		"no pod yet":                          {now: sight{set: aSet(2, true)}, say: "0 of 2 nodes done"},
		"one of two":                          {now: sight{set: aSet(2, true), pods: somePods("a Running", "b Pending")}, say: "1 of 2 nodes done", waits: []string{"on-b"}},
		"all":                                 {now: sight{set: aSet(1, true), pods: somePods("a Running")}, say: "1 of 1 node done", done: true},
		"of an earlier pass":                  {now: sight{set: aSet(1, true), pods: somePods("old a Running")}, say: "0 of 1 node done", waits: []string{"on-a"}},
		"an earlier pass's beside this one's": {now: sight{set: aSet(1, true), pods: somePods("old a Running", "a Running")}, say: "1 of 1 node done", done: true},
		"one that is deleted":                 {now: sight{set: aSet(1, true), pods: somePods("going a Running")}, say: "0 of 1 node done", waits: []string{"on-a"}},
		"one whose node went":                 {now: sight{set: aSet(1, true), pods: somePods("gone Running", "b Pending")}, say: "1 of 1 node done", waits: []string{"on-b"}},
		"away":                                {now: sight{err: kubeapi.ErrUnreachable}},
		"somebody deleted it":                 {now: sight{err: kubeapi.ErrNotFound}, err: "somebody deleted it before every node was done"},
		"it may not be read":                  {now: sight{err: kubeapi.ErrForbidden}, err: kubeapi.ErrForbidden.Error()},
	} {
		s := step{set: own, run: "now"}
		next := s.judge(c.now)
		if next.say != c.say || next.done != c.done || (next.err == nil) != (c.err == "") || next.err != nil && !strings.Contains(next.err.Error(), c.err) {
			t.Errorf("%s: %+v", name, next)
		}
		var waits []string
		for _, p := range s.progress(c.now).waits() {
			waits = append(waits, p.Metadata.Name)
		}
		if diff := cmp.Diff(c.waits, waits); diff != "" {
			t.Errorf("%s: waited for are %s", name, diff)
		}
	}
}

// What to do next while a DaemonSet is to go.
func TestADeletionIsDoneWhenTheDaemonSetsPodsAreGone(t *testing.T) {
	t.Parallel()
	owned := somePods("a Running")
	owned[0].Metadata.OwnerReferences = []struct{ Kind, Name string }{{"DaemonSet", "agents"}}
	s := step{set: kubeapi.Key{Namespace: "sluice-system", Name: "agents"}}
	for name, c := range map[string]struct {
		now  sight
		done bool
	}{
		"none":            {sight{}, true},
		"one":             {sight{pods: owned}, false},
		"somebody else's": {sight{pods: somePods("a Running")}, true},
		"nobody can tell": {sight{err: kubeapi.ErrUnreachable}, false},
		"may not be read": {sight{err: kubeapi.ErrForbidden}, false},
		"half a list":     {sight{err: errors.New("unexpected EOF")}, false},
	} {
		if next := s.judge(c.now); next.done != c.done || next.err != nil || next.say != "" {
			t.Errorf("%s: %+v", name, next)
		}
	}
}
