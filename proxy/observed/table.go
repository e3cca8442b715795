// Package observed remembers what pods under the policy Observe have asked for and
// REGISTRY_ONLY would not have let through: what has to be registered before a namespace is
// governed.
//
//	t := observed.New()
//	server, err := proxy.New(proxy.Config{Observed: t, …})
//	rows, dropped := t.Rows()
package observed

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// Bounds of a table. Names come from pods: a flood of ever new names fills its namespace's
// part, and no other's. A full table is divided evenly: who has more gives its rows up, the
// one that was asked for least lately first, to who has less.
const (
	MaxRows        = 4096
	MaxOfNamespace = 1024
	maxName        = 253 // bytes, DNS' own limit; what is longer is cut, and ends in "…"
)

// What is one destination as a namespace's pods ask for it.
type What struct {
	Namespace string `json:"namespace"`
	// Name is the host or server name, in lower case, "" where none was given or where the
	// host is an address.
	Name string `json:"name,omitempty"`
	// Address is where it was going, of those without a name only.
	Address netip.Addr `json:"address,omitzero"`
	Port    uint16     `json:"port"`
	// Protocol is HTTP, HTTP2, TLS or TCP, as a ServiceEntry would declare it.
	Protocol string `json:"protocol"`
}

// what is a destination as it was asked for: name is in lower case, without port and without
// the dot that may end it, and may be an address, perhaps in brackets.
func what(namespace, name string, addr netip.Addr, port uint16, p mesh.Protocol) What {
	w := What{Namespace: namespace, Name: name, Port: port, Protocol: p.String()}
	if ip, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		w.Name, addr = "", ip
	}
	if strings.HasSuffix(w.Name, ".") { // it had two, and is no name: not the host that ends in one
		w.Name += "."
	}
	if w.Name == "" {
		w.Address = addr.Unmap().WithZone("")
	}
	if len(w.Name) > maxName {
		const cut = "…" // which no name has: what is left is another host's
		w.Name = w.Name[:maxName-len(cut)] + cut
	}
	return w
}

func (w What) compare(o What) int {
	return cmp.Or(cmp.Compare(w.Namespace, o.Namespace), cmp.Compare(w.Name, o.Name), w.Address.Compare(o.Address),
		cmp.Compare(w.Port, o.Port), cmp.Compare(w.Protocol, o.Protocol))
}

// Row is what is known of one.
type Row struct {
	What
	Count int64     `json:"count"` // requests and connections
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// Unreached are those of Count that found no server, as far as an access log says it.
	Unreached int64 `json:"-"`
	// Register is the ServiceEntry that lets it through, in one line of YAML; "" where none
	// can be written for it safely (mesh.Registration).
	Register string `json:"register,omitempty"`
}

// Table has a row for each destination. All its methods may be called by many goroutines.
type Table struct {
	now func() time.Time

	mu      sync.Mutex
	rows    map[What]*seen
	of      map[string]int // namespace ▸ rows
	dropped int64
}

// seen is what of a row changes.
type seen struct {
	count       int64
	first, last time.Time
}

// New makes an empty table.
func New() *Table { return newTable(time.Now) }

func newTable(now func() time.Time) *Table {
	return &Table{now: now, rows: map[What]*seen{}, of: map[string]int{}}
}

// Note counts one request or connection. name is in lower case, without port and the dot that
// may end it, and may be an address, perhaps in brackets. It never waits for long. A nil Table notes nothing.
func (t *Table) Note(namespace, name string, addr netip.Addr, port uint16, p mesh.Protocol) {
	if t == nil {
		return
	}
	w := what(namespace, name, addr, port, p)
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	row := t.rows[w]
	if row == nil {
		if t.of[namespace] >= MaxOfNamespace || len(t.rows) >= MaxRows && !t.makeRoom(namespace) {
			t.dropped++
			return
		}
		row = &seen{first: now}
		t.rows[w] = row
		t.of[namespace]++
	}
	row.count++
	row.last = now
}

// makeRoom removes a row of the namespace that has most, for one that has less than its
// part; false: it has as much, or nobody has more. Each namespace has that done for its part
// once, so floods do not have every row looked through each time.
func (t *Table) makeRoom(namespace string) bool {
	namespaces := len(t.of)
	if t.of[namespace] == 0 {
		namespaces++
	}
	part := max(MaxRows/namespaces, 1)
	if t.of[namespace] >= part {
		return false
	}
	all := namespaces > MaxRows // each has one row, some of pods that are long gone
	loser := ""
	for other, rows := range t.of {
		if rows > part && (loser == "" || rows > t.of[loser]) {
			loser = other
		}
	}
	var oldest What
	var last *seen
	for w, row := range t.rows {
		if (all || w.Namespace == loser) && (last == nil || row.last.Before(last.last)) {
			oldest, last = w, row
		}
	}
	if last == nil {
		return false
	}
	delete(t.rows, oldest)
	if t.of[oldest.Namespace]--; t.of[oldest.Namespace] == 0 {
		delete(t.of, oldest.Namespace)
	}
	t.dropped += last.count
	return true
}

// Rows lists all, those asked for most often first, and says how many requests and
// connections found no room for a row of theirs.
func (t *Table) Rows() (rows []Row, dropped int64) {
	t.mu.Lock()
	rows = make([]Row, 0, len(t.rows))
	for w, s := range t.rows {
		rows = append(rows, Row{What: w, Count: s.count, First: s.first, Last: s.last})
	}
	dropped = t.dropped
	t.mu.Unlock()
	for i := range rows { // not under the lock: connections wait for that
		r := &rows[i]
		r.Register = mesh.Registration(r.Name, r.Address, r.Port, mesh.ParseProtocol(r.Protocol))
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Or(cmp.Compare(b.Count, a.Count), a.What.compare(b.What)) })
	return rows, dropped
}

// Answer is what a table answers over HTTP.
type Answer struct {
	Rows []Row `json:"rows"`
	// Dropped are requests and connections to what found no room, or had to make some.
	Dropped int64 `json:"dropped"`
}

// ServeHTTP answers with an Answer.
func (t *Table) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	var a Answer
	a.Rows, a.Dropped = t.Rows()
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(a)
}
