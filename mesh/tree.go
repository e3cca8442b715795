package mesh

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// maxAliasNodes bounds what aliases may expand to, so that a small document
// cannot become a huge one.
const maxAliasNodes = 20_000

// pair is one key of a mapping.
type pair struct{ key, value *yaml.Node }

// pairs lists a mapping's keys, merges ("<<") included, and reports keys that
// stand there twice.
func (d *decoder) pairs(n *yaml.Node, path string) []pair {
	out := make([]pair, 0, len(n.Content)/2)
	written := make(map[string]*yaml.Node, len(n.Content)/2) // keys: a match may have tens of thousands
	var merged []pair
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := d.follow(n.Content[i]), n.Content[i+1]
		switch {
		case key == nil:
		case key.Kind != yaml.ScalarNode:
			d.add(Error, n.Content[i], path, "", "a key must be a single word; write name: value")
		case key.Tag == "!!merge":
			brought := d.merge(value, path)
			for _, m := range brought {
				if here := written[m.key.Value]; here != nil { // as yamltext.Overridden
					d.add(Warning, here, join(path, m.key.Value), "", "stands before a YAML merge key (<<) that brings it too: this one holds, but kubectl takes that; write << first")
				}
			}
			merged = append(merged, brought...)
		case written[key.Value] != nil:
			first := written[key.Value]
			what := "keep one of them"
			if path == "" && key.Value == "apiVersion" {
				what += ", or begin another object with a line ---"
			}
			d.add(Error, key, join(path, key.Value), "", fmt.Sprintf("is there already, in line %d; %s", d.lineOf(first), what))
		default:
			written[key.Value] = key
			out = append(out, pair{key, value})
		}
	}
	for _, m := range merged {
		if written[m.key.Value] == nil { // what is written here wins over what is merged in
			written[m.key.Value] = m.key
			out = append(out, m)
		}
	}
	return out
}

// merge gives what a "<<" key brings in: a mapping or a list of mappings.
func (d *decoder) merge(n *yaml.Node, path string) []pair {
	at := n
	n = d.follow(n)
	switch {
	case n == nil || d.depth > maxMergeDepth:
		return nil
	case n.Kind == yaml.MappingNode:
		d.depth++
		defer func() { d.depth-- }()
		return d.pairs(n, path)
	case n.Kind == yaml.SequenceNode:
		d.depth++
		defer func() { d.depth-- }()
		var out []pair
		for _, item := range n.Content {
			out = append(out, d.merge(item, path)...)
		}
		return out
	}
	d.add(Error, at, join(path, "<<"), n.Value, "only a mapping can be merged; write << : *anchor of a mapping")
	return nil
}

// maxMergeDepth bounds merges inside merges; an anchor may contain itself.
const maxMergeDepth = 16

func find(pairs []pair, key string) int {
	for i, p := range pairs {
		if p.key.Value == key {
			return i
		}
	}
	return -1
}

// follow gives the node that an alias stands for. Whatever hangs below it counts
// against the document's budget; past it, follow reports once and gives nil.
func (d *decoder) follow(n *yaml.Node) *yaml.Node {
	if n.Kind != yaml.AliasNode {
		return n
	}
	if d.aliased > maxAliasNodes {
		return nil
	}
	d.aliased += d.size(n.Alias, maxAliasNodes+1)
	if d.aliased > maxAliasNodes {
		d.add(Error, n, "", "", fmt.Sprintf("the document's aliases expand to more than %d values; write them out", maxAliasNodes))
		return nil
	}
	return n.Alias
}

// size counts the nodes below n, aliases not followed, up to a limit.
func (d *decoder) size(n *yaml.Node, limit int) int {
	total := 1
	for _, c := range n.Content {
		if total >= limit {
			break
		}
		total += d.size(c, limit-total)
	}
	return total
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
