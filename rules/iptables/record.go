package iptables

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/rules"
)

// The record is kept in the comments of SLUICE_APPLIED, one rule for each line.
const (
	hashLine     = "config sha256:"
	configLine   = "config deflate "
	runningLine  = "enrolled while running"
	nodeLine     = "in node mode: the proxy is the node's agent"
	autoLine     = "ranges of the cluster: includeIPRanges is auto"
	disabledLine = "disabled"

	// anchorLine names the one rule there that does something, by being there: the
	// kernel follows connections as long as a rule asks about them. Without any it
	// forgets where established connections were redirected to, and resets them.
	anchorLine = "keeps established connections"

	// lineBytes keeps a comment below the 255 bytes that a rule has for it.
	lineBytes = 200
	// configBytes bounds what is unpacked: the rules are data from outside.
	configBytes = 64 << 20
)

// record is what was applied to a namespace.
type record struct {
	hash     string
	config   string // deflated JSON, in base64
	running  bool
	node     bool
	auto     bool
	disabled bool
}

func newRecord(p rules.Plan) (record, error) {
	config, err := json.Marshal(p.Config)
	if err != nil {
		return record{}, fmt.Errorf("record the configuration: %w", err)
	}
	return record{hash: p.Hash, config: deflated(config), running: p.Running, node: p.Node, auto: p.Auto}, nil
}

// chain is the record as the chain that keeps it.
func (r record) chain() *chain {
	lines := []string{hashLine + r.hash}
	if r.running {
		lines = append(lines, runningLine)
	}
	if r.node {
		lines = append(lines, nodeLine)
	}
	if r.auto {
		lines = append(lines, autoLine)
	}
	if r.disabled {
		lines = append(lines, disabledLine)
	}
	for chunk := range slices.Chunk([]byte(r.config), lineBytes) {
		lines = append(lines, configLine+string(chunk))
	}
	c := &chain{name: chainApplied}
	c.add("-m conntrack --ctstate ESTABLISHED", commented(anchorLine), "-j", "RETURN")
	for _, line := range lines {
		c.add(commented(line), "-j", "RETURN")
	}
	return c
}

// recordIn reads the record in a family's state; false when there is none. Every
// line of it could be anybody's.
func recordIn(s state) (record, bool) {
	var r record
	for _, rule := range s.table("nat").chains[chainApplied] {
		line := commentIn(rule)
		if text, ok := strings.CutPrefix(line, hashLine); ok {
			r.hash = text
		} else if text, ok := strings.CutPrefix(line, configLine); ok {
			r.config += text
		}
		r.running = r.running || line == runningLine
		r.node = r.node || line == nodeLine
		r.auto = r.auto || line == autoLine
		r.disabled = r.disabled || line == disabledLine
	}
	return r, r.hash != ""
}

func deflated(text []byte) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic("iptables: writing into memory failed: " + err.Error())
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// parsed is the configuration of the record.
func (r record) parsed() (rules.Config, error) {
	c, err := inflated(r.config)
	if err == nil && c.Hash() != r.hash {
		err = errors.New("its hash is another")
	}
	if err != nil {
		return rules.Config{}, fmt.Errorf("chain %s: holds no configuration that can be read back; it was changed, or made by another version: %w", chainApplied, err)
	}
	return c, nil
}

func inflated(text string) (rules.Config, error) {
	packed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return rules.Config{}, err
	}
	data, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), configBytes))
	if err != nil {
		return rules.Config{}, err
	}
	c, _, err := rules.Parse(data)
	return c, err
}

// Applied reports the hash of the configuration a namespace's rules were made
// from, "" when there are none.
func (f *Firewall) Applied(netnsFD int) (string, error) {
	r, _, err := f.recorded(netnsFD)
	return r.hash, err
}

// Stored reads back the configuration a namespace's rules were made from; false
// when there are none.
func (f *Firewall) Stored(netnsFD int) (rules.Config, bool, error) {
	applied, found, err := f.Read(netnsFD)
	return applied.Config, found, err
}

// Read reads back what a namespace's rules were made from; false when there are none.
func (f *Firewall) Read(netnsFD int) (rules.Applied, bool, error) {
	r, found, err := f.recorded(netnsFD)
	if err != nil || !found {
		return rules.Applied{}, false, err
	}
	c, err := r.parsed()
	if err != nil {
		return rules.Applied{}, false, err
	}
	out := r.applied()
	out.Config = c
	return out, true, nil
}

// applied is the record without its configuration.
func (r record) applied() rules.Applied {
	return rules.Applied{Hash: r.hash, Running: r.running, Auto: r.auto, Node: r.node, Disabled: r.disabled}
}

// recorded reads both families' records, which must be one.
func (f *Firewall) recorded(netnsFD int) (r record, found bool, err error) {
	states, err := f.readAll(netnsFD)
	if err != nil {
		return record{}, false, err
	}
	empty := true
	for i, s := range states {
		this, ok := recordIn(s)
		empty = empty && s.empty()
		if i > 0 && (ok != found || this != r) {
			return record{}, false, errHalf
		}
		r, found = this, ok
	}
	if !found && !empty {
		return record{}, false, errHalf
	}
	return r, found, nil
}

var errHalf = errors.New("the rules are half programmed, somebody was stopped on the way; apply them again")
