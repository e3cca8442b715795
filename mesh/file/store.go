// Package file keeps mesh resources in a directory of YAML and JSON files: Store
// follows it and turns every change into a new mesh.Snapshot, Directory writes to
// it without a reader ever seeing half of what was written.
//
//	store, err := file.Open("/etc/sluice", file.Options{})
//	store.Subscribe(server.Update)
//	err = store.Run(ctx)
package file

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/sluice-cni/sluice/mesh"
)

// Options says how to read a directory.
type Options struct {
	mesh.Options
	// Namespace is that of objects which name none; default "default".
	Namespace string
	// Log receives what is wrong with a file, once per change; nil: slog.Default().
	Log *slog.Logger
}

// Store is a directory in force. The unit of acceptance is the file: one with any
// error keeps its last good content, the others go on.
type Store struct {
	dir  string
	opts Options
	log  *slog.Logger

	files   map[string]*source // by name; only Open and Run touch it
	missing bool               // the directory was gone at the last look

	mu          sync.Mutex
	snapshot    *mesh.Snapshot
	issues      mesh.Issues
	subscribers []func(*mesh.Snapshot, mesh.Issues)
}

// Open reads the directory. Any error in any file is an error here, since there is
// no last good content to go on with; it lists them all.
func Open(dir string, opts Options) (*Store, error) {
	s := &Store{dir: dir, opts: opts, log: cmp.Or(opts.Log, slog.Default()), files: make(map[string]*source)}
	if err := checkDirectory(dir); err != nil {
		return nil, err
	}
	if _, err := s.reload(look{}); err != nil {
		return nil, err
	}
	if err := s.Issues().Err(); err != nil {
		return nil, err
	}
	return s, nil
}

// Snapshot is what is in force.
func (s *Store) Snapshot() *mesh.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshot
}

// Issues is everything there is to say about the files as they stand.
func (s *Store) Issues() mesh.Issues {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.issues)
}

// Subscribe calls update with the snapshot in force and, while Run runs, with each
// new one. Calls come one at a time; update must not call the Store.
func (s *Store) Subscribe(update func(*mesh.Snapshot)) {
	s.SubscribeWithIssues(func(snapshot *mesh.Snapshot, _ mesh.Issues) { update(snapshot) })
}

// SubscribeWithIssues is Subscribe for who also wants to know what is wrong with the
// files as they stand, and therefore not in the snapshot. update must not change the
// issues.
func (s *Store) SubscribeWithIssues(update func(*mesh.Snapshot, mesh.Issues)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribers = append(s.subscribers, update)
	update(s.snapshot, s.issues)
}

// look says how to look at the directory.
type look struct {
	// dirty names files to read again even if they seem the same.
	dirty map[string]bool
	// cautious leaves a file that was just touched for the next look, since it
	// may still be written to.
	cautious bool
}

// reload looks at every file and puts in force what changed. unsettled says that
// some file was left for the next look.
func (s *Store) reload(how look) (unsettled bool, err error) {
	unlock, err := lockShared(s.dir)
	if err != nil {
		return false, err
	}
	defer unlock()
	names, err := list(s.dir)
	if err != nil {
		return false, err
	}
	changed := s.snapshot == nil
	for name := range s.files {
		if _, found := slices.BinarySearch(names, name); !found {
			delete(s.files, name)
			changed = true
		}
	}
	for _, name := range names {
		if s.files[name] == nil {
			s.files[name] = &source{path: filepath.Join(s.dir, name)}
		}
		switch s.files[name].refresh(how.dirty[name], how.cautious, s.decodeOptions()) {
		case different:
			changed = true
		case touched:
			unsettled = true
		}
	}
	if changed {
		s.putInForce()
	}
	return unsettled, nil
}

func (s *Store) decodeOptions() mesh.DecodeOptions {
	return mesh.DecodeOptions{Namespace: s.opts.Namespace}
}

// putInForce settles what each file contributes, builds the snapshot and tells
// everybody.
func (s *Store) putInForce() {
	sources := make([]*source, 0, len(s.files))
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		sources = append(sources, s.files[name])
	}
	settle(sources)
	var resources []*mesh.Resource
	var issues mesh.Issues
	for _, f := range sources {
		resources = append(resources, f.good...)
		issues = append(issues, f.issues...)
		issues = append(issues, f.clashes...)
	}
	snapshot, more := mesh.Build(resources, s.opts.Options)
	issues = append(issues, more...)
	issues.Sort()

	s.mu.Lock()
	defer s.mu.Unlock()
	s.logNew(issues)
	s.snapshot, s.issues = snapshot, issues
	for _, update := range s.subscribers {
		update(snapshot, issues)
	}
}

// logNew logs what was not said before.
func (s *Store) logNew(issues mesh.Issues) {
	told := make(map[mesh.Issue]bool, len(s.issues))
	for _, i := range s.issues {
		told[tellable(i)] = true
	}
	levels := map[mesh.Severity]slog.Level{mesh.Error: slog.LevelError, mesh.Warning: slog.LevelWarn, mesh.Notice: slog.LevelInfo}
	for _, i := range issues {
		if first := s.snapshot == nil; !told[tellable(i)] && !(first && i.Severity == mesh.Error) { // which Open returns
			s.log.Log(context.Background(), levels[i.Severity], i.String())
		}
	}
}

// tellable is an issue without what makes it no news: a notice whose line moved
// says nothing that its author does not know, an error that moved does.
func tellable(i mesh.Issue) mesh.Issue {
	if i.Severity == mesh.Notice {
		i.Line, i.Column = 0, 0
	}
	return i
}

func checkDirectory(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case os.IsNotExist(err):
		return &DirectoryError{Dir: dir, Reason: "does not exist; make it, or name another"}
	case err != nil:
		return &DirectoryError{Dir: dir, Reason: err.Error()}
	case !info.IsDir():
		return &DirectoryError{Dir: dir, Reason: "not a directory; name the directory that holds the files"}
	}
	return nil
}

// DirectoryError is about the directory as a whole.
type DirectoryError struct{ Dir, Reason string }

func (e *DirectoryError) Error() string { return `config "` + e.Dir + `": ` + e.Reason }
