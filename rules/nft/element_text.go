package nft

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/sluice-cni/sluice/rules"
)

// elementText names an element by its key, as a person would recognise it.
func elementText(t rules.SetType, e nftables.SetElement) string {
	text := keyText(t, e.Key)
	if e.IntervalEnd {
		return "the range that ends before " + text
	}
	return text
}

// keyText falls back on hexadecimal for a key that does not fit its set, since
// what the kernel holds may be anybody's.
func keyText(t rules.SetType, key []byte) string {
	switch {
	case t == rules.SetPort && len(key) == 2:
		return strconv.Itoa(int(key[0])<<8 | int(key[1]))
	case t == rules.SetInterface:
		return strconv.Quote(string(bytes.TrimRight(key, "\x00")))
	case t == rules.SetIPv4 || t == rules.SetIPv6:
		if addr, ok := netip.AddrFromSlice(key); ok {
			return addr.String()
		}
	case t == rules.SetCgroup && len(key) == 8:
		return "cgroup " + strconv.FormatUint(binaryutil.NativeEndian.Uint64(key), 10)
	case len(key) == 4:
		return strconv.FormatUint(uint64(binaryutil.NativeEndian.Uint32(key)), 10)
	}
	return fmt.Sprintf("%x", key)
}
