package file

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/internal/spread"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/manifest"
)

// Directory writes to, and reads from, a directory of resources. What one call
// changes, readers see all of or nothing of, and calls of several processes come
// one after the other. Files that people put there by hand count like any other.
type Directory struct {
	Path string
	// Options are what the resources are checked under.
	Options mesh.Options
	// DryRun has everything checked and said, and nothing written.
	DryRun bool
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

// Create writes the objects of streams, all or none of them, each stream as it was
// typed into a file of its own. The issues are the streams'; with an error among
// them nothing is written.
func (d Directory) Create(streams ...manifest.Stream) ([]manifest.Change, mesh.Issues, error) {
	return d.write(streams, func(t *transaction, parts []manifest.Part) ([]manifest.Change, error) {
		exists, hidden := &manifest.ExistsError{}, &HiddenError{}
		var changes []manifest.Change
		for _, p := range parts {
			for _, r := range p.Resources {
				if at, ok := t.find(r.Identity()); ok {
					exists.Objects = append(exists.Objects, at.Located)
				} else {
					t.mayHide(r.Identity(), hidden)
				}
				changes = append(changes, manifest.Change{Identity: r.Identity(), Done: "created"})
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
func (d Directory) Apply(streams ...manifest.Stream) ([]manifest.Change, mesh.Issues, error) {
	return d.write(streams, func(t *transaction, parts []manifest.Part) ([]manifest.Change, error) {
		var changes []manifest.Change
		var replaced []mesh.Identity
		unchanged := make(map[mesh.Identity]bool)
		hidden := &HiddenError{}
		for _, p := range parts {
			for _, r := range p.Resources {
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
				changes = append(changes, manifest.Change{Identity: r.Identity(), Done: done})
			}
		}
		if len(hidden.Objects) > 0 {
			return nil, hidden
		}
		return changes, t.apply(parts, replaced, unchanged)
	})
}

// write checks streams together with what is there and lets change write them.
func (d Directory) write(streams []manifest.Stream, change func(*transaction, []manifest.Part) ([]manifest.Change, error)) ([]manifest.Change, mesh.Issues, error) {
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
	if err == nil && !d.DryRun {
		err = t.commit()
	}
	if err != nil {
		return nil, issues, err
	}
	return changes, issues, nil
}

func decode(streams []manifest.Stream) ([]manifest.Part, mesh.Issues, error) {
	parts, issues, err := manifest.Decode(streams)
	for _, p := range parts {
		issues = append(issues, Missing(p.Resources)...)
	}
	issues.Sort()
	return parts, issues, err
}

// Delete removes those of the objects that are there. The others are named in a
// NotFoundError or HiddenError, next to what was done.
func (d Directory) Delete(objects []mesh.Identity) ([]manifest.Change, error) {
	t, err := d.begin()
	if err != nil {
		return nil, err
	}
	defer t.end()
	missing, hidden := &manifest.NotFoundError{}, &HiddenError{}
	var present []mesh.Identity
	var changes []manifest.Change
	seen := make(map[mesh.Identity]bool)
	for _, id := range objects {
		if _, ok := t.find(id); !ok {
			if !t.mayHide(id, hidden) {
				missing.Objects = append(missing.Objects, id)
			}
		} else if !seen[id] {
			seen[id] = true
			present = append(present, id)
			changes = append(changes, manifest.Change{Identity: id, Done: "deleted"})
		}
	}
	if err := t.remove(present); err != nil {
		return nil, err
	}
	if !d.DryRun {
		if err := t.commit(); err != nil {
			return nil, err
		}
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
	names, err := Names(d.Path)
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
