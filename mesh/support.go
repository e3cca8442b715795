package mesh

import (
	"slices"
	"strings"
)

// supported says for each kind which row a field belongs to. A field that only
// holds others, which are judged one by one, is there with nil.
var supported = func() map[string]map[string]*Row {
	out := make(map[string]map[string]*Row, len(Kinds))
	for _, kind := range Kinds {
		out[kind] = map[string]*Row{"spec": nil}
	}
	for i := range Rows {
		row := &Rows[i]
		if row.Value != "" {
			continue
		}
		for _, field := range row.Fields {
			for _, path := range alternatives("spec." + field) {
				out[row.Kind][path] = row
				for path = parentPath(path); path != ""; path = parentPath(path) {
					if _, there := out[row.Kind][path]; !there {
						out[row.Kind][path] = nil
					}
				}
			}
		}
	}
	return out
}()

// alternatives writes out a pattern with words in braces.
func alternatives(pattern string) []string {
	open := strings.IndexByte(pattern, '{')
	if open < 0 {
		return []string{pattern}
	}
	end := open + strings.IndexByte(pattern[open:], '}')
	var out []string
	for one := range strings.SplitSeq(pattern[open+1:end], ",") {
		out = append(out, alternatives(pattern[:open]+one+pattern[end+1:])...)
	}
	return out
}

// general is a field's path without the indexes: spec.ports[].name.
func general(path string) string {
	if !strings.Contains(path, "[") {
		return path
	}
	return string(appendGeneral(nil, path))
}

func appendGeneral(to []byte, path string) []byte {
	for path != "" {
		open := strings.IndexByte(path, '[')
		end := strings.IndexByte(path, ']')
		if open < 0 || end < open {
			break
		}
		to = append(append(to, path[:open+1]...), ']')
		path = path[end+1:]
	}
	return append(to, path...)
}

// support speaks about every field that is not followed; of a whole unsupported
// message only about its outermost.
func (c *checker) support() {
	told := ""
	fields := supported[c.r.Kind]
	var path [200]byte
	for _, position := range c.r.fields {
		field := position.path.Value()
		if !strings.HasPrefix(field, "spec") || told != "" && inside(field, told) {
			continue
		}
		row, known := fields[string(appendGeneral(path[:0], field))]
		switch {
		case known && (row == nil || row.Stance <= Differs):
		case !known || row.Stance == Refused:
			told = field
			c.error(field, "", "is not supported by this version of sluice%s", row.reason())
		default:
			told = field
			if !c.refused(field) {
				c.warn(field, "", "is not supported by this version of sluice, so it has no effect: %s", row.Says)
			}
		}
	}
}

// reason is why a field is refused and what to do; a field nobody knows of has none.
func (row *Row) reason() string {
	out := "; remove it"
	if row == nil {
		return out
	}
	if row.Says != "" {
		out = ": " + row.Says + out
	}
	if row.Instead != "" {
		out += " and " + row.Instead
	}
	return out
}

// value says what the row of a field's value does.
func (c *checker) value(path, value string) {
	field := strings.TrimPrefix(general(path), "spec.")
	row := valueRows[[3]string{c.r.Kind, field, value}]
	if row == nil {
		return
	}
	severity := map[Stance]Severity{Differs: Notice, Reported: Warning, Refused: Error}[row.Stance]
	c.add(severity, path, value, "%s; %s", row.Says, row.Instead)
}

var valueRows = func() map[[3]string]*Row {
	out := make(map[[3]string]*Row)
	for i := range Rows {
		// Without advice there is nothing that an author could do.
		if row := &Rows[i]; row.Value != "" && row.Instead != "" {
			for _, pattern := range row.Fields {
				for _, field := range alternatives(pattern) {
					out[[3]string{row.Kind, field, row.Value}] = row
				}
			}
		}
	}
	return out
}()

// refused says whether there is an error about a field.
func (c *checker) refused(path string) bool {
	return slices.ContainsFunc(c.issues, func(i Issue) bool { return i.Severity == Error && i.Field == path })
}

// inside says whether a field is part of another.
func inside(path, outer string) bool {
	return strings.HasPrefix(path, outer) && len(path) > len(outer) && (path[len(outer)] == '.' || path[len(outer)] == '[')
}
