package file

import (
	"bytes"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-cni/sluice/internal/yamltext"
	"github.com/sluice-cni/sluice/mesh"
)

// cut takes objects out of a file's text and leaves every other byte as it is.
func cut(path string, data []byte, gone map[mesh.Identity]bool) ([]byte, error) {
	objects := mesh.Locate(path, data, mesh.DecodeOptions{})
	if !slices.ContainsFunc(objects, func(o mesh.Located) bool { return gone[o.Identity] }) {
		return data, nil
	}
	var out []byte
	done := 0 // of data
	for _, group := range byDocument(objects) {
		extent := group[0].Extent
		var items []int
		for _, o := range group {
			if gone[o.Identity] {
				items = append(items, o.Extent.Item)
			}
		}
		switch {
		case len(items) == 0:
		case len(items) == len(group) && !holdsOthers(data[extent.Start:extent.End], group):
			out = append(out, data[done:extent.Start]...)
			done = endOfContent(data, extent)
		default:
			rest, err := cutItems(data[extent.Start:extent.End], items)
			if err != nil {
				return nil, cannotCut(path, group, gone)
			}
			out = append(append(out, data[done:extent.Start]...), rest...)
			done = extent.End
		}
	}
	out = append(out, data[done:]...)
	if !onlyTheseGone(path, data, out, gone) {
		return nil, cannotCut(path, objects, gone)
	}
	return out, nil
}

func cannotCut(path string, objects []mesh.Located, gone map[mesh.Identity]bool) error {
	i := slices.IndexFunc(objects, func(o mesh.Located) bool { return gone[o.Identity] })
	return fmt.Errorf("%s: cannot be cut out of %s without touching the others; take it out by hand", objects[i].Identity, objects[i].Source.Place())
}

// byDocument groups the objects of each document.
func byDocument(objects []mesh.Located) [][]mesh.Located {
	var out [][]mesh.Located
	for _, o := range objects {
		if n := len(out); n > 0 && out[n-1][0].Extent.Start == o.Extent.Start {
			out[n-1] = append(out[n-1], o)
			continue
		}
		out = append(out, []mesh.Located{o})
	}
	return out
}

// holdsOthers says whether a List has more items than the objects that were found in
// it: some may be of kinds that are not followed.
func holdsOthers(text []byte, group []mesh.Located) bool {
	if group[0].Extent.Item < 0 {
		return false
	}
	var root yaml.Node
	if yaml.Unmarshal(text, &root) != nil {
		return false
	}
	items := itemsOf(&root)
	return items != nil && len(items.Content) > len(group)
}

// endOfContent leaves the comments at the end of a document alone: they usually
// speak about the next one.
func endOfContent(data []byte, extent mesh.Extent) int {
	if extent.End == len(data) {
		return extent.End
	}
	end, pos := extent.Start, extent.Start
	for line := range bytes.Lines(data[extent.Start:extent.End]) {
		pos += len(line)
		if text := bytes.TrimSpace(line); len(text) > 0 && line[0] != '#' {
			end = pos
		}
	}
	return end
}

// cutItems takes items out of a List's text.
func cutItems(text []byte, items []int) ([]byte, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, err
	}
	sequence := itemsOf(&root)
	if sequence == nil {
		return nil, fmt.Errorf("no items")
	}
	out := slices.Clone(text)
	for _, i := range slices.Backward(items) {
		start, end := yamltext.Item(out, sequence, i)
		if start < 0 || end < start {
			return nil, fmt.Errorf("item %d has no clear bounds", i)
		}
		out = slices.Delete(out, start, end)
	}
	return out, nil
}

func itemsOf(root *yaml.Node) *yaml.Node {
	if len(root.Content) == 0 {
		return nil
	}
	if items := yamltext.Value(root.Content[0], "items"); items != nil && items.Kind == yaml.SequenceNode {
		return items
	}
	return nil
}

// onlyTheseGone makes sure of a cut: what stays means what it meant.
func onlyTheseGone(path string, before, after []byte, gone map[mesh.Identity]bool) bool {
	was, _ := mesh.Decode(path, before, mesh.DecodeOptions{})
	is, _ := mesh.Decode(path, after, mesh.DecodeOptions{})
	was = slices.DeleteFunc(was, func(r *mesh.Resource) bool { return gone[r.Identity()] })
	same := func(a, b *mesh.Resource) bool { return a.Identity() == b.Identity() && proto.Equal(a.Spec, b.Spec) }
	if !slices.EqualFunc(was, is, same) {
		return false
	}
	left := mesh.Locate(path, after, mesh.DecodeOptions{})
	return !slices.ContainsFunc(left, func(o mesh.Located) bool { return gone[o.Identity] })
}
