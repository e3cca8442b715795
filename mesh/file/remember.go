package file

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// memory keeps the last good content of each file in a directory of its own
// (Options.Remember), so that a restart goes on where the Store was: a file that is
// broken then has in force what it had before. What is kept carries a checksum instead
// of being synced: torn by a crash of the machine it counts as never kept.
type memory struct {
	dir     string             // "" keeps nothing
	due     map[string]*source // by name: what came last counts
	fresh   bool               // there is more in due since the last try
	tried   time.Time
	failing bool // which was said
}

const rememberAgain = 10 * time.Second // between two tries to keep what could not be kept

// accepted notes what became of files: those that are in force as they stand are to be
// kept, those that are gone to be forgotten.
func (m *memory) accepted(files []*source) {
	if m.dir == "" {
		return
	}
	for _, f := range files {
		switch {
		case f.gone, f.data != nil && f.inForce():
			if m.due == nil {
				m.due = map[string]*source{}
			}
			m.due[f.name], m.fresh = f, true
		}
	}
}

// inForce says whether the file's content as it stands is.
func (f *source) inForce() bool {
	return f.read && !f.issues.HasErrors() && len(f.clashes) == 0
}

// keep writes what is due, and says once where it cannot.
func (s *Store) keep(now time.Time) {
	m := &s.memory
	if len(m.due) == 0 {
		return
	}
	m.tried, m.fresh = now, false
	var failed error
	for name, f := range m.due {
		if f.gone || f.data != nil && f.inForce() { // else it has changed since
			if err := m.write(f); err != nil {
				failed = err
				continue
			}
			f.data = nil
		}
		delete(m.due, name)
	}
	switch {
	case failed != nil && !m.failing:
		s.log.Error("the last good content of the configuration cannot be kept; a restart while a file is broken would go without it",
			"dir", m.dir, "error", failed)
	case failed == nil && m.failing:
		s.log.Info("the last good content of the configuration is kept again", "dir", m.dir)
	}
	m.failing = failed != nil
}

// keepNew is keep for what has just changed; what could not be kept waits for keepAgain.
func (s *Store) keepNew() {
	if s.memory.fresh {
		s.keep(time.Now())
	}
}

// keepAgain is keep for what could not be kept a while ago.
func (s *Store) keepAgain(now time.Time) {
	if now.Sub(s.memory.tried) >= rememberAgain {
		s.keep(now)
	}
}

func (m *memory) path(name string) string { return filepath.Join(m.dir, name) }

// write keeps a file, or forgets one that is gone.
func (m *memory) write(f *source) error {
	if f.gone {
		if err := os.Remove(m.path(f.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	temp, err := os.CreateTemp(m.dir, ".keep-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(append(checksum(f.data), f.data...))
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), m.path(f.name))
}

const maxChecksum = 256

// checksum is the first line of what is kept.
func checksum(data []byte) []byte {
	sum := sha256.Sum256(data)
	return fmt.Appendf(nil, "# sha256 %s: kept by sluice, which overwrites it\n", hex.EncodeToString(sum[:]))
}

// read gives what is kept of a file. Nothing kept is fs.ErrNotExist.
func (m *memory) read(name string) ([]byte, error) {
	kept, err := readUpTo(m.path(name), maxFileSize+maxChecksum)
	if err != nil {
		return nil, err
	}
	first, data, _ := bytes.Cut(kept, []byte("\n"))
	if !bytes.Equal(append(first, '\n'), checksum(data)) {
		return nil, errors.New("damaged")
	}
	return data, nil
}

// open readies the directory.
func (m *memory) open() error {
	if m.dir == "" {
		return nil
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return fmt.Errorf("keep the last good configuration: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(m.dir, ".keep-*"))
	for _, name := range left { // by a crash; a fresh one may be another process's that ends
		if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()) > time.Minute {
			os.Remove(name)
		}
	}
	return err
}

// recall gives the files what they had in force before this Store was opened, and adds
// those to changed that have nothing else.
func (s *Store) recall(changed []*source) []*source {
	owner, among := map[mesh.Identity]*source{}, make(map[*source]bool, len(changed))
	for _, f := range changed {
		among[f] = true
	}
	for _, name := range s.names {
		f := s.files[name]
		data, err := s.memory.read(name)
		switch {
		case err != nil:
			if !errors.Is(err, fs.ErrNotExist) {
				s.log.Warn("the last good content of a file cannot be read; it has none", "file", f.path, "kept", s.memory.path(name), "error", err)
			}
			continue
		case f.data != nil && bytes.Equal(data, f.data) && !f.issues.HasErrors():
			f.good, f.data = f.now, nil
		default:
			good, issues := mesh.Decode(f.path, data, s.decodeOptions())
			if issues.HasErrors() {
				s.log.Warn("the last good content of a file is not good any more; it has none", "file", f.path, "error", issues.Err())
				continue
			}
			f.good = good
		}
		// Of two files the crash may have been between: only one of them had it.
		if i := slices.IndexFunc(f.good, func(r *mesh.Resource) bool { return owner[r.Identity()] != nil }); i >= 0 {
			s.log.Warn("the last good contents of two files have the same object; that of the second is left out",
				"object", f.good[i].Identity(), "first", owner[f.good[i].Identity()].path, "second", f.path)
			f.good = nil
			continue
		}
		for _, r := range f.good {
			owner[r.Identity()] = f
		}
		if !among[f] {
			changed = append(changed, f)
		}
	}
	return changed
}

// recallAll makes sources of everything that is kept, for a directory that cannot be
// read. It reports false where nothing is.
func (s *Store) recallAll() bool {
	names, err := Names(s.memory.dir)
	if err != nil || len(names) == 0 {
		return false
	}
	for _, name := range names {
		s.files[name] = s.source(name)
	}
	s.names = names
	all := s.recall(nil)
	if len(all) == 0 {
		s.files, s.names = map[string]*source{}, nil
		return false
	}
	s.putInForce(all)
	return true
}

// tellRecalled says what is not in force as it stands, after Open.
func (s *Store) tellRecalled() {
	for _, name := range s.names {
		switch f := s.files[name]; {
		case f.inForce():
		case len(f.good) > 0:
			s.log.Error("a file is not in force as it stands; what it held when it was last good is", "file", f.path, "objects", len(f.good))
		default:
			s.log.Error("nothing of a file is in force: it has never been good here", "file", f.path)
		}
	}
}

// forgetOthers has what is kept of files forgotten that went while no Store was open.
func (s *Store) forgetOthers() {
	kept, err := Names(s.memory.dir)
	if err != nil {
		return
	}
	for _, name := range kept {
		if s.files[name] == nil {
			f := s.source(name)
			f.gone = true
			s.memory.accepted([]*source{f})
		}
	}
}
