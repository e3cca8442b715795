package nft

import (
	"errors"

	"github.com/google/nftables"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/record"
)

// chainApplied is a chain that no packet walks: the record is in its rules' comments.
const chainApplied = "applied"

// plainBytes is how long a configuration may be and still be kept as text that
// a person reading `nft list` understands.
const plainBytes = 600

// newRecord is what is applied with a plan; interfaces are those with an egress chain.
func newRecord(p rules.Plan, interfaces []string) (record.Record, error) {
	r, err := record.New(p)
	r.Interfaces = interfaces
	return r, err
}

func recordChain(r record.Record) rules.Chain {
	out := rules.Chain{Name: chainApplied}
	for _, line := range r.Lines(plainBytes) {
		out.Rules = append(out.Rules, rules.Rule{Name: line, Action: rules.Action{Kind: rules.ActionAccept}})
	}
	return out
}

// readRecord reads the record of a table.
func readRecord(c *nftables.Conn, t *nftables.Table) (record.Record, error) {
	found, err := c.GetRules(t, &nftables.Chain{Name: chainApplied})
	if err != nil && !isMissing(err) {
		return record.Record{}, explain("read the rules back", err)
	}
	return record.Parse(func(yield func(string) bool) {
		for _, rule := range found {
			if !yield(commentOf(rule.UserData)) {
				return
			}
		}
	}), nil
}

// applied is what the record of the namespace says, its configuration included.
func applied(r record.Record) (Applied, error) { return r.Read("table inet " + tableName) }

// stateOf says in a few words what a record is of.
func stateOf(r record.Record) string {
	switch {
	case r.Hash == "":
		return "it has none"
	case r.Disabled:
		return "capture is disabled"
	}
	return "it has " + r.Hash
}

// Hash reports the hash of the configuration a namespace's rules were made from, ""
// when there are none.
func Hash(netnsFD int) (string, error) {
	r, found, err := recordOf(netnsFD)
	if err == nil && found && r.Hash == "" {
		err = errors.New("table inet " + tableName + ": holds no configuration hash; it was changed or made by something else")
	}
	return r.Hash, err
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
	if err != nil || !found || !r.WithoutFrames {
		return nil, err
	}
	return []rules.Warning{{Field: "failurePolicy", Text: "block does not stop packet sockets here: the kernel has no netdev egress hook (Linux 5.16 with CONFIG_NETFILTER_EGRESS); keep CAP_NET_RAW from the pod"}}, nil
}

func recordOf(netnsFD int) (record.Record, bool, error) {
	c, err := open(netnsFD)
	if err != nil {
		return record.Record{}, false, err
	}
	defer closeLater(c)
	tables, err := installed(c)
	if err != nil || tables[0] == nil {
		return record.Record{}, false, err
	}
	r, err := readRecord(c, tables[0])
	return r, err == nil, err
}
