package yamltext

import "go.yaml.in/yaml/v3"

// Value is what a mapping has for a key, nil for none, by aliases and merge keys (<<) too:
// what stands in the mapping wins over what is merged, and there the first. The document
// must be one that yaml can decode, so that no anchor contains itself.
func Value(mapping *yaml.Node, name string) *yaml.Node {
	mapping = Follow(mapping)
	if _, v := Field(mapping, name); v != nil {
		return Follow(v)
	}
	_, merged := Field(mapping, "<<")
	merged = Follow(merged)
	switch {
	case merged == nil:
		return nil
	case merged.Kind != yaml.SequenceNode:
		return Value(merged, name)
	}
	for _, one := range merged.Content {
		if v := Value(one, name); v != nil {
			return v
		}
	}
	return nil
}

// Follow is the node that an alias stands for; any other stands for itself.
func Follow(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// Shared are the nodes that aliases below root use elsewhere too: a change of one is a change
// of all that use it.
func Shared(root *yaml.Node) map[*yaml.Node]bool {
	out := map[*yaml.Node]bool{}
	var mark, look func(*yaml.Node)
	mark = func(n *yaml.Node) {
		if out[n] {
			return
		}
		out[n] = true
		for _, c := range n.Content {
			mark(c)
		}
	}
	look = func(n *yaml.Node) {
		if n.Kind == yaml.AliasNode {
			mark(n.Alias)
		}
		for _, c := range n.Content {
			look(c)
		}
	}
	look(root)
	return out
}
