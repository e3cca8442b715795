package kubeapi

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Delta is what changed of a kind since the last one. The first has all there is, out of
// the journal or the server's list. Objects go by their Key.
type Delta struct {
	Kind    Kind
	Changed []Object // in the order of their keys
	Gone    []Key
	// Complete says that all there is has been told by now: the server's list has come,
	// or there was a journal. Where there is none, a kind that the server does not have
	// (ErrMissing) is complete and empty, and so is one that it does not show
	// (ErrForbidden) once it has refused for a while.
	Complete bool
	// Err is why the kind is not followed at present; nil: it is. What was told before
	// stands.
	Err error
}

// FollowOptions say how a Feed works.
type FollowOptions struct {
	// Journal is a directory in which the last known objects are kept over restarts; ""
	// keeps nothing. Feeds of processes that follow one another may share it: one at a
	// time writes. Pods, Secrets and Events are never kept.
	Journal string
	// Refused is how long the server must have refused a kind, in three answers at least,
	// before that counts as empty; 0: 30 s. One that starts refuses what it will allow,
	// until it has read its rules (RBAC).
	Refused time.Duration
	// Missing is how long the server must not have had a kind before what was known of it
	// is taken for gone, as those who saw its objects deleted took it at once; 0: a day. A
	// definition that is deleted by mistake may come back until then.
	Missing time.Duration
	Log     *slog.Logger // nil: slog.Default()
}

const (
	refusedFor   = 30 * time.Second
	refusedTimes = 3
	missingFor   = 24 * time.Hour
)

// coalesce is how long changes gather after some were told: those of a quiet time are
// told at once, a storm's twenty times a second.
const coalesce = 50 * time.Millisecond

// Feed follows kinds of objects. What it holds of them itself is a sum of each.
type Feed struct {
	c       *Cluster
	log     *slog.Logger
	journal string
	refused time.Duration
	missing time.Duration
	follows []*follow
	wake    chan struct{} // has room for one

	mu   sync.Mutex // also of what follows hold
	away struct {
		since time.Time
		err   error
	}
}

// Feed makes a Feed that follows nothing yet.
func (c *Cluster) Feed(o FollowOptions) *Feed {
	return &Feed{
		c: c, log: cmp.Or(o.Log, slog.Default()), journal: o.Journal, wake: make(chan struct{}, 1),
		refused: cmp.Or(o.Refused, refusedFor), missing: cmp.Or(o.Missing, missingFor),
	}
}

// Follow has update called with what there is of a kind and what changes. It must be
// called before Run. Run calls update with one Delta at a time, of all kinds, never two
// at once; what comes while it works is in the next. Two who follow the same share one
// watch.
func (f *Feed) Follow(k Kind, s Selector, update func(Delta)) {
	for _, w := range f.follows {
		if w.kind == k && w.selector == s {
			w.updates = append(w.updates, update)
			return
		}
	}
	f.follows = append(f.follows, &follow{
		feed: f, kind: k, selector: s, updates: []func(Delta){update},
		known: map[Key]uint64{}, changed: map[Key]*Object{}, keep: map[Key]bool{}, kept: map[Key]bool{},
	})
}

// Keep has the journal go on with what it has of an object, and not with what just came,
// or that it is gone: who cannot use that keeps what was good over a restart. It is for an
// update to call, about what it is being told.
func (f *Feed) Keep(k Kind, key Key) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.follows {
		if w.kind == k && w.telling {
			w.keep[key] = true
		}
	}
}

// Away says since when the API server has not answered, and the last error; the zero
// time: it answers. A server that vanishes without closing its connections is noticed
// after 45 s.
func (f *Feed) Away() (since time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.away.since, f.away.err
}

// Run tells what the journals hold, if they can be read, follows the server until ctx ends, and returns its
// error. A server that is away, or refuses, is no reason to end: what was told stands,
// and it is asked again, after a second at first and each 15 to 30 s in the end.
func (f *Feed) Run(ctx context.Context) error {
	keeper, err := f.replay()
	if err != nil { // without a memory it follows all the same
		f.log.Error("what is known of the cluster cannot be kept; a restart while the API server is away would go without it", "directory", f.journal, "error", err)
	}
	f.deliver()
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, w := range f.follows {
		all.Go(func() { w.run(ctx) })
	}
	if keeper != nil { // it keeps what is told last, too
		keeping, end := context.WithCancel(context.WithoutCancel(ctx))
		defer end()
		all.Go(func() { keeper.run(keeping) })
	}
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.wake:
		}
		f.deliver()
		pause.Reset(coalesce)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-pause.C:
		}
	}
}

// rouse has Run look at what there is to tell.
func (f *Feed) rouse() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// deliver tells what is to be told, kind by kind.
func (f *Feed) deliver() {
	for _, w := range f.follows {
		f.mu.Lock()
		d, any := w.take()
		f.mu.Unlock()
		if !any {
			continue
		}
		for _, update := range w.updates {
			update(d)
		}
		f.mu.Lock()
		w.told(d)
		f.mu.Unlock()
	}
}

// take gives what is to be told, and begins anew. The caller holds f.mu.
func (w *follow) take() (Delta, bool) {
	if !w.dirty {
		return Delta{}, false
	}
	d := Delta{Kind: w.kind, Complete: w.complete, Err: w.err}
	for _, key := range slices.SortedFunc(maps.Keys(w.changed), compareKeys) {
		if o := w.changed[key]; o != nil {
			d.Changed = append(d.Changed, *o)
		} else {
			d.Gone = append(d.Gone, key)
		}
	}
	w.changed, w.dirty, w.telling = map[Key]*Object{}, false, true
	w.tellingAll, w.listed = w.listed, false
	return d, true
}

// told has the journal hold what was told, but what an update wants kept as it was. The
// caller holds f.mu.
func (w *follow) told(d Delta) {
	if j := w.journal; j != nil {
		if w.tellingAll {
			j.pending, j.whole = map[Key][]byte{}, true
		}
		for _, o := range d.Changed {
			delete(w.kept, o.Key)
			if !o.Remembered && !w.keep[o.Key] {
				j.put(o.Key, o.JSON)
			}
		}
		for _, key := range d.Gone {
			if w.keep[key] {
				w.kept[key] = true
			} else {
				j.put(key, nil)
			}
		}
		j.due = j.due || w.toKeep() && !j.there
	}
	clear(w.keep)
	w.telling, w.tellingAll = false, false
}

// toKeep says that what is known is all there is, and not only all that is shown. The
// caller holds Feed.mu.
func (w *follow) toKeep() bool { return w.complete && w.refusals == 0 }

func compareKeys(a, b Key) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

// reached notes that the server answered, whatever.
func (f *Feed) reached() {
	f.mu.Lock()
	since := f.away.since
	f.away.since, f.away.err = time.Time{}, nil
	f.mu.Unlock()
	if !since.IsZero() {
		f.log.Info("the API server answers again", "server", f.c.name, "after", time.Since(since).Round(time.Millisecond))
	}
}

// unreached notes that it did not.
func (f *Feed) unreached(err error) {
	f.mu.Lock()
	first := f.away.since.IsZero()
	if first {
		f.away.since = time.Now()
	}
	f.away.err = err
	f.mu.Unlock()
	if first {
		f.log.Warn("the API server does not answer; what was last known of the cluster stays in force", "server", f.c.name, "error", err)
	}
}

// failed notes why a kind is not followed at present, and says it when it is news.
func (f *Feed) failed(w *follow, err error) {
	away := errors.Is(err, ErrUnreachable)
	if away {
		f.unreached(err)
	} else {
		f.reached()
	}
	f.mu.Lock()
	news := w.err == nil || w.err.Error() != err.Error()
	if w.err == nil || !away { // that it is away says less than what was said before
		w.err, w.dirty = err, w.dirty || news
	}
	if refused := errors.Is(err, ErrForbidden); !refused {
		w.refusals = 0
	} else if w.refusals++; w.refusals == 1 {
		w.refusedAt = time.Now()
	}
	stands := w.refusals >= refusedTimes && time.Since(w.refusedAt) >= f.refused
	if !w.complete && (errors.Is(err, ErrMissing) || stands) {
		w.complete, w.dirty = true, true
	}
	if !away {
		w.missed(errors.Is(err, ErrMissing))
	}
	f.mu.Unlock()
	if news && !away {
		f.log.Warn("a kind of objects cannot be followed; what was last known of it stays in force", "kind", w.kind.String(), "error", err)
	}
	f.rouse()
}

// missed notes whether the server has the kind, and takes what is known of it for gone when
// that has long not been so. Those of the core group each server has: whoever says otherwise
// is none. The caller holds Feed.mu.
func (w *follow) missed(missing bool) {
	switch {
	case !missing || w.kind.Group == "":
		w.missingAt = time.Time{}
	case w.missingAt.IsZero():
		w.missingAt = time.Now()
	case len(w.known) > 0 && time.Since(w.missingAt) >= w.feed.missing:
		w.feed.log.Warn("the API server has long not had a kind of objects; what was known of it is out of force", "kind", w.kind.String(), "objects", len(w.known))
		for key := range w.known {
			w.remove(key)
		}
	}
}

// followed notes that a kind is.
func (f *Feed) followed(w *follow) {
	f.reached()
	f.mu.Lock()
	before := w.err
	if w.err = nil; before != nil {
		w.dirty = true
	}
	f.mu.Unlock()
	if before != nil {
		w.regained(before)
		f.rouse()
	}
}

// regained says that what could not be followed is.
func (w *follow) regained(before error) {
	if before != nil && !errors.Is(before, ErrUnreachable) {
		w.feed.log.Info("a kind of objects is followed", "kind", w.kind.String())
	}
}
