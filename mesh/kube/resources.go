package kube

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/sluice-cni/sluice/internal/spread"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/mesh"
)

// kinds are those of resources.
var kinds = []kubeapi.Kind{kubeapi.ServiceEntries, kubeapi.VirtualServices, kubeapi.DestinationRules, kubeapi.Sidecars}

// kindOf is a kind of resources, or a Service, by its name.
func kindOf(name string) (k kubeapi.Kind) {
	for _, one := range append(kinds[:len(kinds):len(kinds)], kubeapi.Services) {
		if one.Name == name {
			k = one
		}
	}
	return k
}

// where names an object in messages, as a file would be.
func where(k kubeapi.Kind, key kubeapi.Key) string { return k.Resource + "/" + key.String() }

// place ranks an object as Istio does: the older one first, then by name.
func place(o kubeapi.Object, r *mesh.Resource) mesh.Place {
	return mesh.Place{Resource: r, Group: o.Created.UTC().Format(time.RFC3339) + "/" + o.Key.String()}
}

// decoded is an object, read.
type decoded struct {
	resource *mesh.Resource // nil where there are errors
	issues   mesh.Issues
}

func decode(k kubeapi.Kind, o kubeapi.Object) decoded {
	all, issues := mesh.Decode(where(k, o.Key), o.JSON, mesh.DecodeOptions{Namespace: o.Namespace, Unplaced: true})
	if !issues.HasErrors() && len(all) != 1 {
		issues = append(issues, mesh.Issue{
			Severity: mesh.Error, File: where(k, o.Key), Kind: k.Name, Namespace: o.Namespace, Name: o.Name,
			Message: fmt.Sprintf("is %d objects and not one; write each by itself", len(all)),
		})
	}
	issues = first(issues)
	if issues.HasErrors() {
		return decoded{nil, issues}
	}
	return decoded{all[0], issues}
}

// mostIssues bounds what is known to be wrong with one object, which may be tens of thousands
// of things.
const mostIssues = 100

// first are the issues of an object that are kept, errors before others.
func first(all mesh.Issues) mesh.Issues {
	if len(all) <= mostIssues {
		return all
	}
	slices.SortStableFunc(all, func(a, b mesh.Issue) int { return cmp.Compare(a.Severity, b.Severity) })
	rest := all[0]
	rest.Severity, rest.Field, rest.Value, rest.Message = mesh.Notice, "", "", fmt.Sprintf("and %d more; see to these first", len(all)-mostIssues)
	return append(slices.Clone(all[:mostIssues]), rest)
}

// decodeAll reads many on as many processors as there are.
func decodeAll(k kubeapi.Kind, objects []kubeapi.Object) []decoded {
	out := make([]decoded, len(objects))
	spread.Over(len(objects), 100, func(i int) { out[i] = decode(k, objects[i]) })
	return out
}

// resources takes in what changed of a kind of Istio's.
func (s *Store) resources(d kubeapi.Delta) (c change) {
	for i, now := range decodeAll(d.Kind, d.Changed) {
		o := d.Changed[i]
		at := id{d.Kind, o.Key}
		if now.resource != nil {
			s.accept(&c, at, o, now.resource)
			c.verdicts = append(c.verdicts, verdict{at, append(now.issues, s.unread(now.resource)...), false})
			continue
		}
		before := s.objects[at]
		if before != nil && before.uid != o.UID && before.good != nil {
			c.removed = append(c.removed, before.good) // of one that was deleted: this one never was any good
			before.good = nil
		} else {
			s.feed.Keep(d.Kind, o.Key)
		}
		before = s.object(at, o)
		c.verdicts = append(c.verdicts, verdict{at, now.issues, before.good != nil})
	}
	for _, key := range d.Gone {
		s.forget(&c, id{d.Kind, key})
	}
	return c
}

// unread warns of files that a resource names and that are not read.
func (s *Store) unread(r *mesh.Resource) (out mesh.Issues) {
	if s.opts.Files == nil {
		return nil
	}
	for _, f := range r.Files() {
		if err := s.opts.Files(f.Field, f.Path); err != nil {
			out = append(out, r.Issue(mesh.Warning, f.Field, f.Path, err.Error()))
		}
	}
	return out
}

// object is what is known of one, which is new perhaps.
func (s *Store) object(at id, o kubeapi.Object) *object {
	known := s.objects[at]
	if known == nil {
		known = &object{}
		s.objects[at] = known
	}
	known.uid, known.generation = o.UID, o.Generation
	return known
}

// accept puts a resource in force as what an object is now; nil: nothing of it is.
func (s *Store) accept(c *change, at id, o kubeapi.Object, r *mesh.Resource) {
	known := s.objects[at]
	again := known != nil && known.uid != o.UID // which was deleted and made anew: it is younger
	known = s.object(at, o)
	if known.good != nil && r != nil && !again && known.good.Same(r) {
		return // to everybody it is as it was
	}
	if known.good != nil {
		c.removed = append(c.removed, known.good)
	}
	if known.good = r; r != nil {
		c.added = append(c.added, place(o, r))
	}
}

// forget takes an object out of force.
func (s *Store) forget(c *change, at id) {
	known := s.objects[at]
	if known == nil {
		return
	}
	if known.good != nil {
		c.removed = append(c.removed, known.good)
	}
	delete(s.objects, at)
	c.verdicts = append(c.verdicts, verdict{id: at})
}
