package proxy

import (
	"strings"
	"testing"
)

func TestFirstBytesTellTheProtocol(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bytes string
		want  kind
	}{
		"nothing yet":                             {"", unknown},
		"GET":                                     {"GET / HT", isHTTP1},
		"common method, then anything":            {"POST \x00", isHTTP1},
		"half a method":                           {"GE", unknown},
		"own method, line unfinished":             {"BREW /pot", unknown},
		"own method, whole line":                  {"BREW /pot HTTP/1.1\r\n", isHTTP1},
		"own method, bare LF":                     {"BREW /pot HTTP/1.1\n", isHTTP1},
		"a line that is no request":               {"EHLO mail.test\r\n", isOpaque},
		"a word without a space":                  {strings.Repeat("A", 65), isOpaque},
		"an endless line":                         {"BREW " + strings.Repeat("x", maxSniffed), isOpaque},
		"a space first":                           {" GET / HTTP/1.1\r\n", isOpaque},
		"binary":                                  {"\x00\x00\x00\x2a", isOpaque},
		"SSH":                                     {"SSH-2.0-OpenSSH_9.6\r\n", isOpaque},
		"redis":                                   {"*1\r\n$4\r\nPING\r\n", isOpaque},
		"HTTP/2 preface":                          {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", isHTTP2},
		"half the preface":                        {"PRI * HTTP", unknown},
		"PRI, not the preface":                    {"PRI / HTTP/1.1\r\n", isHTTP1},
		"TLS 1.0 record":                          {"\x16\x03\x01", isTLS},
		"one byte of TLS":                         {"\x16", unknown},
		"handshake byte, no TLS":                  {"\x16\x02", isOpaque},
		"TLS alert is no hello":                   {"\x15\x03\x01", isOpaque},
		"a method of separators":                  {"(a) / HTTP/1.1\r\n", isOpaque},
		"a request without its version":           {"BREW /pot\r\n", isOpaque},
		"a lower-case method known in upper case": {"get / HTTP/1.1\r\n", isHTTP1},
	} {
		if got := sniff([]byte(c.bytes)); got != c.want {
			t.Errorf("%s: kind %d, want %d", name, got, c.want)
		}
	}
}

// More bytes never change a decision that was made.
func FuzzSniff(f *testing.F) {
	for _, s := range []string{"GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\n", "\x16\x03\x01\x00", "BREW / HTTP/1.1\r\n", "EHLO x\r\n", "PRI / HTTP/1.1\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		decided := unknown
		for n := 0; n <= len(b); n++ {
			k := sniff(b[:n])
			if decided != unknown && k != decided {
				t.Fatalf("%q: kind %d after %d bytes, was %d", b, k, n, decided)
			}
			decided = k
		}
		if decided == unknown && len(b) > maxSniffed {
			t.Fatalf("undecided after %d bytes", len(b))
		}
	})
}
