package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/kubeapi"
)

// Uninstall takes sluice out of all nodes.
type Uninstall struct {
	Cluster *kubeapi.Cluster
	Set     *Manifest
	// Agents are the DaemonSets of agents, installers and holders, in the manifest's namespace
	// and in the order in which they go.
	Agents []string
	// Released has nothing done where Agents are of no release (ErrNotReleased).
	Released bool
	Say      func(text string) // what was done, and how far it is
	Wait     time.Duration     // how long all of it may take
	every    time.Duration     // 0: askEvery
}

// askEvery is how often it is asked which nodes are done.
const askEvery = 2 * time.Second

// ErrUnfinished: the time is over. The DaemonSet stays, and goes on with nodes that come back.
var ErrUnfinished = errors.New("not every node is done")

// Run does what steps says, until all is done or ctx or the time is over.
func (u Uninstall) Run(ctx context.Context) error {
	u.every = cmp.Or(u.every, askEvery)
	waiting, cancel := context.WithTimeout(ctx, u.Wait)
	defer cancel()
	if u.Released {
		if err := u.released(waiting); err != nil {
			return err
		}
	}
	for _, s := range steps(u.Set.Key(), u.Agents, rand.Text) {
		err := u.step(waiting, s)
		if errors.Is(err, ErrUnfinished) {
			err = errors.Join(err, ctx.Err())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// step does one, and waits until it is done.
func (u Uninstall) step(ctx context.Context, s step) error {
	most := cmp.Or(s.most, u.Wait)
	trying, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	pods, err := u.begin(trying, s)
	if err == nil {
		err = u.await(trying, s, pods, most)
	}
	if err != nil && s.most > 0 && trying.Err() != nil && ctx.Err() == nil {
		u.Say(err.Error())
		return nil
	}
	return err
}

// begin makes or deletes the DaemonSet, and selects its pods, also those of one that somebody
// deleted before.
func (u Uninstall) begin(ctx context.Context, s step) (pods kubeapi.Selector, err error) {
	if s.deletes() {
		pods = kubeapi.Selector{Namespace: s.set.Namespace}
		err = u.insist(ctx, func() error {
			set, err := u.get(ctx, s.set)
			if err != nil {
				return err
			}
			pods = set.pods()
			return u.Cluster.Delete(ctx, kubeapi.DaemonSets, s.set)
		})
		switch {
		case err == nil:
			u.Say(fmt.Sprintf("DaemonSet %s deleted", s.set))
		case errors.Is(err, kubeapi.ErrNotFound):
			err = nil
		}
		return pods, err
	}
	text, err := u.Set.of(s.run)
	if err != nil {
		return pods, err
	}
	var done string
	err = u.insist(ctx, func() (err error) {
		done, _, err = u.Cluster.Apply(ctx, kubeapi.DaemonSets, text)
		return err
	})
	if err == nil {
		u.Say(fmt.Sprintf("DaemonSet %s %s", s.set, done))
	}
	return u.Set.set.pods(), err
}

// insist asks again while the API server is away, and says so once.
func (u Uninstall) insist(ctx context.Context, ask func() error) error {
	tick := time.NewTicker(u.every)
	defer tick.Stop()
	for said := false; ; said = true {
		err := ask()
		if !errors.Is(err, kubeapi.ErrUnreachable) {
			return err
		}
		if !said {
			u.Say(err.Error())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// await waits until a step is done, for at most so long.
func (u Uninstall) await(ctx context.Context, s step, pods kubeapi.Selector, most time.Duration) error {
	tick := time.NewTicker(u.every)
	defer tick.Stop()
	for said := ""; ; {
		now := u.look(ctx, s, pods)
		next := s.judge(now)
		if next.say != "" && next.say != said {
			u.Say(next.say)
			said = next.say
		}
		if next.done || next.err != nil {
			return next.err
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		if !s.deletes() {
			return u.unfinished(context.WithoutCancel(ctx), s, pods)
		}
		return fmt.Errorf("DaemonSet %s: deleted, and after %v %d of its pods not gone: %w", s.set, most, len(s.left(now)), cmp.Or(now.err, context.Cause(ctx)))
	}
}

// look sees what a step is judged by.
func (u Uninstall) look(ctx context.Context, s step, pods kubeapi.Selector) (now sight) {
	if !s.deletes() {
		if now.set, now.err = u.get(ctx, s.set); now.err != nil {
			return now
		}
	}
	objects, err := u.Cluster.List(ctx, kubeapi.Pods, pods)
	if err == nil {
		now.pods, err = read[pod](objects)
	}
	now.err = err
	return now
}

func (u Uninstall) get(ctx context.Context, key kubeapi.Key) (set daemonSet, err error) {
	o, err := u.Cluster.Get(ctx, kubeapi.DaemonSets, key)
	if err == nil {
		err = json.Unmarshal(o.JSON, &set)
	}
	return set, err
}

// unfinished says which nodes are not done.
func (u Uninstall) unfinished(ctx context.Context, s step, pods kubeapi.Selector) error {
	ctx, cancel := context.WithTimeout(ctx, u.every+5*time.Second)
	defer cancel()
	now := u.look(ctx, s, pods)
	if now.err != nil {
		return fmt.Errorf("DaemonSet %s: %w after %v, as far as is known: %w", s.set, ErrUnfinished, u.Wait, now.err)
	}
	p, left := s.progress(now), ""
	for _, pod := range p.waits() {
		left += fmt.Sprintf("\n  node %s%s: pod %s is %s", pod.Spec.NodeName, u.nodeAway(ctx, pod.Spec.NodeName), pod.Metadata.Name, pod.Status.Phase)
	}
	if !p.allMade() {
		if text := u.notMade(ctx, s.set); text != "" {
			left += "\n  not every node has a pod: " + text
		}
	}
	return fmt.Errorf("DaemonSet %s: %w after %v%s", s.set, ErrUnfinished, u.Wait, left)
}

// nodeAway says that a node is not there, in the words of its taints; "" when it is, or
// nobody says.
func (u Uninstall) nodeAway(ctx context.Context, name string) string {
	o, err := u.Cluster.Get(ctx, kubeapi.Nodes, kubeapi.Key{Name: name})
	var node struct {
		Spec struct{ Taints []struct{ Key string } }
	}
	switch {
	case errors.Is(err, kubeapi.ErrNotFound):
		return " (deleted)"
	case err != nil || json.Unmarshal(o.JSON, &node) != nil:
		return ""
	}
	for _, taint := range node.Spec.Taints {
		if what, is := strings.CutPrefix(taint.Key, "node.kubernetes.io/"); is && (what == "not-ready" || what == "unreachable") {
			return " (" + what + ")"
		}
	}
	return ""
}

// notMade is the last reason why the controller could not make a pod, "" when it gives
// none: a quota, say, or Pod Security.
func (u Uninstall) notMade(ctx context.Context, set kubeapi.Key) string {
	events, err := u.Cluster.List(ctx, kubeapi.Events, kubeapi.Selector{Namespace: set.Namespace,
		Fields: "involvedObject.kind=DaemonSet,involvedObject.name=" + set.Name + ",reason=FailedCreate"})
	if err != nil {
		return ""
	}
	var last struct{ LastTimestamp, Message string }
	for _, o := range events {
		e := last
		if json.Unmarshal(o.JSON, &e) == nil && e.LastTimestamp >= last.LastTimestamp {
			last = e
		}
	}
	return last.Message
}
