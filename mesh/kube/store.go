// Package kube has the mesh resources and Services of a cluster in force: Store is told
// of them by a kubeapi.Feed and makes every change a new mesh.Snapshot. It is to a
// cluster what mesh/file is to a directory.
//
//	feed := cluster.Feed(kubeapi.FollowOptions{Journal: dir})
//	store := kube.New(feed, kube.Options{})
//	store.SubscribeWithErrors(server.Update)
//	go feed.Run(ctx)
//	err = store.Run(ctx)
package kube

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/inforce"
)

// Options say how a cluster is read.
type Options struct {
	mesh.Options
	// ClusterDomain is that of mesh.Options, where this is not "".
	ClusterDomain string
	// Files says why a file that a resource names is not read, nil where it is; nil: each
	// is. It is for saying so: the resource is in force, and what needs the file fails.
	Files func(field, path string) error
	// Log receives what is wrong with an object, once per change; nil: slog.Default().
	Log *slog.Logger
	// Said is called with what there is to say about an object, for Events: when it came
	// or changed, and when the others around it give reason. It must not wait.
	Said func(Verdict)
}

// Verdict is what became of an object.
type Verdict struct {
	Kind       kubeapi.Kind
	Key        kubeapi.Key
	UID        string
	Generation int64
	Issues     mesh.Issues // never empty
	KeptLast   bool        // it is refused, and what it was before is in force
}

// id is an object of the cluster.
type id struct {
	kind kubeapi.Kind
	key  kubeapi.Key
}

// object is one that is there.
type object struct {
	good       *mesh.Resource // in force; nil: nothing of it is
	uid        string
	generation int64
}

// Store is a cluster in force. The unit of acceptance is the object: one with an error
// keeps what it was last, over restarts too where the Feed has a journal.
//
// There is no Snapshot, and no subscriber is called, until the Feed has told all there is
// of every kind: half of a cluster's resources would cut off what the other half lets
// through.
type Store struct {
	state
	feed *kubeapi.Feed
	opts Options
	log  *slog.Logger

	reassign chan struct{} // has room for one
	changed  chan struct{} // has room for one

	work     sync.Mutex // who changes the index; taken before mu
	index    *mesh.Index
	objects  map[id]*object
	services services
	waiting  map[kubeapi.Kind]bool // not complete yet

	mu         sync.Mutex         // taken before that of state, whose errors are those of said and unfollowed
	said       map[id]mesh.Issues // about each object that there is something to say about
	unfollowed map[kubeapi.Kind]mesh.Issue
	together   map[id]mesh.Issues // what the resources mean together, by the last check
	reviewed   uint64             // the generation of which together is
}

type state = inforce.State

// New makes a Store and has the Feed tell it of what it needs.
func New(f *kubeapi.Feed, o Options) *Store {
	o.Options.ClusterDomain = cmp.Or(o.ClusterDomain, o.Options.ClusterDomain)
	o.ClusterDomain = o.Options.ClusterDomain
	s := &Store{
		feed: f, opts: o, log: cmp.Or(o.Log, slog.Default()), index: mesh.NewIndex(o.Options),
		reassign: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		objects: map[id]*object{}, services: newServices(), waiting: map[kubeapi.Kind]bool{},
		said: map[id]mesh.Issues{}, unfollowed: map[kubeapi.Kind]mesh.Issue{}, together: map[id]mesh.Issues{},
	}
	for _, k := range kinds {
		s.follow(k, kubeapi.Selector{}, s.resources)
	}
	s.follow(kubeapi.Services, kubeapi.Selector{}, s.serviceChange)
	// The endpoint slice controller labels the slices of headless Services; those of
	// others are none of a node's business.
	s.follow(kubeapi.EndpointSlices, kubeapi.Selector{Labels: "service.kubernetes.io/headless"}, s.sliceChange)
	return s
}

// change is what a Delta does to what is in force.
type change struct {
	removed  []*mesh.Resource
	added    []mesh.Place
	verdicts []verdict
}

// verdict is what there is to say of an object now, perhaps nothing.
type verdict struct {
	id
	issues mesh.Issues
	kept   bool
}

// follow has the Feed tell of a kind, and puts in force what that changes.
func (s *Store) follow(k kubeapi.Kind, selector kubeapi.Selector, change func(kubeapi.Delta) change) {
	s.waiting[k] = true
	s.feed.Follow(k, selector, func(d kubeapi.Delta) {
		s.work.Lock()
		c := change(d)
		if d.Complete {
			delete(s.waiting, k)
		}
		first := s.Snapshot() == nil
		if len(c.removed)+len(c.added) > 0 {
			s.index.Change(c.removed, c.added)
		}
		var tell []Verdict
		for _, v := range c.verdicts {
			if o := s.objects[v.id]; o != nil && len(v.issues) > 0 {
				tell = append(tell, Verdict{v.kind, v.key, o.uid, o.generation, v.issues, v.kept})
			}
		}
		s.mu.Lock()
		errors := s.sayUnfollowed(k, d.Err)
		for _, v := range c.verdicts {
			errors += s.say(v.id, v.issues)
		}
		inforce.CountErrors(&s.state, errors)
		if len(s.waiting) == 0 && (first || len(c.removed)+len(c.added) > 0 || errors != 0) {
			s.publish(s.index.Snapshot())
		}
		s.mu.Unlock()
		s.work.Unlock()
		s.tell(tell)
	})
}

func (s *Store) tell(verdicts []Verdict) {
	if s.opts.Said != nil {
		for _, v := range verdicts {
			s.opts.Said(v)
		}
	}
}

// publish tells everybody of a snapshot. The caller holds s.work and s.mu.
func (s *Store) publish(snapshot *mesh.Snapshot) {
	inforce.Publish(&s.state, snapshot)
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Waiting lists the kinds of which not all is known yet, and which hold the first
// Snapshot back.
func (s *Store) Waiting() (kinds []kubeapi.Kind) {
	s.work.Lock()
	defer s.work.Unlock()
	for k := range s.waiting {
		kinds = append(kinds, k)
	}
	slices.SortFunc(kinds, func(a, b kubeapi.Kind) int { return cmp.Compare(a.String(), b.String()) })
	return kinds
}

// Reassign has Run ask Options.Virtual again, which gives hosts other addresses than
// before (ledger.OpenWaiting), and put in force what it says. It does not wait.
func (s *Store) Reassign() {
	select {
	case s.reassign <- struct{}{}:
	default:
	}
}

// Run looks at the resources together after they have changed, and does what Reassign
// asks for, until ctx ends. Changes come by the Feed, which runs for itself.
func (s *Store) Run(ctx context.Context) error {
	checks := newPace()
	defer checks.timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.reassign:
			s.assignAgain()
		case <-s.changed:
			checks.want()
		case <-checks.timer.C:
			checks.do(s.check)
		}
	}
}

func (s *Store) assignAgain() {
	s.work.Lock()
	defer s.work.Unlock()
	if snapshot, moved := s.index.Reassign(); moved && len(s.waiting) == 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.publish(snapshot)
	}
}
