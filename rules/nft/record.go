package nft

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
	"time"

	"github.com/google/nftables"
	"github.com/sluice-cni/sluice/rules"
)

// The record is kept in the comments of a chain that no packet walks, one rule
// for each line; the configuration, which can be long, takes several.
const (
	chainApplied  = "applied"
	hashLine      = "config sha256:"
	plainLine     = "config json "
	deflatedLine  = "config deflate "
	interfaceLine = "interface "
	runningLine   = "enrolled while running"
	nodeLine      = "in node mode: the proxy is the node's agent"
	autoLine      = "ranges of the cluster: includeIPRanges is auto"
	gateLine      = "heartbeat within "
	noFramesLine  = "without packet sockets: this kernel has no netdev egress hook"
	disabledLine  = "disabled"

	// lineBytes keeps a comment below the 256 bytes that a rule has for it.
	lineBytes = 200
	// plainBytes is how long a configuration may be and still be kept as text that
	// a person reading `nft list` understands.
	plainBytes = 600
	// configBytes bounds what is unpacked: the table is data from outside.
	configBytes = 64 << 20
)

// record is what was applied to a namespace.
type record struct {
	hash          string
	config        string // JSON
	running       bool
	node          bool
	auto          bool
	gate          time.Duration
	withoutFrames bool
	disabled      bool
	interfaces    []string // those with an egress chain
}

func newRecord(p rules.Plan, interfaces []string) (record, error) {
	config, err := json.Marshal(p.Config)
	return record{hash: p.Hash, config: string(config), running: p.Running, node: p.Node, auto: p.Auto, gate: p.Gate, interfaces: interfaces}, err
}

func (r record) chain() rules.Chain {
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
	if r.gate > 0 {
		lines = append(lines, gateLine+r.gate.String())
	}
	if r.withoutFrames {
		lines = append(lines, noFramesLine)
	}
	if r.disabled {
		lines = append(lines, disabledLine)
	}
	for _, name := range r.interfaces {
		lines = append(lines, interfaceLine+name)
	}
	out := rules.Chain{Name: chainApplied}
	for _, line := range append(lines, configLines(r.config)...) {
		out.Rules = append(out.Rules, rules.Rule{Name: line, Action: rules.Action{Kind: rules.ActionAccept}})
	}
	return out
}

func configLines(config string) []string {
	prefix := plainLine
	if len(config) > plainBytes {
		prefix, config = deflatedLine, deflated(config)
	}
	var out []string
	for chunk := range slices.Chunk([]byte(config), lineBytes) {
		out = append(out, prefix+string(chunk))
	}
	return out
}

func deflated(text string) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic("nft: writing into memory failed: " + err.Error())
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

func inflated(text string) (string, error) {
	packed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", err
	}
	out, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), configBytes))
	return string(out), err
}

// readRecord reads the record of a table; every line of it could be anybody's.
func readRecord(c *nftables.Conn, t *nftables.Table) (record, error) {
	found, err := c.GetRules(t, &nftables.Chain{Name: chainApplied})
	if err != nil && !isMissing(err) {
		return record{}, explain("read the rules back", err)
	}
	var r record
	var plain, packed strings.Builder
	for _, rule := range found {
		line := commentOf(rule.UserData)
		if text, ok := strings.CutPrefix(line, hashLine); ok {
			r.hash = text
		} else if text, ok := strings.CutPrefix(line, plainLine); ok {
			plain.WriteString(text)
		} else if text, ok := strings.CutPrefix(line, deflatedLine); ok {
			packed.WriteString(text)
		} else if text, ok := strings.CutPrefix(line, interfaceLine); ok {
			r.interfaces = append(r.interfaces, text)
		} else if text, ok := strings.CutPrefix(line, gateLine); ok {
			r.gate, _ = time.ParseDuration(text) // an odd one is none
		}
		r.running = r.running || line == runningLine
		r.node = r.node || line == nodeLine
		r.auto = r.auto || line == autoLine
		r.withoutFrames = r.withoutFrames || line == noFramesLine
		r.disabled = r.disabled || line == disabledLine
	}
	r.config = plain.String()
	if packed.Len() > 0 {
		// What cannot be unpacked is kept: it cannot be parsed either, which is said
		// to whoever wants the configuration, and nobody else.
		if text, err := inflated(packed.String()); err == nil {
			r.config = text
		}
	}
	return r, nil
}

// parsed is the configuration of the record.
func (r record) parsed() (rules.Config, error) {
	c, _, err := rules.Parse([]byte(r.config))
	if err == nil && c.Hash() != r.hash {
		err = errors.New("its hash is another")
	}
	if err != nil {
		return rules.Config{}, fmt.Errorf("table inet %s: holds no configuration that can be read back; it was changed, or made by another version: %w", tableName, err)
	}
	return c, nil
}

// state says in a few words what the record is of.
func (r record) state() string {
	switch {
	case r.hash == "":
		return "it has none"
	case r.disabled:
		return "capture is disabled"
	}
	return "it has " + r.hash
}

// applied is the record without its configuration.
func (r record) applied() Applied {
	return Applied{Hash: r.hash, Running: r.running, Auto: r.auto, Node: r.node, Disabled: r.disabled, Gate: r.gate}
}

// options are those that the recorded plan was made with.
func (r record) options() []rules.Option { return r.applied().Options() }

// Hash reports the hash of the configuration a namespace's rules were made from, ""
// when there are none.
func Hash(netnsFD int) (string, error) {
	r, found, err := recordOf(netnsFD)
	if err == nil && found && r.hash == "" {
		err = errors.New("table inet " + tableName + ": holds no configuration hash; it was changed or made by something else")
	}
	return r.hash, err
}

// Stored reads back the configuration a namespace's rules were made from; false
// when there are none.
func Stored(netnsFD int) (rules.Config, bool, error) {
	applied, found, err := Read(netnsFD)
	return applied.Config, found, err
}

// Limitations says what of the plan the namespace's rules do not hold, since the
// kernel could not take it.
func Limitations(netnsFD int) ([]rules.Warning, error) {
	r, found, err := recordOf(netnsFD)
	if err != nil || !found || !r.withoutFrames {
		return nil, err
	}
	return []rules.Warning{{Field: "failurePolicy", Text: "block does not stop packet sockets here: the kernel has no netdev egress hook (Linux 5.16 with CONFIG_NETFILTER_EGRESS); keep CAP_NET_RAW from the pod"}}, nil
}

func recordOf(netnsFD int) (record, bool, error) {
	c, err := open(netnsFD)
	if err != nil {
		return record{}, false, err
	}
	defer closeLater(c)
	tables, err := installed(c)
	if err != nil || tables[0] == nil {
		return record{}, false, err
	}
	r, err := readRecord(c, tables[0])
	return r, err == nil, err
}
