package yamltext

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Changes are collected for a text and made by Text, so that nodes parsed from it keep
// pointing where they do.
type Changes struct {
	*places
	json  bool // or so it begins: what is put in stays within JSON
	edits []edit
}

// edit replaces bytes by others; start == end inserts.
type edit struct {
	start, end int
	with       string
}

// Change begins without any. All nodes that are given to it are parsed from that text.
func Change(text []byte) *Changes {
	return &Changes{places: newPlaces(text), json: bytes.HasPrefix(bytes.TrimSpace(text), []byte("{"))}
}

// None reports whether Text would give the text as it is.
func (c *Changes) None() bool { return len(c.edits) == 0 }

// Text is the text with the changes.
func (c *Changes) Text() []byte {
	slices.SortStableFunc(c.edits, func(a, b edit) int { return a.start - b.start })
	var out []byte
	done := 0
	for _, e := range c.edits {
		out = append(append(out, c.text[done:e.start]...), e.with...)
		done = e.end
	}
	return append(out, c.text[done:]...)
}

// Merge puts a mapping's values into one that was parsed from the text. Mappings that both
// have are merged. Of sequences, whose items have names, items of the same name are replaced
// where they stand, and others put before the first. Other values are replaced. What is new
// stands first, in the order of value.
//
// Values that are anchors or aliases are refused, as what is put into one would be
// elsewhere too, and so are a few rare spellings. Errors begin with the path.
//
// The nodes get the values too: what they are then is what Text reads as, by Same.
func (c *Changes) Merge(into, value *yaml.Node) error {
	if err := c.merge(into, value, ""); err != nil {
		return err
	}
	graft(into, value)
	return nil
}

// graft is merge for the nodes alone.
func graft(into, value *yaml.Node) {
	var missing []*yaml.Node
	switch {
	case into.Kind == yaml.MappingNode && value.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(value.Content); i += 2 {
			if _, old := Field(into, value.Content[i].Value); old != nil {
				graft(old, value.Content[i+1])
			} else {
				missing = append(missing, value.Content[i], value.Content[i+1])
			}
		}
	case into.Kind == yaml.SequenceNode && value.Kind == yaml.SequenceNode:
		for _, item := range value.Content {
			if i := named(into, item); i >= 0 {
				into.Content[i] = item
			} else {
				missing = append(missing, item)
			}
		}
	default:
		*into = *value
	}
	into.Content = slices.Concat(missing, into.Content)
}

func (c *Changes) merge(into, value *yaml.Node, path string) error {
	if into.Kind == yaml.AliasNode || into.Anchor != "" {
		return at(path, "is a YAML anchor or alias, and would change elsewhere too; write out what it stands for")
	}
	var missing []*yaml.Node
	for i := 0; i+1 < len(value.Content); i += 2 {
		key, wanted := value.Content[i], value.Content[i+1]
		path := strings.TrimPrefix(path+"."+key.Value, ".")
		has, old := Field(into, key.Value)
		var err error
		switch {
		case old == nil:
			missing = append(missing, key, wanted)
		case old.Kind == yaml.ScalarNode && old.ShortTag() == "!!null":
			err = c.fill(has, old, wanted, path)
		case old.Kind == yaml.MappingNode && wanted.Kind == yaml.MappingNode:
			err = c.merge(old, wanted, path)
		case old.Kind == yaml.SequenceNode && wanted.Kind == yaml.SequenceNode:
			err = c.items(old, wanted, path)
		case old.Kind == yaml.ScalarNode && wanted.Kind == yaml.ScalarNode:
			err = c.replace(old, wanted, path)
		case old.Kind == yaml.AliasNode:
			err = c.merge(old, wanted, path)
		default:
			err = at(path, "has another shape than it must have; correct it")
		}
		if err != nil {
			return err
		}
	}
	if len(missing) > 0 && slices.ContainsFunc(into.Content, isMerge) {
		return at(path, "has a YAML merge key (<<), which may bring the same; write out what it stands for")
	}
	return c.insert(into, missing, path)
}

// insert puts pairs of keys and values before the first of a mapping.
func (c *Changes) insert(into *yaml.Node, pairs []*yaml.Node, path string) error {
	if len(pairs) == 0 {
		return nil
	}
	fresh := &yaml.Node{Kind: yaml.MappingNode, Content: pairs}
	if len(into.Content) == 0 {
		return c.intoEmpty(into, '{', fresh, path)
	}
	first := into.Content[0]
	if into.Style&yaml.FlowStyle != 0 {
		c.put(c.of(first), unbraced(flow(fresh, c.json))+", ")
		return nil
	}
	c.putLines(c.of(first), block(fresh))
	return nil
}

// items merges a sequence, by its items' names.
func (c *Changes) items(into, wanted *yaml.Node, path string) error {
	if into.Anchor != "" {
		return at(path, "is a YAML anchor, and would change elsewhere too; write out what it stands for")
	}
	var missing []*yaml.Node
	for _, item := range wanted.Content {
		i := named(into, item)
		switch {
		case i < 0:
			missing = append(missing, item)
		case !Same(into.Content[i], item):
			if err := c.replaceItem(into, i, item, path); err != nil {
				return err
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	fresh := &yaml.Node{Kind: yaml.SequenceNode, Content: missing}
	if len(into.Content) == 0 {
		return c.intoEmpty(into, '[', fresh, path)
	}
	first := c.of(into.Content[0])
	if into.Style&yaml.FlowStyle != 0 {
		c.put(first, unbraced(flow(fresh, c.json))+", ")
		return nil
	}
	dash := c.offset(into.Content[0].Line, into.Column)
	if dash >= first || c.text[dash] != '-' {
		return at(path, "has its first dash where no line can be put before it; write the item beside the dash")
	}
	c.putLines(dash, block(fresh))
	return nil
}

func (c *Changes) replaceItem(into *yaml.Node, i int, item *yaml.Node, path string) error {
	if into.Style&yaml.FlowStyle != 0 {
		start := c.of(into.Content[i])
		end := endOfFlow(c.text, start)
		if end < 0 {
			return at(path, "has an item without clear bounds; take the item out and try again")
		}
		c.edits = append(c.edits, edit{start, end, flow(item, c.json)})
		return nil
	}
	start, end := c.item(into, i)
	if start < 0 || end < start {
		return at(path, "has an item without clear bounds; take the item out and try again")
	}
	c.edits = append(c.edits, edit{start, end, indented(block(&yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{item}}), into.Column-1)})
	return nil
}

// intoEmpty fills {} or [].
func (c *Changes) intoEmpty(into *yaml.Node, bracket byte, fresh *yaml.Node, path string) error {
	start := c.of(into)
	if start >= len(c.text) || c.text[start] != bracket {
		return at(path, "is empty in a spelling that cannot be filled; remove it")
	}
	c.put(start+1, unbraced(flow(fresh, c.json)))
	return nil
}

// fill writes a value where there is none, or null.
func (c *Changes) fill(key, old, wanted *yaml.Node, path string) error {
	if old.Value != "" {
		start := c.of(old)
		if end := c.endOfScalar(old); end > start {
			c.edits = append(c.edits, edit{start, end, flow(wanted, c.json)})
			return nil
		}
	} else if end := c.endOfScalar(key); end >= 0 && end < len(c.text) && c.text[end] == ':' {
		c.put(end+1, " "+flow(wanted, c.json))
		return nil
	}
	return at(path, "is null in a spelling that cannot be replaced; remove it")
}

// replace writes another text in the place of a scalar's.
func (c *Changes) replace(old, wanted *yaml.Node, path string) error {
	if Same(old, wanted) {
		return nil
	}
	end := c.endOfScalar(old)
	if end < 0 {
		return at(path, "is written in a way that cannot be replaced, such as over several lines; write it in one")
	}
	c.edits = append(c.edits, edit{c.of(old), end, flow(wanted, true)})
	return nil
}

// endOfScalar is where one that stands in one line ends, -1 for others.
func (c *Changes) endOfScalar(n *yaml.Node) int {
	start := c.of(n)
	rest := c.text[start:]
	switch {
	case n.Anchor != "" || n.Style&(yaml.TaggedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0:
	case n.Style&yaml.DoubleQuotedStyle != 0:
		for i := 1; i < len(rest); i++ {
			if rest[i] == '\\' {
				i++
			} else if rest[i] == '"' {
				return start + i + 1
			}
		}
	case n.Style&yaml.SingleQuotedStyle != 0:
		for i := 1; i < len(rest); i++ {
			if rest[i] != '\'' {
				continue
			}
			if i+1 == len(rest) || rest[i+1] != '\'' {
				return start + i + 1
			}
			i++
		}
	case bytes.HasPrefix(rest, []byte(n.Value)):
		return start + len(n.Value)
	}
	return -1
}

func (c *Changes) put(at int, text string) { c.edits = append(c.edits, edit{at, at, text}) }

// putLines puts lines before what stands at an offset, and before the comments that stand
// above it and speak about it.
func (c *Changes) putLines(at int, lines string) {
	begin := bytes.LastIndexByte(c.text[:at], '\n') + 1
	column := len([]rune(string(c.text[begin:at])))
	if len(bytes.TrimLeft(c.text[begin:at], " ")) > 0 { // behind a dash
		c.put(at, strings.TrimLeft(indented(lines, column), " ")+strings.Repeat(" ", column))
		return
	}
	for begin > 0 {
		above := bytes.LastIndexByte(c.text[:begin-1], '\n') + 1
		if !bytes.HasPrefix(bytes.TrimSpace(c.text[above:begin]), []byte("#")) {
			break
		}
		begin = above
	}
	c.put(begin, indented(lines, column))
}

// indented moves lines to the right.
func indented(lines string, by int) string {
	var out strings.Builder
	for line := range strings.Lines(lines) {
		out.WriteString(strings.Repeat(" ", by) + line)
	}
	return out.String()
}

// Same says that two values are, but for comments and spelling.
func Same(a, b *yaml.Node) bool {
	return a.Kind == b.Kind && a.ShortTag() == b.ShortTag() && a.Value == b.Value && a.Anchor == b.Anchor && slices.EqualFunc(a.Content, b.Content, Same)
}

// named finds the item of a sequence that has the name of another, -1 for none.
func named(sequence, item *yaml.Node) int {
	name := Value(item, "name")
	return slices.IndexFunc(sequence.Content, func(n *yaml.Node) bool {
		other := Value(n, "name")
		return name != nil && other != nil && name.Value == other.Value
	})
}

// block is a mapping or sequence in lines.
func block(n *yaml.Node) string {
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	e.CompactSeqIndent()
	if err := e.Encode(n); err != nil {
		panic(fmt.Sprintf("yamltext: a node that was made here has no text: %v", err))
	}
	return out.String()
}

// flow is a value in one line, with quotes as JSON.
func flow(n *yaml.Node, quotes bool) string {
	return strings.TrimSuffix(block(flowing(n, quotes)), "\n")
}

func flowing(n *yaml.Node, quotes bool) *yaml.Node {
	out := *n
	out.Content = nil
	switch {
	case n.Kind != yaml.ScalarNode:
		out.Style |= yaml.FlowStyle
	case quotes && n.ShortTag() == "!!str":
		out.Style = yaml.DoubleQuotedStyle
	}
	for _, child := range n.Content {
		out.Content = append(out.Content, flowing(child, quotes))
	}
	return &out
}

// unbraced takes the brackets from around a flow.
func unbraced(flow string) string { return flow[1 : len(flow)-1] }

func at(path, complaint string) error { return fmt.Errorf("%s %s", path, complaint) }
