package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// ErrNotFound is the answer that the name or its addresses do not exist.
var ErrNotFound = errors.New("no such name or no address for it")

// Config tells a Resolver where to look. The zero value is the machine's own setup.
type Config struct {
	ResolvConf string // default /etc/resolv.conf
	Hosts      string // default /etc/hosts; os.DevNull reads none
	// Exchange replaces the network in tests, or names the sockets (Through); nil
	// asks the servers of ResolvConf.
	Exchange Exchange
}

// Resolver answers Lookup from its cache, the hosts file, or DNS. While Run runs,
// names in use are asked for again before anybody has to wait for them.
type Resolver struct {
	exchange Exchange
	files    files

	mu    sync.Mutex
	cache map[string]*entry
	queue queue         // entries by when they are due
	wake  chan struct{} // the head of the queue has changed
	turn  chan struct{} // held by the one Run that works
}

// New returns a Resolver with an empty cache.
func New(cfg Config) *Resolver {
	if cfg.ResolvConf == "" {
		cfg.ResolvConf = "/etc/resolv.conf"
	}
	if cfg.Hosts == "" {
		cfg.Hosts = "/etc/hosts"
	}
	if cfg.Exchange == nil {
		cfg.Exchange = Through(nil)
	}
	return &Resolver{
		exchange: cfg.Exchange,
		files: files{
			settings: watched[settings]{path: cfg.ResolvConf, read: readSettings},
			hosts:    watched[hosts]{path: cfg.Hosts, read: readHosts},
		},
		cache: map[string]*entry{},
		wake:  make(chan struct{}, 1),
		turn:  make(chan struct{}, 1),
	}
}

// Limits of what Lookup does by itself.
const (
	overdue    = 10 * time.Second       // how long past its TTL an answer counts as being renewed
	staleAfter = 500 * time.Millisecond // how long a fresh answer is waited for where only an older one is at hand
	cacheSize  = 10_000                 // names
)

// Lookup returns a name's addresses, IPv4 first, in the order the server gave
// them; the slice must not be changed. Only the first lookup of a name waits for
// DNS: later ones take what is known, until Run or they themselves have found
// something newer. Lookups of one name at one time are one question.
func (r *Resolver) Lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	name = canonical(name)
	if addressLike(name) {
		if a, err := netip.ParseAddr(name); err == nil {
			return []netip.Addr{a}, nil
		}
	}
	now := time.Now()
	r.mu.Lock()
	e := r.cache[name]
	if e == nil {
		e = r.remember(name)
	}
	e.used = now
	if e.warm(now) {
		if !e.busy && now.After(e.due) {
			r.start(ctx, e, now) // nobody runs Run, or it is behind
		}
		addrs, err := e.addrs, e.err
		r.mu.Unlock()
		return addrs, err
	}
	if !e.busy {
		r.start(ctx, e, now)
	}
	done, stale := e.done, e.addrs
	r.mu.Unlock()
	return r.await(ctx, e, done, stale)
}

// await waits for a lookup under way; a stale answer shortens that.
func (r *Resolver) await(ctx context.Context, e *entry, done <-chan struct{}, stale []netip.Addr) ([]netip.Addr, error) {
	var late <-chan time.Time
	if len(stale) > 0 {
		late = time.After(staleAfter)
	}
	select {
	case <-late:
		return stale, nil
	case <-done:
		r.mu.Lock()
		defer r.mu.Unlock()
		return e.addrs, e.err
	case <-ctx.Done():
		return nil, fmt.Errorf("look up %s: %w", e.name, ctx.Err())
	}
}

// Had says whether an address is one of a name's, or was until a few minutes ago:
// an application may go on with an answer that the name has since replaced. It
// knows of names that were looked up here, and asks nobody.
func (r *Resolver) Had(name string, addr netip.Addr) bool {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.cache[canonical(name)]
	return e != nil && e.had(addr, now)
}

// Refresh asks for a name again in the background though its answer is fresh, at
// most once a second. It is for when an application knows an address that the
// name was not seen with.
func (r *Resolver) Refresh(name string) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.cache[canonical(name)]
	if e != nil && !e.busy && now.Sub(e.filled) > time.Second {
		r.start(context.Background(), e, now)
	}
}

// addressLike spares names the parser, whose error costs an allocation.
func addressLike(name string) bool {
	return name != "" && '0' <= name[len(name)-1] && name[len(name)-1] <= '9' || strings.Contains(name, ":")
}

// start looks an entry up, in a goroutine that the exchange's timeouts end: it
// outlives a caller that gives up, since others wait for it too. r.mu is held.
func (r *Resolver) start(ctx context.Context, e *entry, now time.Time) {
	e.begin(now)
	go r.fill(context.WithoutCancel(ctx), e)
}

// fill runs one lookup that was begun.
func (r *Resolver) fill(ctx context.Context, e *entry) {
	conf, fromHosts := r.files.get(e.name)
	var got found
	if len(fromHosts) > 0 {
		got = fromFile(fromHosts)
	} else {
		got = r.ask(ctx, conf, e.name, func(early found) { r.publish(e, early, false) })
	}
	r.publish(e, got, true)
}

// publish makes a result known. One that is not the last has the IPv6 half still
// to come.
func (r *Resolver) publish(e *entry, got found, last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !last && !e.filled.IsZero() {
		return // the last answer is complete: keep it until this one is
	}
	e.store(got, time.Now())
	if e.done != nil {
		close(e.done)
		e.done = nil
	}
	e.inTime = true
	if last {
		e.busy = false
		r.schedule(e)
	}
}

// remember adds an entry. Where the cache is full, of some entries the one that
// was unused for longest makes room, so that a flood of names that nobody asks for
// twice does not drive out those in use. r.mu is held.
func (r *Resolver) remember(name string) *entry {
	for len(r.cache) >= cacheSize {
		var oldest *entry
		sample := 0
		for _, e := range r.cache { // in random order
			if !e.busy && (oldest == nil || e.used.Before(oldest.used)) {
				oldest = e
			}
			if sample++; sample >= 16 && oldest != nil {
				break
			}
		}
		if oldest == nil {
			break // all are being looked up
		}
		r.forget(oldest)
	}
	e := &entry{name: name, place: -1}
	r.cache[name] = e
	return e
}
