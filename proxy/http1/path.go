package http1

import "bytes"

// Normalize returns a request path as routes see it and servers get it: with "\"
// as "/" and without "." and ".." segments, written plainly or as %2e (RFC 3986
// §5.2.4; Istio's pathNormalization BASE). Other escapes, %2F among them, empty
// segments and the query stay as they are. A path that needs nothing is returned
// itself; else the result is written to scratch[:0].
func Normalize(path, scratch []byte) []byte {
	end := bytes.IndexByte(path, '?')
	if end < 0 {
		end = len(path)
	}
	if !needsNormalizing(path[:end]) {
		return path
	}
	out := scratch[:0]
	rest := path[:end]
	for len(rest) > 0 {
		segment := rest[1:] // rest begins with a slash
		next := bytes.IndexAny(segment, `/\`)
		if next < 0 {
			next = len(segment)
		}
		segment, rest = segment[:next], segment[next:]
		last := len(rest) == 0
		switch dots(segment) {
		case 1:
			if last {
				out = append(out, '/')
			}
		case 2:
			out = out[:max(bytes.LastIndexByte(out, '/'), 0)]
			if last {
				out = append(out, '/')
			}
		default:
			out = append(append(out, '/'), segment...)
		}
	}
	return append(out, path[end:]...)
}

// needsNormalizing is quick to say no, which is the answer for most paths.
func needsNormalizing(path []byte) bool {
	for i, c := range path {
		switch c {
		case '\\':
			return true
		case '/':
			if dotAt(path[i+1:]) > 0 {
				return true
			}
		}
	}
	return false
}

// dotAt is the length of a dot, plain or escaped, at the start of b; 0 for none.
func dotAt(b []byte) int {
	switch {
	case len(b) > 0 && b[0] == '.':
		return 1
	case len(b) > 2 && b[0] == '%' && b[1] == '2' && b[2]|0x20 == 'e':
		return 3
	}
	return 0
}

// dots counts the dots of a segment that is nothing but one or two of them.
func dots(segment []byte) int {
	n := 0
	for len(segment) > 0 {
		size := dotAt(segment)
		if size == 0 || n == 2 {
			return 0
		}
		segment, n = segment[size:], n+1
	}
	return n
}
