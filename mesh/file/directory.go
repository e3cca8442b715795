package file

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/internal/spread"
	"github.com/sluice-cni/sluice/mesh"
)

// Directory writes to, and reads from, a directory of resources. What one call
// changes, readers see all of or nothing of, and calls of several processes come
// one after the other. Files that people put there by hand count like any other.
type Directory struct {
	Path string
	// Options are what the resources are checked under.
	Options mesh.Options
}

// Change is what happened to one object.
type Change struct {
	mesh.Identity
	Done string // created, configured, unchanged or deleted
}

// ExistsError names the objects that Create found there already.
type ExistsError struct{ Objects []mesh.Located }

func (e *ExistsError) Error() string {
	lines := make([]string, len(e.Objects))
	for i, o := range e.Objects {
		lines[i] = fmt.Sprintf("%s: exists already, in %s", o.Identity, o.Source.Place())
	}
	return strings.Join(lines, "\n")
}

// NotFoundError names the objects that were asked for and are not there.
type NotFoundError struct{ Objects []mesh.Identity }

func (e *NotFoundError) Error() string {
	lines := make([]string, len(e.Objects))
	for i, o := range e.Objects {
		lines[i] = o.String() + ": not found"
	}
	return strings.Join(lines, "\n")
}

// HiddenError names the objects that were not found but may stand in a part of a
// file that cannot be read, for each of which there is an issue.
type HiddenError struct {
	Objects []mesh.Identity
	Parts   []mesh.Issue
}

func (e *HiddenError) Error() string {
	lines := make([]string, len(e.Objects))
	for i, o := range e.Objects {
		part := e.Parts[i]
		lines[i] = fmt.Sprintf("%s: its name stands in %s:%d, which cannot be read (%s); correct or remove that file first", o, part.File, part.Line, part.Message)
	}
	return strings.Join(lines, "\n")
}

// Stream is a text with objects to write. Name is how issues call it; Namespace
// is that of objects which name none.
type Stream struct {
	Name, Namespace string
	Data            []byte
}

// Create writes the objects of streams, all or none of them, each stream as it was
// typed into a file of its own. The issues are the streams'; with an error among
// them nothing is written.
func (d Directory) Create(streams ...Stream) ([]Change, mesh.Issues, error) {
	return d.write(streams, func(t *transaction, parts []part) ([]Change, error) {
		exists, hidden := &ExistsError{}, &HiddenError{}
		var changes []Change
		for _, p := range parts {
			for _, r := range p.resources {
				if at, ok := t.find(r.Identity()); ok {
					exists.Objects = append(exists.Objects, at.Located)
				} else {
					t.mayHide(r.Identity(), hidden)
				}
				changes = append(changes, Change{r.Identity(), "created"})
			}
		}
		if len(exists.Objects) > 0 {
			return nil, exists
		}
		if len(hidden.Objects) > 0 {
			return nil, hidden
		}
		return changes, t.add(parts, nil)
	})
}

// Apply writes the objects of streams, all or none of them, over those that are
// there. What does not change stays where it is. The others move into a file of
// their stream's own, unless they are all that one file holds: then they stay in it.
func (d Directory) Apply(streams ...Stream) ([]Change, mesh.Issues, error) {
	return d.write(streams, func(t *transaction, parts []part) ([]Change, error) {
		var changes []Change
		var replaced []mesh.Identity
		unchanged := make(map[mesh.Identity]bool)
		hidden := &HiddenError{}
		for _, p := range parts {
			for _, r := range p.resources {
				at, there := t.find(r.Identity())
				done := "configured"
				switch {
				case !there:
					done = "created"
					t.mayHide(r.Identity(), hidden)
				case equal(t.resource(at), r):
					done = "unchanged"
					unchanged[r.Identity()] = true
				default:
					replaced = append(replaced, r.Identity())
				}
				changes = append(changes, Change{r.Identity(), done})
			}
		}
		if len(hidden.Objects) > 0 {
			return nil, hidden
		}
		return changes, t.apply(parts, replaced, unchanged)
	})
}

// part is a stream and what it holds.
type part struct {
	Stream
	resources []*mesh.Resource
}

// write checks streams together with what is there and lets change write them.
func (d Directory) write(streams []Stream, change func(*transaction, []part) ([]Change, error)) ([]Change, mesh.Issues, error) {
	parts, issues, err := decode(streams)
	if err != nil || issues.HasErrors() {
		return nil, issues, err
	}
	t, err := d.begin()
	if err != nil {
		return nil, issues, err
	}
	defer t.end()
	issues = append(issues, t.together(parts, d.Options)...)
	issues.Sort()
	if issues.HasErrors() { // an object in two streams
		return nil, issues, nil
	}
	changes, err := change(t, parts)
	if err == nil {
		err = t.commit()
	}
	if err != nil {
		return nil, issues, err
	}
	return changes, issues, nil
}

func decode(streams []Stream) ([]part, mesh.Issues, error) {
	var parts []part
	var issues mesh.Issues
	var empty []error
	for _, in := range streams {
		resources, more := mesh.Decode(in.Name, in.Data, mesh.DecodeOptions{Namespace: in.Namespace})
		issues = append(append(issues, more...), Missing(resources)...)
		if len(resources) == 0 && !more.HasErrors() {
			empty = append(empty, errors.New(in.Name+": holds no object; write at least one"))
		}
		parts = append(parts, part{in, resources})
	}
	issues.Sort()
	return parts, issues, errors.Join(empty...)
}

// Delete removes those of the objects that are there. The others are named in a
// NotFoundError or HiddenError, next to what was done.
func (d Directory) Delete(objects []mesh.Identity) ([]Change, error) {
	t, err := d.begin()
	if err != nil {
		return nil, err
	}
	defer t.end()
	missing, hidden := &NotFoundError{}, &HiddenError{}
	var present []mesh.Identity
	var changes []Change
	seen := make(map[mesh.Identity]bool)
	for _, id := range objects {
		if _, ok := t.find(id); !ok {
			if !t.mayHide(id, hidden) {
				missing.Objects = append(missing.Objects, id)
			}
		} else if !seen[id] {
			seen[id] = true
			present = append(present, id)
			changes = append(changes, Change{id, "deleted"})
		}
	}
	if err := t.remove(present); err != nil {
		return nil, err
	}
	if err := t.commit(); err != nil {
		return nil, err
	}
	var errs []error
	if len(missing.Objects) > 0 {
		errs = append(errs, missing)
	}
	if len(hidden.Objects) > 0 {
		errs = append(errs, hidden)
	}
	return changes, errors.Join(errs...)
}

// List gives every object that can be used, and what there is to say about the
// files.
func (d Directory) List() ([]*mesh.Resource, mesh.Issues, error) {
	if err := checkDirectory(d.Path); err != nil {
		return nil, nil, err
	}
	unlock, err := lockShared(d.Path)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	names, err := list(d.Path)
	if err != nil {
		return nil, nil, err
	}
	found := make([][]*mesh.Resource, len(names))
	said := make([]mesh.Issues, len(names))
	spread.Over(len(names), 2, func(i int) {
		path := filepath.Join(d.Path, names[i])
		data, err := readFile(path)
		if err != nil {
			said[i] = mesh.Issues{{File: path, Message: "cannot be read (" + reason(err) + "); correct or remove the file"}}
			return
		}
		found[i], said[i] = mesh.Decode(path, data, mesh.DecodeOptions{})
	})
	return slices.Concat(found...), slices.Concat(said...), nil
}
