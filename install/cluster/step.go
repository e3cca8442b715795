package cluster

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluice-cni/sluice/kubeapi"
)

// step is one thing that an uninstall does, and then waits for.
type step struct {
	set  kubeapi.Key   // the DaemonSet that it is about
	run  string        // it is made anew, with pods of this pass; "": it is deleted
	most time.Duration // how long that may take before the uninstall is over without; 0: as long as there is
}

func (s step) deletes() bool { return s.run == "" }

// steps have every node do it, and delete agents, installers and holders, in their order. On
// a node that came meanwhile, and where one of them started anew, sluice may have begun again;
// nobody can any more, so each node does it once more. Then what the uninstall made goes, whose
// pods remove what those have left on their nodes. One whose node went away meanwhile does not
// end, and is done all the same.
func steps(own kubeapi.Key, agents []string, newRun func() string) []step {
	all := []step{{set: own, run: newRun()}}
	for _, name := range agents {
		all = append(all, step{set: kubeapi.Key{Namespace: own.Namespace, Name: name}})
	}
	return append(all, step{set: own, run: newRun()}, step{set: own, most: endWithin})
}

// endWithin is how long pods that are to end at once may take for it.
const endWithin = 30 * time.Second

// sight is what is there of a step's DaemonSet, or why that is not known.
type sight struct {
	set  daemonSet // where it is to be made
	pods []pod
	err  error
}

// next is what to do by what is seen.
type next struct {
	say  string // how far it is; "": not known
	done bool
	err  error // it will never be done
}

// judge says whether a step is done. An API server that is away is asked again.
func (s step) judge(now sight) next {
	if s.deletes() {
		return next{done: now.err == nil && len(s.left(now)) == 0}
	}
	switch {
	case errors.Is(now.err, kubeapi.ErrNotFound):
		return next{err: fmt.Errorf("DaemonSet %s: somebody deleted it before every node was done", s.set)}
	case errors.Is(now.err, kubeapi.ErrForbidden):
		return next{err: now.err}
	case now.err != nil || !now.set.seen():
		return next{}
	}
	p := s.progress(now)
	return next{say: fmt.Sprintf("%d of %s done", len(p.done), nodes(p.nodes)), done: p.all()}
}

// left are the pods that are there still of a DaemonSet that was deleted.
func (s step) left(now sight) []pod {
	return slices.DeleteFunc(slices.Clone(now.pods), func(p pod) bool { return !p.of(s.set.Name) })
}

// runAnnotation is on the pods of a pass, with a value of that pass's own. What begins with
// sluice.dev/ is for people, and the chart's admission policy refuses what it does not know.
const runAnnotation = "uninstall.sluice.dev/run"

// progress is how far a pass is.
type progress struct {
	nodes int // on which the DaemonSet wants a pod
	done  map[string]bool
	rest  []pod // that say nothing of their node
}

// progress tells the pods of this pass from others. One that runs has done what it is for, in
// its init container; it says so still when its node has died since, which readiness does not.
func (s step) progress(now sight) progress {
	p := progress{nodes: now.set.Status.DesiredNumberScheduled, done: map[string]bool{}}
	for _, one := range now.pods {
		switch {
		case one.Metadata.DeletionTimestamp != "" || one.Metadata.Annotations[runAnnotation] != s.run:
			one.Status.Phase = "of an earlier pass"
			p.rest = append(p.rest, one)
		case one.Status.Phase == "Running":
			p.done[one.Spec.NodeName] = true
		default:
			p.rest = append(p.rest, one)
		}
	}
	return p
}

// waits are the pods of nodes that are not done.
func (p progress) waits() []pod {
	return slices.DeleteFunc(slices.Clone(p.rest), func(one pod) bool { return p.done[one.Spec.NodeName] })
}

// all: every node is done. A node that went when it was done still has its pod for a while,
// which is no other's.
func (p progress) all() bool { return len(p.done) >= p.nodes && len(p.waits()) == 0 }

// allMade: every node has a pod, be it an earlier pass's.
func (p progress) allMade() bool { return len(p.done)+len(p.rest) >= p.nodes }
