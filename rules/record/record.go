// Package record is what a backend keeps with a namespace's rules, in the comments of a
// chain of its own: what they were made from, as lines of text.
package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/rules"
)

// How lines begin, or what they are; the configuration, which can be long, takes several.
const (
	hashLine      = "config sha256:"
	plainLine     = "config json "
	deflatedLine  = "config deflate "
	interfaceLine = "interface "
	gateLine      = "heartbeat within "
	runningLine   = "enrolled while running"
	nodeLine      = "in node mode: the proxy is the node's agent"
	autoLine      = "ranges of the cluster: includeIPRanges is auto"
	noFramesLine  = "without packet sockets: this kernel has no netdev egress hook"
	disabledLine  = "disabled"
)

// lineBytes is the most of the configuration that a line has: the kernel has room for a
// comment of 255 bytes.
const lineBytes = 200

// Record is what was applied to a namespace. Its Config is empty: Read gives it.
type Record struct {
	rules.Applied
	WithoutFrames bool     // the kernel has no place for the rules of packet sockets
	Interfaces    []string // those with an egress chain

	config string // JSON
}

// New is the record of a plan.
func New(p rules.Plan) (Record, error) {
	config, err := json.Marshal(p.Config)
	if err != nil {
		return Record{}, fmt.Errorf("record the configuration: %w", err)
	}
	return Record{
		Applied: rules.Applied{Hash: p.Hash, Running: p.Running, Node: p.Node, Auto: p.Auto, Gate: p.Gate},
		config:  string(config),
	}, nil
}

// flags are the lines that stand there or do not.
func (r *Record) flags() []flag {
	return []flag{
		{runningLine, &r.Running}, {nodeLine, &r.Node}, {autoLine, &r.Auto},
		{noFramesLine, &r.WithoutFrames}, {disabledLine, &r.Disabled},
	}
}

type flag struct {
	line string
	set  *bool
}

// Lines is the record as text. A configuration of no more than plainBytes stays what a
// person understands who has the rules listed; a longer one is packed.
func (r Record) Lines(plainBytes int) []string {
	lines := []string{hashLine + r.Hash}
	for _, f := range r.flags() {
		if *f.set {
			lines = append(lines, f.line)
		}
	}
	if r.Gate > 0 {
		lines = append(lines, gateLine+r.Gate.String())
	}
	for _, name := range r.Interfaces {
		lines = append(lines, interfaceLine+name)
	}
	prefix, config := plainLine, r.config
	if len(config) > plainBytes {
		prefix, config = deflatedLine, deflated(config)
	}
	for chunk := range slices.Chunk([]byte(config), lineBytes) {
		lines = append(lines, prefix+string(chunk))
	}
	return lines
}

// Parse reads a record. Every line could be anybody's: what is none of the record's is
// passed over, and a record without a Hash is none.
func Parse(lines iter.Seq[string]) Record {
	var r Record
	var plain, packed strings.Builder
	for line := range lines {
		if text, ok := strings.CutPrefix(line, hashLine); ok {
			r.Hash = text
		} else if text, ok := strings.CutPrefix(line, plainLine); ok {
			plain.WriteString(text)
		} else if text, ok := strings.CutPrefix(line, deflatedLine); ok {
			packed.WriteString(text)
		} else if text, ok := strings.CutPrefix(line, interfaceLine); ok {
			r.Interfaces = append(r.Interfaces, text)
		} else if text, ok := strings.CutPrefix(line, gateLine); ok {
			r.Gate, _ = time.ParseDuration(text) // an odd one is none
		}
		for _, f := range r.flags() {
			*f.set = *f.set || line == f.line
		}
	}
	r.config = plain.String()
	if packed.Len() > 0 {
		// What cannot be unpacked is kept: it cannot be parsed either, which is said
		// to whoever wants the configuration, and nobody else.
		r.config = packed.String()
		if text, err := inflated(r.config); err == nil {
			r.config = text
		}
	}
	return r
}

// Read is what was applied, with its configuration. The error says that place, which has
// the record, has no configuration that belongs to its hash.
func (r Record) Read(place string) (rules.Applied, error) {
	c, _, err := rules.Parse([]byte(r.config))
	if err == nil && c.Hash() != r.Hash {
		err = errors.New("its hash is another")
	}
	if err != nil {
		return rules.Applied{}, fmt.Errorf("%s: holds no configuration that can be read back; it was changed, or made by another version: %w", place, err)
	}
	out := r.Applied
	out.Config = c
	return out, nil
}
