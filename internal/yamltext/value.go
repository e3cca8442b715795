package yamltext

import "go.yaml.in/yaml/v3"

// Field is a key of a mapping, as it stands there, and its value; nil for none.
func Field(mapping *yaml.Node, name string) (key, value *yaml.Node) {
	if mapping == nil || mapping.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if k := Follow(mapping.Content[i]); k.Kind == yaml.ScalarNode && k.Value == name && !isMerge(k) {
			return mapping.Content[i], mapping.Content[i+1]
		}
	}
	return nil, nil
}

// isMerge tells the merge key << from one that is called so, in quotes.
func isMerge(key *yaml.Node) bool { return key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge" }

// Value is what a mapping has for a key, nil for none, by aliases and merge keys (<<) too:
// what stands in the mapping wins over what is merged, and there the first (but see
// Overridden).
func Value(mapping *yaml.Node, name string) *yaml.Node {
	return valueOf(mapping, name, map[*yaml.Node]bool{})
}

// valueOf passes over what was looked through already: that has no such key, and an anchor
// may contain itself.
func valueOf(mapping *yaml.Node, name string, seen map[*yaml.Node]bool) *yaml.Node {
	mapping = Follow(mapping)
	if mapping == nil || mapping.Kind != yaml.MappingNode || seen[mapping] {
		return nil
	}
	seen[mapping] = true
	if _, v := Field(mapping, name); v != nil {
		return Follow(v)
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if !isMerge(mapping.Content[i]) {
			continue
		}
		if v := mergedValue(mapping.Content[i+1], name, seen); v != nil {
			return v
		}
	}
	return nil
}

// mergedValue looks into what a merge key brings: a mapping, or a list of them.
func mergedValue(merged *yaml.Node, name string, seen map[*yaml.Node]bool) *yaml.Node {
	if merged = Follow(merged); merged.Kind != yaml.SequenceNode {
		return valueOf(merged, name, seen)
	}
	for _, one := range merged.Content {
		if v := valueOf(one, name, seen); v != nil {
			return v
		}
	}
	return nil
}

// Overridden are keys of a mapping that stand before a merge key (<<) which brings them too.
// YAML has them win (https://yaml.org/type/merge.html), and so has everybody here; kubectl's
// reader (go-yaml 2, by sigs.k8s.io/yaml) takes what is merged.
func Overridden(mapping *yaml.Node) (keys []*yaml.Node) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if !isMerge(mapping.Content[i]) {
			continue
		}
		for k := 0; k < i; k += 2 {
			if key := Follow(mapping.Content[k]); mergedValue(mapping.Content[i+1], key.Value, map[*yaml.Node]bool{}) != nil {
				keys = append(keys, mapping.Content[k])
			}
		}
	}
	return keys
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
