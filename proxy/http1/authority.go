package http1

import (
	"bytes"
	"net/netip"
)

// nameChar marks what a registered name or IPv4 address may be made of (RFC 3986
// §3.2.2), without the percent sign: decoded or not, it would be two names.
var nameChar = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "-._~!$&'()*+,;=" {
		t[c] = true
	}
	return t
}()

// goodAuthority reports whether b is a host with or without a port, in the one
// form everybody reads alike: name, name:port, [address] or [address]:port.
func goodAuthority(b []byte) bool {
	if len(b) > 0 && b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		return end > 0 && goodAddress(b[1:end]) && goodPort(b[end+1:])
	}
	host, port := b, []byte(nil)
	if colon := bytes.IndexByte(b, ':'); colon >= 0 {
		host, port = b[:colon], b[colon:]
	}
	return len(host) > 0 && allIn(host, &nameChar) && goodPort(port)
}

// goodAddress takes an IPv6 address without a zone, which is of no use to others.
func goodAddress(b []byte) bool {
	if len(b) > len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255") {
		return false
	}
	a, err := netip.ParseAddr(string(b))
	return err == nil && a.Is6() && a.Zone() == ""
}

// goodPort takes nothing, or a colon and up to five digits (RFC 3986 allows none).
func goodPort(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if b[0] != ':' || len(b) > 6 {
		return false
	}
	port := 0
	for _, c := range b[1:] {
		if !digit(c) {
			return false
		}
		port = port*10 + int(c-'0')
	}
	return port <= 65535
}

// namesPort reports whether a good authority ends in a port that is not 0, as
// CONNECT's must (RFC 9110 §9.3.6).
func namesPort(b []byte) bool {
	colon := bytes.LastIndexByte(b, ':')
	return colon > 0 && b[len(b)-1] != ']' && len(bytes.TrimLeft(b[colon+1:], "0")) > 0
}

func allIn(b []byte, chars *[256]bool) bool {
	for _, c := range b {
		if !chars[c] {
			return false
		}
	}
	return true
}
