package kubeapi

import (
	"context"
	"hash/maphash"
	"math"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// follow is one kind that is followed: the store that client-go's Reflector fills, and
// the requests that it makes. The Reflector knows how to list and watch (bookmarks,
// streamed lists, versions that ran out, pauses); of objects only their sums stay here.
type follow struct {
	feed     *Feed
	kind     Kind
	selector Selector
	updates  []func(Delta)
	version  int // of kind.versions: only the Reflector's requests touch it

	// Feed.mu guards these.
	known    map[Key]uint64  // the sum of what came last
	changed  map[Key]*Object // to be told; nil: gone
	listed   bool            // changed has all there is, for the journal
	telling  bool            // a Delta
	keep     map[Key]bool    // of what it has, the journal holds what it held
	kept     map[Key]bool    // gone, and in the journal all the same
	complete bool
	err      error
	dirty    bool // there is something to tell
	journal  *journal
	// How often the server has refused since it answered otherwise, and since when.
	refusals  int
	refusedAt time.Time
	missingAt time.Time // since when the server has not had the kind

	tellingAll bool   // a Delta with all there is
	wantAll    bool   // the next list is to be told whole
	restart    func() // has the Reflector begin anew, with a list
}

// again is how a server is asked again that does not answer, or refuses: after about a
// second, later each 15 to 30 s. A thousand agents are then sixty requests a second.
func again() *wait.Backoff {
	return &wait.Backoff{Duration: 800 * time.Millisecond, Factor: 2, Jitter: 1, Steps: math.MaxInt32, Cap: 15 * time.Second}
}

// run follows until ctx ends.
func (w *follow) run(ctx context.Context) {
	for ctx.Err() == nil {
		life, end := context.WithCancel(ctx)
		w.feed.mu.Lock()
		w.restart = end
		w.feed.mu.Unlock()
		w.reflect(life)
		end()
	}
}

// listAgain has all there is asked for, and told, once more. The caller holds Feed.mu.
func (w *follow) listAgain() {
	if !w.wantAll && w.restart != nil {
		w.wantAll = true
		w.restart()
	}
}

func (w *follow) reflect(ctx context.Context) {
	// What the Reflector would log is said in requests, once per change.
	ctx = klog.NewContext(ctx, logr.Discard())
	ask := requests{w}
	r := cache.NewReflectorWithOptions(&cache.ListWatch{ListWithContextFunc: ask.list, WatchFuncWithContext: ask.watch}, nil, w, cache.ReflectorOptions{
		Name: w.kind.String(), TypeDescription: w.kind.String(), Clock: untilDone{clock.RealClock{}, ctx}, Backoff: again(),
	})
	r.RunWithContext(ctx)
}

// untilDone is a clock whose waits end with ctx: the Reflector waits for a refused
// connection without looking at it.
type untilDone struct {
	clock.RealClock
	ctx context.Context
}

func (u untilDone) After(d time.Duration) <-chan time.Time {
	c := make(chan time.Time, 1)
	ctx, cancel := context.WithTimeout(u.ctx, d)
	context.AfterFunc(ctx, func() {
		cancel()
		c <- time.Now()
	})
	return c
}

// item is an object as the Reflector sees it: enough of it to go by.
type item struct {
	metav1.TypeMeta
	metav1.ObjectMeta
	object Object
}

// DeepCopyObject is runtime.Object's; objects are never changed.
func (i *item) DeepCopyObject() runtime.Object { c := *i; return &c }

// items is a list of them.
type items struct {
	metav1.TypeMeta
	metav1.ListMeta
	Items []runtime.Object
}

// DeepCopyObject is runtime.Object's.
func (i *items) DeepCopyObject() runtime.Object { c := *i; return &c }

// item makes one of what came. An object that cannot be read is none.
func (w *follow) item(u *unstructured.Unstructured) *item {
	i := &item{ObjectMeta: metav1.ObjectMeta{
		Namespace: u.GetNamespace(), Name: u.GetName(), ResourceVersion: u.GetResourceVersion(), Annotations: u.GetAnnotations(),
	}}
	if i.Name == "" {
		return i // a bookmark
	}
	o, err := leanObject(w.kind, u.Object)
	if err != nil {
		w.feed.log.Warn("an object of the API server cannot be read; it is left out", "kind", w.kind.String(), "object", Key{i.Namespace, i.Name}.String(), "error", err)
		i.Name = ""
		return i
	}
	i.object, i.Annotations = o, nil
	return i
}

// requests are what a Reflector asks the server for a follow.
type requests struct{ w *follow }

// list asks for all, in the newest version that the server has.
func (r requests) list(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	w := r.w
	o.FieldSelector, o.LabelSelector = w.selector.Fields, w.selector.Labels
	versions := w.kind.versions()
	for range versions {
		out := &items{}
		meta, err := w.feed.c.stream(ctx, w.kind, versions[w.version], w.selector.Namespace, o, func(u *unstructured.Unstructured) {
			out.Items = append(out.Items, w.item(u))
		})
		if apierrors.IsNotFound(err) {
			w.version = (w.version + 1) % len(versions)
			continue
		}
		if err != nil {
			r.failed(ctx, err, "list")
			return nil, err
		}
		out.ListMeta = meta
		return out, nil
	}
	err := apierrors.NewNotFound(schema.GroupResource{Group: w.kind.Group, Resource: w.kind.Resource}, "")
	r.failed(ctx, err, "list")
	return nil, err
}

// watch asks for changes.
func (r requests) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	w := r.w
	o.FieldSelector, o.LabelSelector = w.selector.Fields, w.selector.Labels
	in, err := w.feed.c.resource(w.kind.versions()[w.version], w.selector.Namespace).Watch(ctx, o)
	switch {
	case err == nil:
		if w.feed.reached(); o.SendInitialEvents == nil { // else what there is has yet to come
			w.feed.followed(w)
		}
		return watch.Filter(in, w.event), nil
	case o.SendInitialEvents != nil && !apierrors.IsForbidden(err) && isStatus(err):
		// It has no streamed lists, or not this version: a list says what is the matter.
	case apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.IsTooManyRequests(err):
		// What watches meet; a list, or the same again, follows.
	default:
		r.failed(ctx, err, "watch")
	}
	return nil, err
}

func isStatus(err error) bool {
	_, ok := err.(apierrors.APIStatus)
	return ok
}

func (r requests) failed(ctx context.Context, err error, verb string) {
	if ctx.Err() == nil {
		r.w.feed.failed(r.w, r.w.feed.c.explain(err, verb, r.w.kind, Key{Namespace: r.w.selector.Namespace}))
	}
}

// event makes an item of an event's object; errors stay what they are.
func (w *follow) event(e watch.Event) (watch.Event, bool) {
	if u, ok := e.Object.(*unstructured.Unstructured); ok && e.Type != watch.Error {
		e.Object = w.item(u)
	}
	return e, true
}

var seed = maphash.MakeSeed()

// put notes an object that is there. The caller holds Feed.mu.
func (w *follow) put(o Object, version string) {
	sum := maphash.Bytes(seed, o.JSON)
	if w.kind == Pods { // whatever changes of one may be that its sandbox has come up
		sum ^= maphash.String(seed, version)
	}
	if before, there := w.known[o.Key]; there && before == sum {
		return // what changed of it was nothing of ours
	}
	w.known[o.Key], w.changed[o.Key], w.dirty = sum, &o, true
}

// remove notes one that is gone. The caller holds Feed.mu.
func (w *follow) remove(key Key) {
	if _, there := w.known[key]; there {
		delete(w.known, key)
		w.changed[key], w.dirty = nil, true
	}
}

// Add is the Reflector's word of a new object.
func (w *follow) Add(obj any) error { return w.Update(obj) }

// Update is its word of a changed one.
func (w *follow) Update(obj any) error {
	if i, ok := obj.(*item); ok && i.Name != "" {
		w.feed.mu.Lock()
		w.put(i.object, i.ResourceVersion)
		w.feed.mu.Unlock()
		w.feed.rouse()
	}
	return nil
}

// Delete is its word of one that is gone.
func (w *follow) Delete(obj any) error {
	if i, ok := obj.(*item); ok && i.Name != "" {
		w.feed.mu.Lock()
		w.remove(i.object.Key)
		w.feed.mu.Unlock()
		w.feed.rouse()
	}
	return nil
}

// Replace is its word of all there is.
func (w *follow) Replace(list []any, _ string) error {
	w.feed.mu.Lock()
	there := make(map[Key]bool, len(list))
	w.listed = w.listed || w.wantAll
	for _, obj := range list {
		if i, ok := obj.(*item); ok && i.Name != "" {
			there[i.object.Key] = true
			if w.wantAll {
				delete(w.known, i.object.Key) // it is told, whatever is known
			}
			w.put(i.object, i.ResourceVersion)
		}
	}
	for key := range w.known {
		if !there[key] {
			w.remove(key)
		}
	}
	if !w.complete {
		w.complete, w.dirty = true, true
	}
	before := w.err
	if w.err, w.refusals = nil, 0; before != nil {
		w.dirty = true
	}
	w.missed(false)
	w.dirty, w.wantAll = w.dirty || w.wantAll, false
	w.feed.mu.Unlock()
	w.regained(before)
	w.feed.rouse()
	return nil
}

// Resync has no meaning here.
func (w *follow) Resync() error { return nil }
