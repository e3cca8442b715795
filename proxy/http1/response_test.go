package http1

import (
	"strings"
	"testing"
)

func TestAResponsesBodyEndsWhereTheRFCSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		head, method string
		want         Framing
		keep         bool
	}{
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "GET", Length, true},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD", NoBody, true},
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", NoBody, true},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", "GET", Chunked, true},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD", NoBody, true},
		{"HTTP/1.1 200 OK\r\n\r\n", "GET", UntilClose, true},
		{"HTTP/1.0 200 OK\r\n\r\n", "GET", UntilClose, false},
		{"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n", "GET", Length, true},
		{"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n", "GET", Length, false},
		{"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "GET", NoBody, true},
		{"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", NoBody, true},
		{"HTTP/1.1 100 Continue\r\n\r\n", "POST", NoBody, true},
		{"HTTP/1.1 200\r\n\r\n", "GET", UntilClose, true},
		{"HTTP/1.1 200 \r\n\r\n", "GET", UntilClose, true},
		{"HTTP/1.1 200 d\xe9j\xe0 vu\r\n\r\n", "GET", UntilClose, true},
	} {
		var r Response
		n, err := r.Parse([]byte(c.head))
		if err != nil || n != len(c.head) || r.Body([]byte(c.method)) != c.want || r.KeepAlive != c.keep {
			t.Errorf("%s %q: body %d, keep %v, consumed %d, error %v", c.method, c.head, r.Body([]byte(c.method)), r.KeepAlive, n, err)
		}
	}
}

func TestMalformedResponsesAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want *Error
	}{
		"not HTTP":                {"SSH-2.0-OpenSSH\r\n", errStartLine},
		"lower case":              {"http/1.1 200 OK\r\n\r\n", errStartLine},
		"two digits":              {"HTTP/1.1 20 OK\r\n\r\n", errStartLine},
		"four digits":             {"HTTP/1.1 2000 OK\r\n\r\n", errStartLine},
		"status below 100":        {"HTTP/1.1 099 OK\r\n\r\n", errStartLine},
		"status with a sign":      {"HTTP/1.1 +20 OK\r\n\r\n", errStartLine},
		"two spaces":              {"HTTP/1.1  200 OK\r\n\r\n", errStartLine},
		"control in the reason":   {"HTTP/1.1 200 O\x00K\r\n\r\n", errStartLine},
		"version 2":               {"HTTP/2.0 200 OK\r\n\r\n", errVersion},
		"bare LF":                 {"HTTP/1.1 200 OK\nA: b\r\n\r\n", errLineEnd},
		"length and chunked":      {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", errLengthAndChunked},
		"two lengths":             {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", errContentLength},
		"chunked in 1.0":          {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", errTEinHTTP10},
		"unknown coding":          {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", errTransferEncoding},
		"folded field":            {"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", errFold},
		"more than 100 fields":    {"HTTP/1.1 200 OK\r\n" + strings.Repeat("a: b\r\n", 101) + "\r\n", errTooMany},
		"a head beyond the limit": {"HTTP/1.1 200 OK\r\na: " + strings.Repeat("b", MaxHeadBytes), errTooLarge},
	} {
		var r Response
		if n, err := r.Parse([]byte(c.text)); err != c.want || n != 0 {
			t.Errorf("%s: consumed %d, error %v, want %v", name, n, err, c.want)
		}
	}
}
