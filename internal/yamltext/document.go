// Package yamltext finds where the parts of a YAML text stand, so that one can be changed
// and every other byte stays as it is.
package yamltext

import "bytes"

// Document is one YAML document of a stream, with the "---" line that opens it.
type Document struct {
	Start, End int // bytes
	Line       int // of its first byte, 1-based
}

// Documents cuts a stream at its "---" and "..." lines. Cutting before
// parsing lets one broken document leave the others readable, and an object be
// taken out of a file byte by byte.
func Documents(data []byte) []Document {
	var docs []Document
	cur := Document{Line: 1}
	if bytes.HasPrefix(data, byteOrderMark) {
		cur.Start = len(byteOrderMark)
	}
	line, directives := 1, false
	for pos := cur.Start; pos < len(data); line++ {
		next := pos + lineLength(data[pos:])
		text := data[pos:next]
		switch {
		case isMarker(text, "---") && !directives && pos > cur.Start:
			cur.End = pos
			docs = append(docs, cur)
			cur = Document{Start: pos, Line: line}
		case isMarker(text, "..."):
			cur.End = next
			docs = append(docs, cur)
			cur = Document{Start: next, Line: line + 1}
		}
		directives = text[0] == '%' && pos == cur.Start || directives && isBlank(text)
		pos = next
	}
	if cur.Start < len(data) {
		cur.End = len(data)
		docs = append(docs, cur)
	}
	return docs
}

// byteOrderMark opens what some editors on Windows save.
var byteOrderMark = []byte("\xef\xbb\xbf")

func lineLength(data []byte) int {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1
	}
	return len(data)
}

// isMarker says whether a line is a document marker, perhaps with content after it.
func isMarker(line []byte, marker string) bool {
	if !bytes.HasPrefix(line, []byte(marker)) {
		return false
	}
	return len(line) == len(marker) || bytes.IndexByte([]byte(" \t\r\n"), line[len(marker)]) >= 0
}

// isBlank says whether a line holds nothing but directives, blanks and comments,
// so that the "---" below it opens the same document.
func isBlank(line []byte) bool {
	line = bytes.TrimSpace(line)
	return len(line) == 0 || line[0] == '#' || line[0] == '%'
}
