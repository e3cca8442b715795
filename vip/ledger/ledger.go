// Package ledger keeps the book of virtual addresses over configuration changes and,
// in a file, over restarts. Without a file a restart begins with an empty book: each
// name gets the address it hashes to again, except where two names hash to the same
// one, whose order of arrival only the file remembers.
//
//	l, err := ledger.Open("/var/lib/sluice/state", log)
//	defer l.Close()
//	mesh.Build(resources, mesh.Options{Virtual: l.Assign})
package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/vip"
)

// Name is the file's name in the state directory.
const Name = "virtual-addresses.json"

// maxSize bounds what is read: every slot, under names of full length, fits.
const maxSize = 32 << 20

// Ledger is the book in force. Its methods may be called by many.
type Ledger struct {
	path string // "" keeps nothing
	log  *slog.Logger
	now  func() time.Time

	turn    sync.Mutex         // for Close and Retake
	lock    *os.File           // nil after Close
	stop    context.CancelFunc // ends the wait for the lock; nil: none
	waiting sync.WaitGroup

	mu    sync.Mutex
	book  vip.Book
	owns  bool // the file is this Ledger's to write; without a path nobody's
	dirty bool // the file lacks what the book says
	full  bool // it was said that hosts have none
}

// Open reads the book in a directory; "" is none. The directory must be this
// process's alone: a second Ledger on it is refused. A file that cannot be
// understood is left out with a warning, entry by entry where that is possible.
func Open(dir string, log *slog.Logger) (*Ledger, error) {
	l, err := begin(dir, log)
	if err == nil && l.path != "" && !l.owns {
		l.Close()
		return nil, fmt.Errorf("keep virtual addresses in %s: another process does; give each its own directory", dir)
	}
	return l, err
}

// begin reads the book, and has the lock or not.
func begin(dir string, log *slog.Logger) (*Ledger, error) {
	l := &Ledger{log: log, now: time.Now}
	if dir == "" {
		return l, nil
	}
	l.path = filepath.Join(dir, Name)
	if err := l.openLock(); err != nil {
		return nil, err
	}
	l.owns = tryLock(l.lock) // before the file is read: nobody writes it then
	data, err := read(l.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		l.lock.Close()
		return nil, fmt.Errorf("read virtual addresses: %w", err)
	default:
		var odd error
		if l.book, odd = decode(data); odd != nil {
			log.Warn("the file of virtual addresses is damaged; what can be read is used", "file", l.path, "error", odd)
		}
	}
	return l, nil
}

func (l *Ledger) openLock() (err error) {
	if l.lock, err = os.OpenFile(l.path+".lock", os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600); err != nil {
		l.lock = nil
		return fmt.Errorf("keep virtual addresses in %s: %w", filepath.Dir(l.path), err)
	}
	return nil
}

func tryLock(lock *os.File) bool {
	return unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

// Close lets go of the directory; a nil Ledger has none. Assign goes on, and follows
// whoever has the directory then. A second time does nothing.
func (l *Ledger) Close() error {
	if l == nil {
		return nil
	}
	l.turn.Lock()
	defer l.turn.Unlock()
	if l.lock == nil {
		return nil
	}
	if l.stop != nil {
		l.stop()
		l.waiting.Wait()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owns = false
	err := l.lock.Close()
	l.lock = nil
	return err
}

// Assign gives each host its virtual addresses, IPv4 first. What is new is in the
// file before it is returned, so that no answer is older than what is remembered of
// it; where the file cannot be written that is logged, and tried again next time.
func (l *Ledger) Assign(wanted []vip.Wanted) map[string][]netip.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.path != "" && !l.owns {
		l.follow()
	}
	next, left := l.book.Assign(wanted, l.now())
	if len(left) > 0 && !l.full {
		l.log.Error("names have no virtual address and are resolved by DNS: each of their namespaces has as many as are free, and gets no more", "without", len(left), "one", left[0], "addresses", vip.Slots)
	}
	l.full = len(left) > 0
	l.dirty = l.dirty || !maps.Equal(next, l.book)
	l.book = next
	if l.dirty && l.owns {
		l.keep()
	}
	out := make(map[string][]netip.Addr, len(wanted))
	for _, w := range wanted {
		if slot, ok := next.Slot(w.Host); ok {
			out[w.Host] = []netip.Addr{slot.IPv4(), slot.IPv6()}
		}
	}
	return out
}

// keep writes the file.
func (l *Ledger) keep() {
	if err := write(l.path, encode(l.book)); err != nil {
		l.log.Error("virtual addresses cannot be kept; a restart may give names others", "file", l.path, "error", err)
		return
	}
	l.dirty = false
}

// document is the file. People may read it; nobody need write it.
type document struct {
	Hosts map[string]record `json:"hosts"`
}

type record struct {
	Address netip.Addr `json:"address"` // the IPv4 one; the IPv6 one has the same number
	// Namespace is in whose part the address is; files of before there were parts do not say.
	Namespace string     `json:"namespace,omitempty"`
	Left      *time.Time `json:"left,omitempty"`
}

func encode(b vip.Book) []byte {
	d := document{Hosts: make(map[string]record, len(b))}
	for host, a := range b {
		r := record{Address: a.Slot.IPv4(), Namespace: a.Namespace}
		if !a.Left.IsZero() {
			r.Left = &a.Left
		}
		d.Hosts[host] = r
	}
	data, err := json.MarshalIndent(d, "", " ")
	if err != nil {
		panic("ledger: a book that is no JSON: " + err.Error())
	}
	return append(data, '\n')
}

// decode reads what it can. An address that is none of ours, or that two hosts
// claim, is left out: of those the first by name keeps it.
func decode(data []byte) (vip.Book, error) {
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, err
	}
	var odd []error
	book, owner := vip.Book{}, map[vip.Slot]string{}
	for _, host := range slices.Sorted(maps.Keys(d.Hosts)) {
		r := d.Hosts[host]
		slot, ok := vip.SlotOf(r.Address)
		switch {
		case !ok:
			odd = append(odd, fmt.Errorf("hosts[%q] %q: not a virtual address", host, r.Address))
			continue
		case owner[slot] != "":
			odd = append(odd, fmt.Errorf("hosts[%q] %q: is the address of %q", host, r.Address, owner[slot]))
			continue
		}
		owner[slot] = host
		a := vip.Assignment{Slot: slot, Namespace: r.Namespace}
		if r.Left != nil {
			a.Left = *r.Left
		}
		book[host] = a
	}
	return book, errors.Join(odd...)
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSize))
}

// write replaces the file as a whole, or not at all. Nobody else writes: what one that was
// killed has left is overwritten.
func write(path string, data []byte) error {
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
