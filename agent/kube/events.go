package kube

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/fnv"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/kubeapi"
)

// Reasons of Events.
const (
	Refused     = "SluiceRefused"     // Warning: a resource is not in force
	Partly      = "SluicePartly"      // it is; Warning: something of it does what its author does not want, Normal: or less than in a mesh
	NotEnrolled = "SluiceNotEnrolled" // Warning: a pod is not governed, and should be
	AloneLeft   = "SluiceLeftAlone"   // Normal: another mesh's sidecar serves a pod
	BadPolicy   = "SluicePolicy"      // Warning: what says which pods are selected cannot be read, or has no effect
)

// How Events are written: so many at once, then one in that time. Those about an object
// that every agent sees are written by the agents of a few nodes, which differ from Event to
// Event: not by one alone, since a node may have no agent. They wait up to spread, so that
// one is the first, and the others' requests end at once.
const (
	mostWaiting = 1000
	mostOfOne   = 250 // of one namespace, so that there is room for the others'
	forgetEvery = time.Minute
	burst       = 25
	each        = time.Second
	spread      = 5 * time.Second
	speakers    = 10
	settling    = 3 * time.Second // of a pod: what goes away by itself is not said
	again       = 10 * time.Second
	sayAgain    = 30 * time.Minute // a server keeps an Event for an hour
	longest     = 1000             // bytes of a message; the API takes 1024
)

// creator writes an object; *kubeapi.Cluster is one.
type creator interface {
	Create(ctx context.Context, k kubeapi.Kind, json []byte) error
}

// event is one that waits.
type event struct {
	due       time.Time
	namespace string
	name      string
	uid       string
	reason    string
	shared    bool // every agent sees what it is about
	json      []byte
}

// Events writes Events of Kubernetes' core API. All agents give the same content the
// same name, so that a thousand of them write one.
type Events struct {
	to  creator
	log *slog.Logger
	now func() time.Time
	// node is the hash of this one's name, nodes are those of all that are known; none: not yet.
	node  uint64
	nodes func() []uint64

	wake chan struct{} // has room for one

	mu      sync.Mutex
	waiting []event // by due
	said    map[string]time.Time
	forgot  time.Time // when what was said long ago was last taken from said
	dropped int
}

func newEvents(to creator, node string, nodes func() []uint64, log *slog.Logger) *Events {
	return &Events{to: to, log: log, now: time.Now, node: hashOf(node), nodes: nodes, wake: make(chan struct{}, 1), said: map[string]time.Time{}}
}

// Say has an Event written about an object; uid is that of the object, "" where it is not
// known. What was said within the last half an hour is not said again. It never waits: of
// more than a thousand that wait, or 250 of one namespace, the rest is left out, and the
// log says so.
func (e *Events) Say(about kubeapi.Kind, key kubeapi.Key, uid string, warning bool, reason, message string) {
	if len(message) > longest {
		message = strings.ToValidUTF8(message[:longest], "") + "…"
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{about.String(), uid, reason, message}, "\x00")))
	name := key.Name
	const mostName = 200 // of 253
	name = strings.TrimRight(name[:min(len(name), mostName)], "-.") + "." + hex.EncodeToString(sum[:6])
	now := e.now()
	v := event{due: now, namespace: cmp.Or(key.Namespace, "default"), name: name, uid: uid, reason: reason}
	switch about {
	case kubeapi.Pods:
		v.due = now.Add(settling)
	case kubeapi.Nodes: // each speaks of its own
	default:
		v.shared, v.due = true, now.Add(rand.N(spread))
	}
	if !e.ours(v) {
		return // others write it
	}
	v.json = eventJSON(about, key, uid, warning, reason, message, v, now)
	e.mu.Lock()
	defer e.mu.Unlock()
	id := v.namespace + "/" + v.name
	if at, before := e.said[id]; before && now.Sub(at) < sayAgain {
		return
	}
	if !e.room(v.namespace) {
		e.dropped++
		return
	}
	if now.Sub(e.forgot) >= forgetEvery {
		maps.DeleteFunc(e.said, func(_ string, at time.Time) bool { return now.Sub(at) >= sayAgain })
		e.forgot = now
	}
	e.said[id] = now
	e.put(v)
}

// room says whether one more of a namespace may wait. The caller holds e.mu.
func (e *Events) room(namespace string) bool {
	if len(e.waiting) >= mostWaiting {
		return false
	}
	of := 0
	for _, v := range e.waiting {
		if v.namespace == namespace {
			of++
		}
	}
	return of < mostOfOne
}

// Withdraw takes back what waits to be said of an object for a reason.
func (e *Events) Withdraw(uid, reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting = slices.DeleteFunc(e.waiting, func(v event) bool {
		if v.uid != uid || v.reason != reason {
			return false
		}
		delete(e.said, v.namespace+"/"+v.name)
		return true
	})
}

// put has an event wait. The caller holds e.mu.
func (e *Events) put(v event) {
	i, _ := slices.BinarySearchFunc(e.waiting, v, func(a, b event) int { return a.due.Compare(b.due) })
	e.waiting = slices.Insert(e.waiting, i, v)
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// eventJSON is a core/v1 Event: one about an object without a namespace is in default,
// which the API server demands.
func eventJSON(about kubeapi.Kind, key kubeapi.Key, uid string, warning bool, reason, message string, v event, now time.Time) []byte {
	kind := "Normal"
	if warning {
		kind = "Warning"
	}
	at := now.UTC().Format(time.RFC3339)
	data, _ := json.Marshal(map[string]any{ // strings and numbers only
		"metadata": map[string]any{"namespace": v.namespace, "name": v.name},
		"involvedObject": map[string]any{
			"apiVersion": about.APIVersion(), "kind": about.Name, "namespace": key.Namespace, "name": key.Name, "uid": uid,
		},
		"reason": reason, "message": message, "type": kind, "count": 1,
		"firstTimestamp": at, "lastTimestamp": at,
		"source": map[string]any{"component": "sluice"},
	})
	return data
}

// run writes what waits until ctx ends.
func (e *Events) run(ctx context.Context) {
	tokens, filled := float64(burst), e.now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.wake:
		case <-timer.C:
		}
		for ctx.Err() == nil {
			now := e.now()
			tokens = min(burst, tokens+float64(now.Sub(filled))/float64(each))
			filled = now
			v, wait := e.next(now, tokens >= 1)
			if v == nil {
				if wait > 0 {
					timer.Reset(wait)
				}
				break
			}
			if !e.ours(*v) {
				continue
			}
			tokens--
			e.write(ctx, *v)
		}
	}
}

// ours says that this node's agent is among those that write an event.
func (e *Events) ours(v event) bool {
	if !v.shared {
		return true
	}
	event := hashOf(v.namespace + "/" + v.name)
	rank := func(node uint64) uint64 { // another order for each event
		x := event ^ node
		x = (x ^ x>>32) * 0xd6e8feb86659fd93
		return x ^ x>>32
	}
	own, before := rank(e.node), 0
	for _, node := range e.nodes() {
		if rank(node) < own {
			before++
		}
	}
	return before < speakers
}

func hashOf(text string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(text))
	return h.Sum64()
}

// next takes the event that is to be written now; where there is none it says in how
// long there may be, 0 for nobody knows.
func (e *Events) next(now time.Time, may bool) (v *event, wait time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.waiting) == 0 {
		return nil, 0
	}
	first := e.waiting[0]
	switch wait = first.due.Sub(now); {
	case wait > 0:
		return nil, wait
	case !may:
		return nil, each
	}
	e.waiting = slices.Delete(e.waiting, 0, 1)
	return &first, 0
}

// write writes one. That it is there already is another agent's success.
func (e *Events) write(ctx context.Context, v event) {
	err := e.to.Create(ctx, kubeapi.Events, v.json)
	e.mu.Lock()
	dropped := e.dropped
	e.dropped = 0
	switch unreachable := errors.Is(err, kubeapi.ErrUnreachable); {
	case unreachable && len(e.waiting) < mostWaiting:
		v.due = e.now().Add(again)
		e.put(v)
	case unreachable:
		e.dropped++
		delete(e.said, v.namespace+"/"+v.name) // so that it may be said again
	}
	e.mu.Unlock()
	if dropped > 0 {
		e.log.Warn("Events were left out: too many at once; the log and the status have them", "events", dropped)
	}
	switch {
	case err == nil, errors.Is(err, kubeapi.ErrExists), errors.Is(err, kubeapi.ErrUnreachable), ctx.Err() != nil:
	case errors.Is(err, kubeapi.ErrNotFound): // its namespace is gone, or about to be
	default:
		e.log.Warn("an Event cannot be written", "event", v.namespace+"/"+v.name, "error", err)
	}
}
