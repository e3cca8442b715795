package file

import (
	"maps"
	"path/filepath"
	"slices"

	"github.com/sluice-cni/sluice/internal/spread"
)

// look says what of the directory to look at.
type look struct {
	dirty map[string]bool // these files: they are read again even if they seem the same
	names map[string]bool // and these
	list  bool            // see which files there are
	every bool            // and look at each; else at new ones only
	part  int             // of the others, at so many in turn
	// cautious leaves a file that is not dirty and was just touched for the next look,
	// since it may still be written to.
	cautious bool
}

// reload looks and puts in force what changed. It names the files that were left for
// the next look. The caller holds the directory's lock.
func (s *Store) reload(how look) (unsettled []string, err error) {
	visits, err := s.visits(how)
	if err != nil {
		return nil, err
	}
	outcomes := make([]outcome, len(visits))
	spread.Over(len(visits), 2, func(i int) {
		f := visits[i]
		outcomes[i] = f.refresh(how.dirty[f.name], how.cautious, s.memory.dir != "", s.decodeOptions())
	})
	changed, unsettled := s.takeIn(visits, outcomes, how)
	if s.Snapshot() == nil && s.memory.dir != "" {
		changed = s.recall(changed)
	}
	if len(changed) > 0 || s.Snapshot() == nil {
		s.putInForce(changed)
	}
	return unsettled, nil
}

// visits lists the files to look at.
func (s *Store) visits(how look) ([]*source, error) {
	names := make(map[string]bool)
	maps.Copy(names, how.dirty)
	maps.Copy(names, how.names)
	if how.list {
		if err := s.list(how.every, names); err != nil {
			return nil, err
		}
	}
	visits := make([]*source, 0, len(names)+how.part)
	for name := range names {
		visits = append(visits, s.source(name))
	}
	for _, name := range s.nextPart(how.part) {
		if !names[name] {
			visits = append(visits, s.files[name])
		}
	}
	return visits, nil
}

// takeIn says which of the files that were looked at changed, and which are left for the
// next look; what came is known from now on, and what went no longer.
func (s *Store) takeIn(visits []*source, outcomes []outcome, how look) (changed []*source, unsettled []string) {
	came, went := false, false
	for i, f := range visits {
		_, known := s.files[f.name]
		switch outcomes[i] {
		case gone:
			// It may be on its way to another name, which was not listed yet or is left for
			// the next look: what it holds stays in force until then.
			if how.cautious && !how.dirty[f.name] && known && !f.missed {
				f.missed = true
				unsettled = append(unsettled, f.name)
				continue
			}
			if known {
				delete(s.files, f.name)
				f.forget()
				went = true
				changed = append(changed, f)
			}
		case different:
			changed = append(changed, f)
			fallthrough
		default:
			if outcomes[i] == touched {
				unsettled = append(unsettled, f.name)
			}
			if !known {
				s.files[f.name] = f
				s.names = append(s.names, f.name)
				came = true
			}
		}
	}
	if went {
		s.names = slices.DeleteFunc(s.names, func(name string) bool { return s.files[name] == nil })
	}
	if came {
		slices.Sort(s.names)
	}
	return changed, unsettled
}

// list adds what a list of the directory gives to look at: every file, or those that
// came and those that went.
func (s *Store) list(every bool, names map[string]bool) error {
	found, err := Names(s.dir)
	if err != nil {
		return err
	}
	for _, name := range found {
		if every || s.files[name] == nil {
			names[name] = true
		}
	}
	for _, name := range s.names {
		if _, there := slices.BinarySearch(found, name); !there {
			names[name] = true
		}
	}
	return nil
}

// nextPart takes turns among the files.
func (s *Store) nextPart(n int) []string {
	if n == 0 || len(s.names) == 0 {
		return nil
	}
	from, found := slices.BinarySearch(s.names, s.looked)
	if found {
		from++
	}
	if from == len(s.names) {
		from = 0
	}
	part := s.names[from:min(from+n, len(s.names))]
	s.looked = part[len(part)-1]
	return part
}

// source is a file that is known, or one to be looked at for the first time.
func (s *Store) source(name string) *source {
	if f := s.files[name]; f != nil {
		return f
	}
	return &source{name: name, path: filepath.Join(s.dir, name)}
}
