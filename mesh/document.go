package mesh

import "bytes"

// document is one YAML document of a stream.
type document struct {
	start, end int // bytes
	line       int // of its first byte, 1-based
}

// splitDocuments cuts a stream at its "---" and "..." lines. Cutting before
// parsing lets one broken document leave the others readable, and an object be
// taken out of a file byte by byte.
func splitDocuments(data []byte) []document {
	var docs []document
	cur := document{line: 1}
	if bytes.HasPrefix(data, byteOrderMark) {
		cur.start = len(byteOrderMark)
	}
	line, directives := 1, false
	for pos := cur.start; pos < len(data); line++ {
		next := pos + lineLength(data[pos:])
		text := data[pos:next]
		switch {
		case isMarker(text, "---") && !directives && pos > cur.start:
			cur.end = pos
			docs = append(docs, cur)
			cur = document{start: pos, line: line}
		case isMarker(text, "..."):
			cur.end = next
			docs = append(docs, cur)
			cur = document{start: next, line: line + 1}
		}
		directives = text[0] == '%' && pos == cur.start || directives && isBlank(text)
		pos = next
	}
	if cur.start < len(data) {
		cur.end = len(data)
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
