// Package manifest reads what people hand in to have resources created, applied or
// deleted, and has the words for what became of it, wherever the resources are kept.
package manifest

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-cni/sluice/mesh"
)

// Stream is a text with objects to write. Name is how issues call it; Namespace
// is that of objects which name none.
type Stream struct {
	Name, Namespace string
	Data            []byte
}

// Part is a stream and what it holds.
type Part struct {
	Stream
	Resources []*mesh.Resource
}

// Decode reads streams. One without any object is an error.
func Decode(streams []Stream) ([]Part, mesh.Issues, error) {
	var parts []Part
	var issues mesh.Issues
	var empty []error
	for _, in := range streams {
		resources, more := mesh.Decode(in.Name, in.Data, mesh.DecodeOptions{Namespace: in.Namespace})
		issues = append(issues, more...)
		if len(resources) == 0 && !more.HasErrors() {
			empty = append(empty, errors.New(in.Name+": holds no object; write at least one"))
		}
		parts = append(parts, Part{in, resources})
	}
	issues.Sort()
	return parts, issues, errors.Join(empty...)
}

// Change is what happened to one object.
type Change struct {
	mesh.Identity
	Done string // created, configured, unchanged or deleted
}

// ExistsError names the objects that were to be created and are there already.
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

// Equal says whether two resources say the same. That they say it in another version of
// the API, all of which have one shape, makes no difference to what they mean.
func Equal(a, b *mesh.Resource) bool {
	return a != nil && b != nil && proto.Equal(a.Spec, b.Spec) && maps.Equal(a.Labels, b.Labels) && maps.Equal(a.Annotations, b.Annotations)
}

// Respelled is a resource as it is read once it is written in today's spelling (mesh.Normal).
func Respelled(r *mesh.Resource) (*mesh.Resource, error) {
	text, _ := mesh.Normal(r)
	all, issues := mesh.Decode(r.Source.File, text, mesh.DecodeOptions{})
	if len(all) != 1 {
		return nil, fmt.Errorf("%s: cannot be written in today's spelling: %w", r.Identity(), issues)
	}
	return all[0], nil
}

// News builds resources as they would be and as they are, and gives what there is to say
// of the first that is not said of the second.
func News(would, are []*mesh.Resource, opts mesh.Options) mesh.Issues {
	_, issues := mesh.Build(would, opts)
	_, before := mesh.Build(are, opts)
	said := make(map[mesh.Issue]bool, len(before))
	for _, i := range before {
		said[i] = true
	}
	var news mesh.Issues
	for _, i := range issues {
		if !said[i] {
			news = append(news, i)
		}
	}
	return news
}
