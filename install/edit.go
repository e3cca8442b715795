package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// with is the list with our entry: behind all others where it was not there, in its
// place where it was. Everything else keeps its bytes. It is the same slice when the
// entry is there already.
func (l list) with(entry json.RawMessage) ([]byte, error) {
	if l.single {
		return nil, errors.New("one plugin is not a list")
	}
	first := slices.IndexFunc(l.plugins, func(p plugin) bool { return p.kind == pluginType })
	if first < 0 {
		return l.appended(entry), nil
	}
	kept := l
	for i := len(l.plugins) - 1; i > first; i-- {
		if l.plugins[i].kind == pluginType { // once is enough
			var err error
			if kept, err = kept.cut(i); err != nil {
				return nil, err
			}
		}
	}
	s := kept.plugins[first].span
	if same(kept.raw[s.from:s.to], entry) {
		return kept.raw, nil
	}
	return slices.Concat(kept.raw[:s.from], kept.laidOut(entry), kept.raw[s.to:]), nil
}

// without is the list without our entry.
func (l list) without() ([]byte, error) {
	for i := len(l.plugins) - 1; i >= 0; i-- {
		if l.plugins[i].kind == pluginType {
			var err error
			if l, err = l.cut(i); err != nil {
				return nil, err
			}
		}
	}
	return l.raw, nil
}

// cut takes one plugin out, with the comma that it needed.
func (l list) cut(i int) (list, error) {
	s := l.plugins[i].span
	switch {
	case i > 0:
		s.from = l.plugins[i-1].span.to
	case len(l.plugins) > 1:
		s.to = l.plugins[1].span.from
	}
	return parse(l.file, slices.Concat(l.raw[:s.from], l.raw[s.to:]))
}

func (l list) appended(entry json.RawMessage) []byte {
	text := l.laidOut(entry)
	if l.array == (span{}) { // no plugins at all: all were files beside the list
		end := bytes.LastIndexByte(l.raw, '}')
		return slices.Concat(bytes.TrimRight(l.raw[:end], " \t\r\n"), []byte(`, "plugins": [`), text, []byte("]"), l.raw[end:])
	}
	if len(l.plugins) == 0 {
		return slices.Concat(l.raw[:l.array.from], []byte("["), text, []byte("]"), l.raw[l.array.to:])
	}
	last := l.plugins[len(l.plugins)-1].span
	return slices.Concat(l.raw[:last.to], []byte(","), []byte(l.space()), text, l.raw[last.to:])
}

// space is what stands before the last plugin: a line break and its indentation, or
// next to nothing.
func (l list) space() string {
	if len(l.plugins) == 0 {
		return ""
	}
	before := l.raw[:l.plugins[len(l.plugins)-1].span.from]
	return string(before[len(bytes.TrimRight(before, " \t\r\n")):])
}

// laidOut is the entry as a hand would have written it there.
func (l list) laidOut(entry json.RawMessage) []byte {
	space := l.space()
	at := strings.LastIndexByte(space, '\n')
	if at < 0 {
		return compact(entry)
	}
	var b bytes.Buffer
	step := "  "
	if strings.Contains(space, "\t") {
		step = "\t"
	}
	if json.Indent(&b, entry, space[at+1:], step) != nil {
		return entry
	}
	return b.Bytes()
}

// owned is a list of our own that runs a single plugin's configuration and then our
// entry. It has its name, since addresses and caches are kept under that.
func (l list) owned(entry json.RawMessage) ([]byte, error) {
	if !l.single {
		return l.with(entry)
	}
	name, err := json.Marshal(l.name)
	if err != nil {
		return nil, err
	}
	version := ""
	if l.version != "" {
		v, err := json.Marshal(l.version)
		if err != nil {
			return nil, err
		}
		version = fmt.Sprintf("\n  \"cniVersion\": %s,", v)
	}
	return fmt.Appendf(nil, "{%s\n  \"name\": %s,\n  \"plugins\": [\n    %s,\n    %s\n  ]\n}\n",
		version, name, bytes.TrimSpace(l.raw), compact(entry)), nil
}

func compact(raw json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}

// same compares two JSON values without regard to space.
func same(a, b []byte) bool { return bytes.Equal(compact(a), compact(b)) }
