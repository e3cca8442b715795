package nft

import (
	"encoding/binary"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/sluice-cni/sluice/rules"
)

// elementsPerMessage keeps a message's element list, a netlink attribute, below
// its limit of 64 KiB: an IPv6 element takes up to 36 bytes.
const elementsPerMessage = 1500

var keyTypes = map[rules.SetType]nftables.SetDatatype{
	rules.SetIPv4:      nftables.TypeIPAddr,
	rules.SetIPv6:      nftables.TypeIP6Addr,
	rules.SetPort:      nftables.TypeInetService,
	rules.SetUID:       nftables.TypeUID,
	rules.SetGID:       nftables.TypeGID,
	rules.SetMark:      nftables.TypeMark,
	rules.SetInterface: nftables.TypeIFName,
}

// addSet queues a set. Its id, by which rules of the same transaction refer to it,
// is ours: the library's own counter is shared by all connections and not locked.
func addSet(c *nftables.Conn, t *nftables.Table, s rules.Set, id uint32) (*nftables.Set, error) {
	set := &nftables.Set{ID: id, Table: t, Name: s.Name, KeyType: keyTypes[s.Type], Interval: s.Interval()}
	if !set.Interval {
		set.KeyByteOrder = binaryutil.NativeEndian
	}
	if err := c.AddSet(set, nil); err != nil {
		return nil, err
	}
	for chunk := range slices.Chunk(elements(s), elementsPerMessage) {
		if err := c.SetAddElements(set, chunk); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// elements are the set's elements as the kernel holds them. An interval is two:
//
//	10.0.0.0/8   10.0.0.0 ── 11.0.0.0 (end, not included)
//	240.0.0.0/4  240.0.0.0 ──▶           no end: it runs to the last address
func elements(s rules.Set) []nftables.SetElement {
	var out []nftables.SetElement
	interval := func(first, last []byte) {
		out = append(out, nftables.SetElement{Key: first})
		if end, ok := next(last); ok {
			out = append(out, nftables.SetElement{Key: end, IntervalEnd: true})
		}
	}
	for _, r := range s.Addresses {
		interval(r.From().AsSlice(), r.To().AsSlice())
	}
	for _, p := range s.Ports {
		interval(binary.BigEndian.AppendUint16(nil, p.First), binary.BigEndian.AppendUint16(nil, p.Last))
	}
	for _, n := range s.Numbers {
		out = append(out, nftables.SetElement{Key: binaryutil.NativeEndian.PutUint32(n)})
	}
	for _, name := range s.Interfaces {
		out = append(out, nftables.SetElement{Key: interfaceKey(name)})
	}
	return out
}

// next is the number after a big-endian one; false after the last.
func next(key []byte) ([]byte, bool) {
	out := slices.Clone(key)
	for i := len(out) - 1; i >= 0; i-- {
		out[i]++
		if out[i] != 0 {
			return out, true
		}
	}
	return nil, false
}

// interfaceKey is a name as the kernel compares it: 16 bytes, zero-filled.
func interfaceKey(name string) []byte {
	key := make([]byte, 16)
	copy(key, name)
	return key
}
