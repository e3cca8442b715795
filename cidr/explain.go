package cidr

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// The functions of this file say what is wrong with an element and what to write
// instead. None of them accepts anything.

// misfit recognises what is no single range at all.
func misfit(s string) string {
	switch {
	case s == "":
		return "empty; remove the extra comma"
	case strings.Contains(s, ","):
		return "holds a comma; make each range an element of its own"
	case strings.ContainsAny(s, "\"'`"):
		return "holds a quotation mark; remove it"
	case strings.ContainsAny(s, " \t\r\n;|"):
		return "not one range; put a comma between ranges"
	case strings.Contains(s, "*"):
		return "not a range; use a CIDR range such as 10.0.0.0/8, or * alone for every address"
	case strings.Contains(s, "%"):
		return "has a zone; remove the zone, ranges hold on every interface"
	}
	return ""
}

// explainAddress says why the part before the slash is no address.
func explainAddress(s string) string {
	parts := strings.Split(s, ".")
	switch {
	case strings.HasPrefix(s, "[") || strings.HasSuffix(s, "]"):
		return "has brackets; write the address without them and without a port"
	case isRangeOfAddresses(s):
		return "a first-last range; write it in CIDR form, such as 10.0.0.0/24"
	case !allNumbers(parts):
		return "not an IP address or CIDR range; write one such as 10.0.0.0/8 or 2001:db8::/32 (names cannot be used)"
	case len(parts) != 4:
		return "not a whole IPv4 address; write all four numbers, such as 10.0.0.0/8"
	}
	for _, p := range parts {
		if n, err := strconv.Atoi(p); err != nil || n > 255 {
			return fmt.Sprintf("%s is too large for an IPv4 address; use 0 to 255", p)
		}
	}
	return "has leading zeros, which some programs read as octal; write " + withoutZeros(parts)
}

func isRangeOfAddresses(s string) bool {
	first, last, found := strings.Cut(s, "-")
	_, err1 := netip.ParseAddr(first)
	_, err2 := netip.ParseAddr(last)
	return found && err1 == nil && err2 == nil
}

func allNumbers(parts []string) bool {
	for _, p := range parts {
		if p == "" || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}

func withoutZeros(parts []string) string {
	out := make([]string, len(parts))
	for i, p := range parts {
		n, _ := strconv.Atoi(p) // allNumbers held
		out[i] = strconv.Itoa(n)
	}
	return strings.Join(out, ".")
}

// explainLength says why the part after the slash is no prefix length.
func explainLength(s string, addr netip.Addr) string {
	_, length, _ := strings.Cut(s, "/")
	family := "IPv4"
	if addr.Is6() {
		family = "IPv6"
	}
	if mask, err := netip.ParseAddr(length); err == nil && mask.Is4() {
		return "has a netmask; write its length instead, such as " + addr.String() + "/24"
	}
	if n, err := strconv.Atoi(length); err == nil && n >= 0 && n <= addr.BitLen() && allNumbers([]string{length}) {
		return fmt.Sprintf("has a length with leading zeros; write %s/%d", addr, n)
	}
	return fmt.Sprintf("%q is not a prefix length; use 0 to %d for %s", length, addr.BitLen(), family)
}

// explainMapped refuses ::ffff:a.b.c.d: no packet carries such an address, so a
// range of them would match nothing.
func explainMapped(p netip.Prefix) string {
	if p.Bits() < 96 {
		return "an IPv4-mapped IPv6 range, which matches no packet; write the IPv4 range"
	}
	v4 := netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	return "an IPv4-mapped IPv6 range, which matches no packet; write " + v4.Masked().String()
}
