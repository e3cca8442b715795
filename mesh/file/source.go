package file

import (
	"bytes"
	"crypto/sha256"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/sluice-cni/sluice/mesh"
)

// source is one file: what it holds now and what of it is in force.
type source struct {
	name   string
	path   string
	stamp  stamp // when it was read
	seen   stamp // at the last look
	sum    [sha256.Size]byte
	read   bool
	missed bool             // it was gone at the last look
	gone   bool             // for good
	data   []byte           // what stands there, until the Store's memory has it; nil without one
	now    []*mesh.Resource // of the content that stands there
	issues mesh.Issues      // about that content

	good    []*mesh.Resource    // in force
	clashes mesh.Issues         // with other files, which keep the content out of force
	claimed [2][]*mesh.Resource // what claims has of it
}

func byName(a, b *source) int { return strings.Compare(a.name, b.name) }

// candidate is what would be in force if no other file minded.
func (f *source) candidate() []*mesh.Resource {
	if f.issues.HasErrors() {
		return nil
	}
	return f.now
}

// claims lists what claims has of the file, some of it twice.
func (f *source) claims() iter.Seq[mesh.Identity] {
	return func(yield func(mesh.Identity) bool) {
		for i, list := range f.claimed {
			if i > 0 && len(list) > 0 && len(f.claimed[0]) > 0 && &list[0] == &f.claimed[0][0] {
				return // the same list
			}
			for _, r := range list {
				if !yield(r.Identity()) {
					return
				}
			}
		}
	}
}

// difference gives what is in force of the file no more, and what is now.
func (f *source) difference() (removed []*mesh.Resource, added []mesh.Place) {
	before, now := f.claimed[0], f.good
	for i, r := range before {
		if i >= len(now) || now[i] != r {
			removed = append(removed, r)
		}
	}
	for i, r := range now {
		if i >= len(before) || before[i] != r {
			added = append(added, mesh.Place{Resource: r, Group: f.name, Position: i})
		}
	}
	return removed, added
}

// forget makes it the file of nothing.
func (f *source) forget() {
	f.now, f.good, f.issues, f.clashes, f.data, f.gone = nil, nil, nil, nil, nil, true
}

// stamp tells a file that was touched from one that was not.
type stamp struct {
	size, modified, changed int64
	inode, device           uint64
}

func stampOf(info fs.FileInfo) stamp {
	out := stamp{size: info.Size(), modified: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		out.changed = st.Ctim.Nano()
		out.inode, out.device = st.Ino, st.Dev
	}
	return out
}

// Names lists the files of a directory that hold resources, in order. Hidden files are editors'
// and our own; those that begin with two dots are a ConfigMap mount's.
func Names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if isResourceFile(e.Name()) && !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil // ReadDir sorts
}

func isResourceFile(name string) bool {
	if strings.HasPrefix(name, ".") {
		return false
	}
	return slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name))
}

// outcome is what a look at a file found.
type outcome int

const (
	same      outcome = iota
	different         // it was read and holds something else now
	touched           // it changed a moment ago and is left for the next look
	gone
)

// refresh reads the file if it may have changed.
func (f *source) refresh(dirty, cautious, remembered bool, opts mesh.DecodeOptions) outcome {
	info, err := os.Stat(f.path)
	if err != nil {
		return f.unreadable(err)
	}
	f.missed = false
	now := stampOf(info)
	if info.IsDir() {
		if itself, err := os.Lstat(f.path); err != nil || itself.IsDir() {
			return gone
		}
		return same // a link to one
	}
	if f.read && !dirty && now == f.stamp {
		return same
	}
	if cautious && !dirty && now != f.seen {
		f.seen = now
		return touched
	}
	data, err := readFile(f.path)
	if err != nil {
		return f.unreadable(err)
	}
	if after, err := os.Stat(f.path); err != nil || stampOf(after) != now {
		return touched // written to meanwhile: data may be half of it
	}
	sum := sha256.Sum256(data)
	f.stamp, f.seen = now, now
	if f.read && sum == f.sum {
		return same
	}
	f.read, f.sum = true, sum
	if f.data = nil; remembered {
		f.data = data
	}
	before := f.now
	f.now, f.issues = mesh.Decode(f.path, data, opts)
	for i, r := range f.now { // those that are as they were stay the same to everybody
		if i < len(before) && before[i].Same(r) {
			f.now[i] = before[i]
		}
	}
	return different
}

// unreadable keeps what the file held.
func (f *source) unreadable(err error) outcome {
	if _, err := os.Lstat(f.path); os.IsNotExist(err) {
		return gone
	}
	issue := mesh.Issue{File: f.path, Message: "cannot be read (" + reason(err) + "); correct or remove the file"}
	if len(f.issues) == 1 && f.issues[0] == issue {
		return same
	}
	f.read, f.stamp, f.now, f.data, f.issues = false, stamp{}, nil, nil, mesh.Issues{issue}
	return different
}

func reason(err error) string {
	if pathErr, ok := err.(*fs.PathError); ok {
		return pathErr.Err.Error()
	}
	return err.Error()
}

// settle decides what each file has in force: its content as it stands, or if
// that has errors or clashes with another file, what it had before.
func settle(files []*source) {
	candidate := make(map[*source][]*mesh.Resource, len(files))
	fresh := make(map[*source]bool, len(files))
	for _, f := range files {
		f.clashes = nil
		fresh[f] = (f.read || f.gone) && !f.issues.HasErrors()
		candidate[f] = f.good
		if fresh[f] {
			candidate[f] = f.now
		}
	}
	// Each round takes one file back to what it had before, where there were no
	// clashes, so the rounds end.
	for {
		loser, clashes := firstClash(files, candidate, fresh)
		if loser == nil {
			break
		}
		loser.clashes = clashes
		candidate[loser], fresh[loser] = loser.good, false
	}
	for _, f := range files {
		f.good = candidate[f]
	}
}

// firstClash finds a file that brings in an object which another file has. The one
// that had it before keeps it, else the first by name.
func firstClash(files []*source, candidate map[*source][]*mesh.Resource, fresh map[*source]bool) (*source, mesh.Issues) {
	type holder struct {
		file     *source
		resource *mesh.Resource
	}
	holders := make(map[mesh.Identity]holder)
	for _, f := range files {
		for _, r := range candidate[f] {
			other, taken := holders[r.Identity()]
			if !taken {
				holders[r.Identity()] = holder{f, r}
				continue
			}
			winner, loser := other, holder{f, r}
			if fresh[winner.file] && (!fresh[loser.file] || holds(loser.file, r.Identity()) && !holds(winner.file, r.Identity())) {
				winner, loser = loser, winner
			}
			return loser.file, clashesWith(loser.file, winner.file, candidate)
		}
	}
	return nil, nil
}

func holds(f *source, id mesh.Identity) bool {
	return slices.ContainsFunc(f.good, func(r *mesh.Resource) bool { return r.Identity() == id })
}

// clashesWith lists all that one file has in common with another.
func clashesWith(loser, winner *source, candidate map[*source][]*mesh.Resource) mesh.Issues {
	has := make(map[mesh.Identity]*mesh.Resource)
	for _, r := range candidate[winner] {
		has[r.Identity()] = r
	}
	var out mesh.Issues
	for _, r := range candidate[loser] {
		if other := has[r.Identity()]; other != nil {
			out = append(out, mesh.DuplicateIssue(r, other))
		}
	}
	return out
}

// isBlank says whether a file holds nothing but blanks, comments and markers.
func isBlank(data []byte) bool {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	for line := range bytes.Lines(data) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && string(line) != "---" && string(line) != "..." {
			return false
		}
	}
	return true
}
