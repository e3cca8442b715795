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
	"os"
	"slices"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/inforce"
)

// Options says how to read a directory.
type Options struct {
	mesh.Options
	// Namespace is that of objects which name none; default "default".
	Namespace string
	// Remember is a directory, of this Store's only or of those that follow one another,
	// where the last good content of each file is kept; "" keeps nothing. With it Open
	// refuses no file: one that is broken has in force what it had before, or nothing
	// where it never was good, and Log says so. A directory of resources that cannot be
	// read has all that is kept in force.
	Remember string
	// Log receives what is wrong with a file, once per change; nil: slog.Default().
	Log *slog.Logger
}

// Store is a directory in force. The unit of acceptance is the file: one with any
// error keeps its last good content, the others go on. There is a Snapshot from Open on,
// and a new one for each change while Run runs.
type Store struct {
	state
	dir  string
	opts Options
	log  *slog.Logger

	// Only Open and Run touch these.
	files   map[string]*source
	names   []string // of files, in order
	claims  claims
	index   *mesh.Index
	missing bool   // the directory was gone at the last look
	looked  string // a crowd's last file that a poll looked at
	memory  memory

	reassign chan struct{} // has room for one

	mu       sync.Mutex             // taken before that of state, whose errors are those of said
	said     map[string]mesh.Issues // about each file that there is something to say about
	together mesh.Issues            // what the resources mean together, by the last check
	reviewed uint64                 // the generation of which that is so
}

type state = inforce.State

// Open reads the directory. Any error in any file is an error here, unless there is
// Options.Remember: there is no last good content to go on with. It lists them all.
func Open(dir string, opts Options) (*Store, error) {
	s := &Store{
		dir: dir, opts: opts, log: cmp.Or(opts.Log, slog.Default()),
		files: make(map[string]*source), claims: newClaims(), index: mesh.NewIndex(opts.Options), said: make(map[string]mesh.Issues),
		memory: memory{dir: opts.Remember}, reassign: make(chan struct{}, 1),
	}
	if err := s.memory.open(); err != nil {
		return nil, err
	}
	err := s.open()
	if s.memory.dir == "" {
		if err == nil {
			err = s.Issues().Err()
		}
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	if err != nil {
		if s.Snapshot() != nil || !s.recallAll() {
			return nil, err
		}
		s.note(err)
		return s, nil
	}
	s.tellRecalled()
	s.forgetOthers()
	s.keep(time.Now())
	return s, nil
}

// open is the first look at the directory.
func (s *Store) open() error {
	if err := checkDirectory(s.dir); err != nil {
		return err
	}
	unlock, err := lockShared(s.dir)
	if err != nil {
		return err
	}
	defer unlock()
	_, err = s.reload(look{list: true, every: true})
	return err
}

// Issues is everything there is to say about the files as they stand.
func (s *Store) Issues() mesh.Issues {
	s.check()
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.together)
	for _, issues := range s.said {
		all = append(all, issues...)
	}
	all.Sort()
	return all
}

func (s *Store) decodeOptions() mesh.DecodeOptions {
	return mesh.DecodeOptions{Namespace: s.opts.Namespace}
}

// putInForce settles what changed files, and those they have to do with, contribute,
// makes the snapshot and tells everybody.
func (s *Store) putInForce(changed []*source) {
	affected := s.claims.around(changed)
	settle(affected)
	var removed []*mesh.Resource
	var added []mesh.Place
	for _, f := range affected {
		out, in := f.difference()
		removed, added = append(removed, out...), append(added, in...)
		s.claims.renew(f)
	}
	snapshot := s.index.Change(removed, added)

	s.mu.Lock()
	defer s.mu.Unlock()
	errors := 0
	for _, f := range affected {
		errors += s.say(f)
	}
	inforce.CountErrors(&s.state, errors)
	s.memory.accepted(affected)
	inforce.Publish(&s.state, snapshot)
}

// Reassign has Run ask Options.Virtual again, which gives hosts other addresses than
// before (ledger.OpenWaiting), and put in force what it says. It does not wait.
func (s *Store) Reassign() {
	select {
	case s.reassign <- struct{}{}:
	default:
	}
}

// assignAgain is Run's part of Reassign.
func (s *Store) assignAgain() {
	if snapshot, moved := s.index.Reassign(); moved {
		inforce.Publish(&s.state, snapshot)
	}
}

// say replaces what is said about a file, logs what is new of it, and returns how many
// errors that are more.
func (s *Store) say(f *source) (errors int) {
	before := s.said[f.name]
	now := slices.Concat(f.issues, f.clashes)
	if len(before)+len(now) == 0 {
		return 0
	}
	s.logNew(before, now)
	s.said[f.name] = now
	if len(now) == 0 {
		delete(s.said, f.name)
	}
	return len(now.Of(mesh.Error)) - len(before.Of(mesh.Error))
}

// check looks at the resources in force together, unless that was done, and logs what
// is new.
func (s *Store) check() {
	s.mu.Lock()
	snapshot, generation := inforce.Latest(&s.state)
	done := s.reviewed == generation
	s.mu.Unlock()
	if done {
		return
	}
	issues := snapshot.Check()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reviewed < generation {
		s.logNew(s.together, issues)
		s.together, s.reviewed = issues, generation
	}
}

// logNew logs what was not said before.
func (s *Store) logNew(before, now mesh.Issues) {
	told := make(map[mesh.Issue]bool, len(before))
	for _, i := range before {
		told[tellable(i)] = true
	}
	levels := map[mesh.Severity]slog.Level{mesh.Error: slog.LevelError, mesh.Warning: slog.LevelWarn, mesh.Notice: slog.LevelInfo}
	first := s.Snapshot() == nil
	for _, i := range now {
		if !told[tellable(i)] && !(first && i.Severity == mesh.Error && s.memory.dir == "") { // which Open returns
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
