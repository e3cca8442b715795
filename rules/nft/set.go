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
	rules.SetCgroup:    nftables.TypeCGroupV2,
	rules.SetFamily:    nftables.TypeNFProto,
}

// kernelSet describes a set without its elements.
func kernelSet(t *nftables.Table, s rules.Set) *nftables.Set {
	set := &nftables.Set{Table: t, Name: s.Name, KeyType: keyTypes[s.Type], Interval: s.Interval(), Dynamic: s.Dynamic, HasTimeout: s.Dynamic}
	if !set.Interval {
		set.KeyByteOrder = binaryutil.NativeEndian
	}
	return set
}

// addElements queues elements in as many messages as they need.
func addElements(c *nftables.Conn, set *nftables.Set, members []nftables.SetElement) error {
	for chunk := range slices.Chunk(members, elementsPerMessage) {
		if err := c.SetAddElements(set, chunk); err != nil {
			return err
		}
	}
	return nil
}

// elements are the set's elements as the kernel holds them. An interval is two:
//
//	10.0.0.0/8   10.0.0.0 ── 11.0.0.0 (end, not included)
//	240.0.0.0/4  240.0.0.0 ──▶           no end: it runs to the last address
func elements(s rules.Set, cgroups cgroupIDs) []nftables.SetElement {
	// An element is large: growing the list would cost as much as sending it.
	out := make([]nftables.SetElement, 0, 2*(len(s.Addresses)+len(s.Ports))+len(s.Numbers)+len(s.Interfaces)+len(s.Cgroups)+len(s.IDs))
	interval := func(first, last []byte) {
		out = append(out, nftables.SetElement{Key: first})
		if increment(last) {
			out = append(out, nftables.SetElement{Key: last, IntervalEnd: true})
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
	for _, id := range s.IDs {
		out = append(out, nftables.SetElement{Key: binaryutil.NativeEndian.PutUint64(id)})
	}
	for _, path := range s.Cgroups {
		if id, known := cgroups[path]; known {
			out = append(out, nftables.SetElement{Key: binaryutil.NativeEndian.PutUint64(id)})
		}
	}
	return out
}

// increment adds one to a big-endian number; false when there is no next.
func increment(key []byte) bool {
	for i := len(key) - 1; i >= 0; i-- {
		key[i]++
		if key[i] != 0 {
			return true
		}
	}
	return false
}

// interfaceKey is a name as the kernel compares it: 16 bytes, zero-filled.
func interfaceKey(name string) []byte {
	key := make([]byte, 16)
	copy(key, name)
	return key
}
