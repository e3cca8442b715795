package vip

import (
	"cmp"
	"hash/fnv"
	"slices"
	"time"
)

// Book says which host has which slot, and which had it lately. It is never
// changed: Assign makes the next one.
type Book map[string]Assignment

// Assignment is one host's slot.
type Assignment struct {
	Slot Slot
	// Namespace is the one in whose part the slot is: one that registers the host, or did.
	// "" where a book of a version without parts does not say.
	Namespace string
	// Left is when the host was found to be registered no more; zero while it is.
	Left time.Time
}

// Wanted is a host that is to have a slot, and who registers it: one namespace or more.
type Wanted struct {
	Host       string
	Namespaces []string
}

// How long a slot stays its host's when the host has left.
const (
	// Rest is what every slot is kept for: an answer may live for its TTL of 30 s in
	// a cache on the way, and as long again in a connection pool that was slow.
	Rest = 10 * time.Minute
	// Memory is what it is kept for as long as there are others: applications
	// exist that look a name up once and never again.
	Memory = 24 * time.Hour
)

// Assign gives every host a slot, as far as its namespaces' parts go. Each host is named once.
// It keeps the slot it has, and gets its old one back when it returns within Memory. A new
// host gets the first free slot from the one that its name hashes to, in the order of the
// names; so without an earlier book the result depends on what is wanted alone.
//
// A namespace gets no slot more when it has as many as are free: one alone has half of all in
// the end, and who comes later half of what is left. So nothing has to be taken from
// anybody for others to get theirs. A slot is in the part of one namespace until it has
// rested: of those that register the host, of the one that has fewest. Hosts of which every
// namespace has its part are left over.
func (b Book) Assign(wanted []Wanted, now time.Time) (next Book, left []string) {
	d := draft{now: now, next: make(Book, len(wanted)), taken: make(map[Slot]bool, len(wanted)), held: make(map[string]int), open: Slots}
	for host, a := range b {
		if a.Left.IsZero() {
			a.Left = now
		}
		if now.Sub(a.Left) < Memory {
			d.remember(host, a)
		}
	}
	var known, fresh []Wanted
	for _, w := range wanted {
		switch a, there := d.next[w.Host]; {
		case !there:
			fresh = append(fresh, w)
		case a.rested(now) || !slices.Contains(w.Namespaces, a.Namespace):
			known = append(known, w)
		default:
			a.Left = time.Time{}
			d.next[w.Host] = a
		}
	}
	byHost := func(x, y Wanted) int { return cmp.Compare(x.Host, y.Host) }
	slices.SortFunc(known, byHost)
	slices.SortFunc(fresh, byHost)
	for _, w := range slices.Concat(known, fresh) {
		if !d.give(w) {
			left = append(left, w.Host)
		}
	}
	return d.next, left
}

// draft is a book that is being made.
type draft struct {
	now    time.Time
	next   Book
	taken  map[Slot]bool
	held   map[string]int // namespace ▸ slots in its part
	open   int            // slots in no part
	rested []string       // whose slots are given away, once no other is free
}

// remember takes in a host of the earlier book, as one that has left.
func (d *draft) remember(host string, a Assignment) {
	d.next[host] = a
	d.taken[a.Slot] = true
	if !a.rested(d.now) {
		d.held[a.Namespace]++
		d.open--
	}
}

// give is for a host that is in no part, or in that of a namespace that does not register it
// any more; there it stays where no other has room, so that a part cannot be emptied into a
// full one.
func (d *draft) give(w Wanted) bool {
	a, known := d.next[w.Host]
	namespace := slices.MinFunc(w.Namespaces, func(x, y string) int { return cmp.Or(cmp.Compare(d.held[x], d.held[y]), cmp.Compare(x, y)) })
	room := d.held[namespace] < d.open
	switch keeps := known && !a.rested(d.now); {
	case room && keeps:
		d.held[a.Namespace]--
		d.held[namespace]++
		a.Namespace = namespace
	case room:
		if !known {
			a.Slot = d.free(w.Host)
		}
		d.held[namespace]++
		d.open--
		a.Namespace = namespace
	case !keeps:
		return false
	}
	a.Left = time.Time{}
	d.next[w.Host] = a
	return true
}

// free probes from the slot that the name hashes to. Where every slot is somebody's it takes
// the one that has rested longest: there is one as long as d.open is not 0.
func (d *draft) free(host string) Slot {
	if len(d.taken) == Slots {
		if d.rested == nil {
			d.rested = d.next.rested(d.now)
		}
		slot := d.next[d.rested[0]].Slot
		delete(d.next, d.rested[0])
		d.rested = d.rested[1:]
		return slot
	}
	h := fnv.New64a()
	h.Write([]byte(host))
	home := h.Sum64()
	for d.taken[slotAt(home)] {
		home++
	}
	d.taken[slotAt(home)] = true
	return slotAt(home)
}

// rested lists the hosts whose slots may be given away, the one that left first
// in front.
func (b Book) rested(now time.Time) []string {
	var out []string
	for host, a := range b {
		if a.rested(now) {
			out = append(out, host)
		}
	}
	slices.SortFunc(out, func(x, y string) int { return cmp.Or(b[x].Left.Compare(b[y].Left), cmp.Compare(x, y)) })
	return out
}

func (a Assignment) rested(now time.Time) bool { return !a.Left.IsZero() && now.Sub(a.Left) >= Rest }

// Slot is the slot that a registered host has.
func (b Book) Slot(host string) (Slot, bool) {
	a, known := b[host]
	return a.Slot, known && a.Left.IsZero()
}
