package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/selection"
)

// pluginType is how our entry is known, in a list or in a file of its own.
const pluginType = "sluice-cni"

// A list is a network configuration file, as far as the installer must know it. It
// keeps the bytes: what others wrote stays as they wrote it, to the order of keys.
type list struct {
	file    string // its name in the conf dir
	raw     []byte
	name    string
	version string   // cniVersion; may be empty
	others  []string // cniVersions, of which the runtime picks one (libcni 1.2 and above)
	single  bool     // one plugin, no list: a .conf or .json file
	inlined bool     // loadOnlyInlinedPlugins: files beside the list are not read
	array   span     // of the value of plugins
	plugins []plugin
}

type plugin struct {
	kind string // type
	span span   // its object's bytes
}

type span struct{ from, to int }

// parse reads a file as libcni does: a .conflist is a list, anything else one
// plugin.
func parse(file string, raw []byte) (list, error) {
	l := list{file: file, raw: raw, single: filepath.Ext(file) != ".conflist"}
	err := l.read()
	if err != nil {
		err = fmt.Errorf("file %q: %w", file, err)
	}
	return l, err
}

func (l *list) read() error {
	fields, err := object(l.raw, span{0, len(l.raw)})
	if err != nil {
		return err
	}
	// A key that is there twice counts the last time, as for every JSON reader.
	for _, f := range fields {
		value := l.raw[f.value.from:f.value.to]
		switch f.key {
		case "name":
			err = stringField(value, "name", &l.name)
		case "cniVersion":
			err = stringField(value, "cniVersion", &l.version)
		case "cniVersions":
			if json.Unmarshal(value, &l.others) != nil {
				err = fmt.Errorf("field \"cniVersions\": value %s: not a list of strings", value)
			}
		case "loadOnlyInlinedPlugins":
			// libcni takes true and "true".
			l.inlined = strings.Trim(string(value), `"`) == "true"
		case "plugins":
			if !l.single {
				l.array = f.value
			}
		}
		if err != nil {
			return err
		}
	}
	if l.name == "" {
		return errors.New(`field "name": is missing`)
	}
	if l.single {
		kind, err := kindOf(l.raw)
		l.plugins = []plugin{{kind, span{0, len(l.raw)}}}
		return err
	}
	if l.array == (span{}) {
		if l.inlined {
			return errors.New(`field "plugins": is missing`)
		}
		return nil // libcni allows it: all plugins may be files beside the list
	}
	return l.readPlugins()
}

func (l *list) readPlugins() error {
	elements, err := array(l.raw, l.array)
	if err != nil {
		return fmt.Errorf(`field "plugins": %w`, err)
	}
	for i, e := range elements {
		kind, err := kindOf(l.raw[e.from:e.to])
		if err != nil {
			return fmt.Errorf("field plugins[%d]: %w", i, err)
		}
		l.plugins = append(l.plugins, plugin{kind, e})
	}
	return nil
}

func kindOf(raw []byte) (string, error) {
	var p struct {
		Type *string `json:"type"`
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return "", err
	}
	if p.Type == nil || *p.Type == "" {
		return "", errors.New(`field "type": is missing`)
	}
	return *p.Type, nil
}

func stringField(raw []byte, name string, to *string) error {
	if err := json.Unmarshal(raw, to); err != nil {
		return fmt.Errorf("field %q: value %s: not a string", name, raw)
	}
	return nil
}

// chains refuses a list in whose version of the specification our plugin cannot run:
// with the entry in it every pod of the node would fail. A runtime takes 0.1.0 for none.
func (l list) chains() error {
	for _, v := range append([]string{l.version}, l.others...) {
		if slices.Contains(selection.SpecVersions(), v) {
			return nil
		}
	}
	return fmt.Errorf("file %q: field \"cniVersion\": value %q: a plugin cannot be added in this version, every pod would fail; set one of %s that the network's own plugins know",
		l.file, l.version, strings.Join(selection.SpecVersions(), ", "))
}

// has says whether our entry is in the list itself.
func (l list) has() bool {
	for _, p := range l.plugins {
		if p.kind == pluginType {
			return true
		}
	}
	return false
}

// owner is the type of the plugin that makes the interface: whose list it is.
func (l list) owner() string {
	for _, p := range l.plugins {
		if p.kind != pluginType {
			return p.kind
		}
	}
	return ""
}

// field is one key of an object with the place of its value.
type field struct {
	key   string
	value span
}

// object finds the fields of the object that fills s.
func object(raw []byte, s span) ([]field, error) {
	d := json.NewDecoder(bytes.NewReader(raw[s.from:s.to]))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fault(raw[s.from:s.to], d, err, "a JSON object")
	}
	var fields []field
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, fault(raw[s.from:s.to], d, err, "a key")
		}
		value, err := next(d, raw, s)
		if err != nil {
			return nil, err
		}
		fields = append(fields, field{key.(string), value})
	}
	return fields, closed(d, raw, s)
}

// array finds the elements of the array that fills s.
func array(raw []byte, s span) ([]span, error) {
	d := json.NewDecoder(bytes.NewReader(raw[s.from:s.to]))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return nil, fault(raw[s.from:s.to], d, err, "a JSON array")
	}
	var elements []span
	for d.More() {
		e, err := next(d, raw, s)
		if err != nil {
			return nil, err
		}
		elements = append(elements, e)
	}
	return elements, closed(d, raw, s)
}

// next is the place of the value that the decoder reads next.
func next(d *json.Decoder, raw []byte, s span) (span, error) {
	var value json.RawMessage
	if err := d.Decode(&value); err != nil {
		return span{}, fault(raw[s.from:s.to], d, err, "a value")
	}
	to := s.from + int(d.InputOffset())
	return span{to - len(value), to}, nil
}

// closed requires that the value ends, and that nothing but space follows.
func closed(d *json.Decoder, raw []byte, s span) error {
	if _, err := d.Token(); err != nil {
		return fault(raw[s.from:s.to], d, err, "its end")
	}
	rest := bytes.TrimSpace(raw[s.from+int(d.InputOffset()) : s.to])
	if len(rest) > 0 {
		return fault(raw[s.from:s.to], d, nil, "nothing after its end")
	}
	return nil
}

// fault names the line that is no JSON of the kind wanted.
func fault(raw []byte, d *json.Decoder, err error, wanted string) error {
	at := min(int(d.InputOffset()), len(raw))
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		at = min(int(syntax.Offset), len(raw))
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	line := 1 + bytes.Count(raw[:at], []byte("\n"))
	if err != nil {
		return fmt.Errorf("line %d: %w", line, err)
	}
	return fmt.Errorf("line %d: %s was expected", line, wanted)
}
