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

// TTLs the resolver imposes where DNS gives none or an absurd one.
const (
	minTTL      = 1 * time.Second        // of a positive answer
	maxTTL      = 1 * time.Hour          // of a positive answer
	negativeTTL = 5 * time.Second        // of "no such name" and "no address"
	failureTTL  = 2 * time.Second        // of silent or failing servers
	hostsTTL    = 2 * time.Second        // of a line in /etc/hosts
	staleFor    = 24 * time.Hour         // how long a last good answer outlives its TTL while servers fail
	staleAfter  = 500 * time.Millisecond // how long a fresh answer is waited for where a stale one is at hand
	cacheSize   = 10_000                 // names; the oldest unused go first
	sweepEvery  = 60 * time.Second       // between removals of what nobody asks for
)

// ErrNotFound is the answer that the name or its addresses do not exist.
var ErrNotFound = errors.New("no such name or no address for it")

// Config tells a Resolver where to look. The zero value is the machine's own setup.
type Config struct {
	ResolvConf string // default /etc/resolv.conf
	Hosts      string // default /etc/hosts
	// Exchange replaces the network in tests, or names the sockets (Through); nil
	// asks the servers of ResolvConf.
	Exchange Exchange
}

// Resolver answers Lookup from its cache, the hosts file, or DNS.
type Resolver struct {
	exchange Exchange
	now      func() time.Time

	mu       sync.Mutex
	settings watched[settings]
	hosts    watched[hosts]
	cache    map[string]*entry
	swept    time.Time
}

// entry is one name. Its fields are guarded by Resolver.mu; done is closed when a
// lookup under way has filled it in.
type entry struct {
	addrs   []netip.Addr // never modified once set
	err     error
	expires time.Time
	good    time.Time     // when addrs last came from a server
	done    chan struct{} // non-nil while a lookup is under way
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
		now:      time.Now,
		settings: watched[settings]{path: cfg.ResolvConf, read: readSettings},
		hosts:    watched[hosts]{path: cfg.Hosts, read: readHosts},
		cache:    map[string]*entry{},
	}
}

// Lookup returns a name's addresses, IPv4 first, in the order the server gave
// them; the slice must not be changed. Lookups of one name at one time are one
// question. An expired answer is asked for again; when the servers fail or are
// slow it is used on, when they say that the name is gone it is not.
func (r *Resolver) Lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	name = canonical(name)
	if addressLike(name) {
		if a, err := netip.ParseAddr(name); err == nil {
			return []netip.Addr{a}, nil
		}
	}
	for {
		r.mu.Lock()
		e := r.cache[name]
		if e != nil && e.done == nil && r.now().Before(e.expires) {
			addrs, err := e.addrs, e.err
			r.mu.Unlock()
			return addrs, err
		}
		if e == nil {
			e = &entry{}
			r.remember(name, e)
		}
		if e.done == nil {
			e.done = make(chan struct{})
			// The lookup outlives a caller that gives up: others wait for it too.
			go r.fill(context.WithoutCancel(ctx), name, e)
		}
		done, stale := e.done, r.stale(e)
		r.mu.Unlock()
		var late <-chan time.Time
		if len(stale) > 0 {
			late = time.After(staleAfter)
		}
		select {
		case <-late:
			return stale, nil
		case <-done:
			r.mu.Lock()
			addrs, err := e.addrs, e.err
			r.mu.Unlock()
			return addrs, err
		case <-ctx.Done():
			return nil, fmt.Errorf("look up %s: %w", name, ctx.Err())
		}
	}
}

// addressLike spares names the parser, whose error costs an allocation.
func addressLike(name string) bool {
	return name != "" && '0' <= name[len(name)-1] && name[len(name)-1] <= '9' || strings.Contains(name, ":")
}

// stale returns the last good addresses while they may still be used.
func (r *Resolver) stale(e *entry) []netip.Addr {
	if r.now().Sub(e.good) < staleFor {
		return e.addrs
	}
	return nil
}

// Refresh forgets that an answer is still fresh, at most once a second and name.
func (r *Resolver) Refresh(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.cache[canonical(name)]
	if e != nil && e.done == nil && r.now().Sub(e.good) > time.Second {
		e.expires = time.Time{}
	}
}

// fill runs one lookup; the exchange bounds its time.
func (r *Resolver) fill(ctx context.Context, name string, e *entry) {
	r.mu.Lock()
	now := r.now()
	fromHosts, conf := r.hosts.get(now)[name], r.settings.get(now)
	r.mu.Unlock()
	var got answer
	var err error
	if len(fromHosts) > 0 {
		got = answer{addrs: fromHosts, ttl: hostsTTL}
	} else {
		got, err = r.ask(ctx, conf, name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e.store(got, err, r.now())
	close(e.done)
	e.done = nil
}

// store keeps the last good addresses when the servers failed (§b of Envoy's
// behaviour: a failure is no answer, "no such name" is one).
func (e *entry) store(got answer, err error, now time.Time) {
	switch {
	case err == nil:
		e.addrs, e.err, e.good = got.addrs, nil, now
		e.expires = now.Add(min(max(got.ttl, minTTL), maxTTL))
	case errors.Is(err, ErrNotFound):
		e.addrs, e.err = nil, err
		e.expires = now.Add(negativeTTL)
	case len(e.addrs) > 0 && now.Sub(e.good) < staleFor:
		e.expires = now.Add(failureTTL)
	default:
		e.addrs, e.err = nil, err
		e.expires = now.Add(failureTTL)
	}
}

// remember adds an entry, making room where the cache is full or old.
func (r *Resolver) remember(name string, e *entry) {
	now := r.now()
	if len(r.cache) >= cacheSize || now.Sub(r.swept) > sweepEvery {
		r.swept = now
		for n, old := range r.cache {
			unused := old.done == nil && now.Sub(old.expires) > sweepEvery
			if unused && (len(old.addrs) == 0 || now.Sub(old.good) > staleFor) {
				delete(r.cache, n)
			}
		}
	}
	for n, old := range r.cache {
		if len(r.cache) < cacheSize {
			break
		}
		if old.done == nil {
			delete(r.cache, n)
		}
	}
	r.cache[name] = e
}
