package kubeapi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// keeper writes the journals of a Feed, one batch a second. It has the directory's lock
// while it does: of two agents that overlap at an upgrade the one that came first
// writes, and the other gathers until that one ends.
type keeper struct {
	f    *Feed
	lock *os.File
	have bool // the lock
}

const keepEvery = time.Second

// replay reads the journals into what is to be told, and makes the keeper; nil without
// a directory.
func (f *Feed) replay() (*keeper, error) {
	if f.journal == "" {
		return nil, nil
	}
	if err := os.MkdirAll(f.journal, 0o700); err != nil {
		return nil, fmt.Errorf("keep what was last known of the cluster: %w", err)
	}
	left, _ := filepath.Glob(filepath.Join(f.journal, ".journal-*"))
	for _, name := range left { // by a crash; a fresh one may be another process's that ends
		if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()) > time.Minute {
			os.Remove(name)
		}
	}
	lock, err := os.OpenFile(filepath.Join(f.journal, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep what was last known of the cluster: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.follows {
		if w.journal = w.journalFor(f.journal); w.journal == nil {
			continue
		}
		all, ok := w.journal.replay()
		if !ok {
			w.journal.whole = true
			continue
		}
		for _, o := range all {
			w.put(o, "")
		}
		w.complete, w.dirty, w.journal.there = true, true, true
	}
	return &keeper{f: f, lock: lock}, nil
}

// run keeps until ctx ends, and then once more.
func (k *keeper) run(ctx context.Context) {
	defer k.lock.Close() // which gives it up
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			ended = true
		case <-tick.C:
		}
		k.keep()
	}
}

// keep writes what is due.
func (k *keeper) keep() {
	first := false
	if !k.have {
		if unix.Flock(int(k.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
			return
		}
		k.have, first = true, true
	}
	for _, w := range k.f.follows {
		if j := w.journal; j != nil {
			if first {
				k.look(w)
			}
			k.write(w, j)
		}
	}
}

// look reads a journal again, since somebody else may have written it meanwhile. What it
// has that is not there any more goes.
func (k *keeper) look(w *follow) {
	there := w.journal.scan(nil) == nil
	k.f.mu.Lock()
	defer k.f.mu.Unlock()
	w.journal.there = there
	for key := range w.journal.at {
		_, known := w.known[key]
		_, pending := w.journal.pending[key]
		if w.complete && !known && !pending && !w.kept[key] {
			w.journal.put(key, nil)
		}
	}
	w.journal.due = w.journal.due || w.toKeep() && !there
}

// write takes what is pending of a journal and writes it; what could not be written is
// tried again with the next batch.
func (k *keeper) write(w *follow, j *journal) {
	k.f.mu.Lock()
	batch, due, there, whole := j.pending, j.due, j.there, j.whole
	if due {
		j.pending, j.due = map[Key][]byte{}, false
	}
	k.f.mu.Unlock()
	if !due {
		return
	}
	var err error
	switch {
	case there:
		err = j.write(batch)
		there = !errors.Is(err, fs.ErrNotExist)
	case whole:
		err = j.begin(batch)
	default:
		err = fmt.Errorf("%s was taken away, or cannot be read; the API server is asked for all of it again", j.path)
	}
	k.f.mu.Lock()
	j.there = there
	if !there && !whole {
		w.listAgain()
	}
	if err == nil {
		j.there, j.whole = true, false
	} else {
		for key, data := range batch {
			if _, newer := j.pending[key]; !newer {
				j.pending[key] = data
			}
		}
		j.due = true
	}
	k.f.mu.Unlock()
	switch {
	case err != nil && !j.failing:
		j.log.Error("what is known of the cluster cannot be kept; a restart while the API server is away would go without it", "file", j.path, "error", err)
	case err == nil && j.failing:
		j.log.Info("what is known of the cluster is kept again", "file", j.path)
	}
	j.failing = err != nil
}
