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
	// Left is when the host was found to be registered no more; zero while it is.
	Left time.Time
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

// Assign gives every host a slot. A host keeps the one it has, and gets its old
// one back when it returns within Memory. A new host gets the first free slot from
// the one that its name hashes to, in the order of the names; so without an earlier
// book the result depends on the hosts alone. Hosts beyond the number of slots are
// left over.
func (b Book) Assign(hosts []string, now time.Time) (next Book, left []string) {
	next = make(Book, len(hosts))
	taken := make(map[Slot]string, len(hosts))
	var fresh []string
	for _, host := range hosts {
		if a, known := b[host]; known {
			next[host] = Assignment{Slot: a.Slot}
			taken[a.Slot] = host
		} else {
			fresh = append(fresh, host)
		}
	}
	for host, a := range b {
		if a.Left.IsZero() {
			a.Left = now
		}
		if _, held := taken[a.Slot]; !held && now.Sub(a.Left) < Memory {
			next[host] = a
			taken[a.Slot] = host
		}
	}
	slices.Sort(fresh)
	var rested []string
	if len(taken)+len(fresh) > Slots {
		rested = next.rested(now)
	}
	for _, host := range slices.Compact(fresh) {
		slot, found := free(host, taken)
		if !found && len(rested) > 0 {
			slot, found = next[rested[0]].Slot, true
			delete(next, rested[0])
			rested = rested[1:]
		}
		if !found {
			left = append(left, host)
			continue
		}
		next[host] = Assignment{Slot: slot}
		taken[slot] = host
	}
	return next, left
}

// free probes from the slot that the name hashes to.
func free(host string, taken map[Slot]string) (Slot, bool) {
	if len(taken) >= Slots {
		return 0, false
	}
	h := fnv.New64a()
	h.Write([]byte(host))
	for home := h.Sum64(); ; home++ {
		if slot := slotAt(home); taken[slot] == "" {
			return slot, true
		}
	}
}

// rested lists the hosts whose slots may be given away, the one that left first
// in front.
func (b Book) rested(now time.Time) []string {
	var out []string
	for host, a := range b {
		if !a.Left.IsZero() && now.Sub(a.Left) >= Rest {
			out = append(out, host)
		}
	}
	slices.SortFunc(out, func(x, y string) int { return cmp.Or(b[x].Left.Compare(b[y].Left), cmp.Compare(x, y)) })
	return out
}

// Slot is the slot that a registered host has.
func (b Book) Slot(host string) (Slot, bool) {
	a, known := b[host]
	return a.Slot, known && a.Left.IsZero()
}
