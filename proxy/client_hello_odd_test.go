package proxy

import (
	"encoding/binary"
	"strings"
	"testing"
)

// extension is one of a hello's.
type extension struct {
	id   uint16
	data []byte
}

func prefixed(size int, b []byte) []byte {
	n := make([]byte, 4)
	binary.BigEndian.PutUint32(n, uint32(len(b)))
	return append(n[4-size:], b...)
}

// sni is a server_name extension with the given entries of one type each.
func sni(entries ...string) extension {
	var list []byte
	for _, e := range entries {
		list = append(append(list, e[0]), prefixed(2, []byte(e[1:]))...)
	}
	return extension{extensionServerName, prefixed(2, list)}
}

func host(name string) string { return "\x00" + name }

// helloOf is a TLS 1.2 hello with extensions, in one record.
func helloOf(extensions ...extension) []byte {
	body := append([]byte{3, 3}, make([]byte, 32)...)
	body = append(body, 0)                      // session id
	body = append(body, 0, 2, 0xc0, 0x2f, 1, 0) // one suite, no compression
	var all []byte
	for _, e := range extensions {
		all = append(binary.BigEndian.AppendUint16(all, e.id), prefixed(2, e.data)...)
	}
	body = append(body, prefixed(2, all)...)
	message := append([]byte{handshakeClientHello}, prefixed(3, body)...)
	return append([]byte{recordHandshake, 3, 1}, prefixed(2, message)...)
}

type oddHello struct {
	name  string
	bytes []byte
	want  clientHello
	bad   bool
}

func oddHellos() []oddHello {
	plain := sni(host("www.test"))
	ech := extension{extensionEncryptedName, append([]byte{0, 0, 1, 0, 1, 7, 0, 32}, make([]byte, 34)...)}
	return []oddHello{
		{"a name", helloOf(plain), clientHello{name: "www.test"}, false},
		{"no extension", helloOf(), clientHello{}, false},
		{"an unknown extension, then a name", helloOf(extension{0x1a1a, nil}, plain), clientHello{name: "www.test"}, false},
		{"a trailing dot", helloOf(sni(host("www.test."))), clientHello{name: "www.test."}, false},
		{"upper case", helloOf(sni(host("WWW.TEST"))), clientHello{name: "WWW.TEST"}, false},
		{"an address", helloOf(sni(host("192.0.2.1"))), clientHello{name: "192.0.2.1"}, false},
		{"an IPv6 address", helloOf(sni(host("[2001:db8::1]"))), clientHello{name: "[2001:db8::1]"}, false},
		{"NUL in the name", helloOf(sni(host("www.test\x00.evil.test"))), clientHello{name: "www.test\x00.evil.test"}, false},
		{"bytes above ASCII", helloOf(sni(host("\xff\xfe.test"))), clientHello{name: "\xff\xfe.test"}, false},
		{"a port", helloOf(sni(host("www.test:443"))), clientHello{name: "www.test:443"}, false},
		{"a name of 16 000 bytes", helloOf(sni(host(strings.Repeat("a", 16000)))), clientHello{name: strings.Repeat("a", 16000)}, false},
		{"a type that is no host name", helloOf(sni("\x07something")), clientHello{}, true},
		{"another type, then a host name", helloOf(sni("\x07something", host("www.test"))), clientHello{}, true},
		{"encrypted", helloOf(plain, ech), clientHello{name: "www.test", encrypted: true}, false},
		{"encrypted, before the name", helloOf(ech, plain), clientHello{name: "www.test", encrypted: true}, false},
		{"encrypted, as drafts had it", helloOf(plain, extension{extensionEncryptedSNI, []byte{1}}), clientHello{name: "www.test", encrypted: true}, false},
		{"encrypted, with no other name", helloOf(ech), clientHello{encrypted: true}, false},
		{"two host names", helloOf(sni(host("www.test"), host("evil.test"))), clientHello{}, true},
		{"two server_name extensions", helloOf(plain, sni(host("evil.test"))), clientHello{}, true},
		{"an empty name", helloOf(sni(host(""))), clientHello{}, true},
		{"an empty list", helloOf(sni()), clientHello{}, true},
		{"an empty extension", helloOf(extension{extensionServerName, nil}), clientHello{}, true},
		{"bytes behind the list", helloOf(extension{extensionServerName, append(plain.data, 0)}), clientHello{}, true},
		{"a list longer than its extension", helloOf(extension{extensionServerName, []byte{0, 9, 0, 0, 1, 'a'}}), clientHello{}, true},
		{"a name longer than its list", helloOf(extension{extensionServerName, []byte{0, 4, 0, 0, 9, 'a'}}), clientHello{}, true},
	}
}

func TestServerNamesOfEveryShapeHaveOneReading(t *testing.T) {
	t.Parallel()
	for _, c := range oddHellos() {
		for _, size := range []int{1 << 14, 11, 1} {
			b := c.bytes
			if size < len(b)-5 {
				b = records(b, size)
			}
			got, more, err := readClientHello(b)
			if got != c.want || more || (err != nil) != c.bad {
				t.Errorf("%s, in records of %d: %+v, more %v, error %v", c.name, size, got, more, err)
			}
		}
		if name, encrypted, read := oracle(c.bytes); read && !c.bad && (name != c.want.name || encrypted != c.want.encrypted) {
			t.Errorf("%s: crypto/tls reads %q, encrypted %v", c.name, name, encrypted)
		}
	}
}
