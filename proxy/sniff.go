package proxy

import (
	"bytes"

	"github.com/sluice-cni/sluice/proxy/http1"
)

// kind is what a connection's first bytes look like.
type kind uint8

const (
	unknown kind = iota // more bytes are needed
	isHTTP1
	isHTTP2 // prior knowledge (RFC 9113 §3.3)
	isTLS
	isOpaque
)

// Bounds of what is waited for: a first line, and the method that begins it.
const (
	maxSniffed = 8 << 10
	maxMethod  = 64
)

var h2Preface = []byte("PRI * HTTP/2.0\r\n")

// sniff tells what b, the start of a connection, is. Bytes that begin like a
// request line are HTTP once the method is one everybody knows, or once the line
// ends in HTTP/1.x; so a text protocol is not taken for HTTP.
func sniff(b []byte) kind {
	if len(b) == 0 {
		return unknown
	}
	if b[0] == recordHandshake {
		switch {
		case len(b) > 1 && b[1] != 3: // the major version of every TLS record
			return isOpaque
		case len(b) > 1:
			return isTLS
		}
		return unknown
	}
	if len(b) >= len(h2Preface) && bytes.HasPrefix(b, h2Preface) {
		return isHTTP2
	}
	method, rest, spaced := bytes.Cut(b, []byte(" "))
	switch {
	case len(method) > 0 && !http1.IsToken(method), spaced && len(method) == 0, len(method) > maxMethod:
		return isOpaque
	case !spaced:
		return unknown
	}
	if bytes.HasPrefix(h2Preface, b) {
		return unknown
	}
	if commonMethod(method) {
		return isHTTP1
	}
	line, _, ended := bytes.Cut(rest, []byte("\n"))
	switch {
	case ended && requestLineEnd(line):
		return isHTTP1
	case ended || len(b) > maxSniffed:
		return isOpaque
	}
	return unknown
}

func commonMethod(m []byte) bool {
	switch string(m) {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE":
		return true
	}
	return false
}

// requestLineEnd reports whether a line without its LF ends in HTTP/x.y.
func requestLineEnd(line []byte) bool {
	line = bytes.TrimSuffix(line, []byte("\r"))
	i := bytes.LastIndexByte(line, ' ')
	return i >= 0 && bytes.HasPrefix(line[i+1:], []byte("HTTP/"))
}
