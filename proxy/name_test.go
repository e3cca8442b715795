package proxy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/mesh"
)

func TestOnlyASCIIIsLowered(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"WWW.Test": "www.test", "www.test.": "www.test", "www.test..": "www.test.", ".": ".", "": "",
		"\u212aUBE.test": "\u212aube.test", // a Kelvin sign is not the letter k
	} {
		if got := canonicalName(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// A server name twice is read differently by different servers.
func TestAHelloWithTwoServerNamesIsRefused(t *testing.T) {
	t.Parallel()
	entry := func(nameType byte, name string) []byte {
		return append([]byte{nameType, 0, byte(len(name))}, name...)
	}
	extension := func(entries ...[]byte) []byte {
		var list []byte
		for _, e := range entries {
			list = append(list, e...)
		}
		data := append([]byte{0, byte(len(list))}, list...)
		return append([]byte{0, 0, 0, byte(len(data))}, data...)
	}
	good := entry(0, "www.test")
	for what, extensions := range map[string][]byte{
		"two extensions":       append(extension(good), extension(entry(0, "other.test"))...),
		"the same twice":       append(extension(good), extension(good)...),
		"two names":            extension(good, entry(0, "other.test")),
		"another type":         extension(entry(1, "www.test")),
		"another type, then":   extension(entry(1, "x"), good),
		"an empty name":        extension(entry(0, "")),
		"an empty list":        extension(),
		"bytes after the list": {0, 0, 0, 14, 0, 11, 0, 0, 8, 'w', 'w', 'w', '.', 't', 'e', 's', 't', 0},
	} {
		if name, more, err := readClientHello(helloWith(extensions)); err == nil || more {
			t.Errorf("%s: %+v, more %v, error %v", what, name, more, err)
		}
	}
	if got, _, err := readClientHello(helloWith(extension(good))); got.name != "www.test" || err != nil {
		t.Errorf("one name: %+v %v", got, err)
	}
}

// helloWith is a ClientHello with these extensions.
func helloWith(extensions []byte) []byte {
	body := append([]byte{3, 3}, make([]byte, 32)...) // version, random
	body = append(body, 0, 0, 2, 0x13, 1, 1, 0)       // session, one suite, no compression
	body = append(body, byte(len(extensions)>>8), byte(len(extensions)))
	body = append(body, extensions...)
	hello := append([]byte{handshakeClientHello, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	return append([]byte{recordHandshake, 3, 1, byte(len(hello) >> 8), byte(len(hello))}, hello...)
}

func TestTheUnsafeRangesAreSeenThroughEveryDisguise(t *testing.T) {
	t.Parallel()
	s := &Server{cfg: Config{UnsafeRanges: UnsafeRanges()}}
	c := &mesh.Cluster{}
	for addr, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "169.254.169.254": true, "0.0.0.0": true, "224.0.0.1": true, "255.255.255.255": true,
		"::1": true, "::": true, "fe80::1": true, "ff02::1": true,
		"::ffff:127.0.0.1": true, "::ffff:169.254.169.254": true, "64:ff9b::7f00:1": true, "64:ff9b::a9fe:a9fe": true,
		"10.0.0.1": false, "203.0.113.1": false, "2001:db8::1": false, "fd00::1": false, "64:ff9b::cb00:7101": false, "240.240.0.1": false,
	} {
		if got := s.unsafe(c, netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: unsafe %v, want %v", addr, got, want)
		}
	}
	listed := &mesh.Cluster{Addresses: []netip.Prefix{netip.MustParsePrefix("169.254.169.254/32")}}
	if s.unsafe(listed, netip.MustParseAddr("169.254.169.254")) {
		t.Error("an address that the ServiceEntry lists")
	}
}

func TestEveryAddressIsUsedAndOneThatFailedIsTriedLast(t *testing.T) {
	t.Parallel()
	var all []netip.Addr
	for _, text := range []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"} {
		all = append(all, netip.MustParseAddr(text))
	}
	four, six := netip.MustParseAddrPort("203.0.113.1:80"), netip.MustParseAddrPort("[2001:db8::99]:80")
	with, without := &Server{}, &Server{}
	with.ipv6.ask, without.ipv6.ask = func() bool { return true }, func() bool { return false }
	picks := func(s *Server, a asked, all []netip.Addr) string {
		seen := map[string]bool{}
		for turn := range uint32(8) {
			seen[s.pickAddr(all, a, turn).String()] = true
		}
		var out []string
		for _, x := range all {
			if seen[x.String()] {
				out = append(out, x.String())
			}
		}
		return strings.Join(out, " ")
	}
	at := func(addr netip.Addr) netip.AddrPort { return netip.AddrPortFrom(addr, 80) }
	for what, c := range map[string]struct {
		s    *Server
		a    asked
		all  []netip.Addr
		want string
	}{
		"the application's family": {with, asked{dst: four}, all, "192.0.2.1 192.0.2.2"},
		"the other":                {with, asked{dst: six}, all, "2001:db8::1 2001:db8::2"},
		"no IPv6 route":            {without, asked{dst: six}, all, "192.0.2.1 192.0.2.2"},
		"nothing but IPv6":         {without, asked{dst: four}, all[2:], "2001:db8::1 2001:db8::2"},
		"one failed":               {with, asked{dst: four}.without(at(all[0])), all, "192.0.2.2"},
		"both failed":              {with, asked{dst: four}.without(at(all[0])).without(at(all[1])), all, "2001:db8::1 2001:db8::2"},
		"both failed, no route":    {without, asked{dst: four}.without(at(all[0])).without(at(all[1])), all, "192.0.2.1 192.0.2.2"},
		"the only one failed":      {with, asked{dst: four}.without(at(all[0])), all[:1], "192.0.2.1"},
	} {
		if got := picks(c.s, c.a, c.all); got != c.want {
			t.Errorf("%s: %s, want %s", what, got, c.want)
		}
	}
}
