package yamltext

import (
	"bytes"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Offset turns a line and a column of a node, counted in letters from 1, into bytes.
func Offset(text []byte, line, column int) int { return newPlaces(text).offset(line, column) }

// places finds nodes in the text that they were parsed from.
type places struct {
	text  []byte
	lines []int // where they begin

	// The last that was asked for: who asks for one after the other reads a line once, though
	// the whole text is one, as JSON may be.
	line, column, at int
}

func newPlaces(text []byte) *places {
	lines, rest := []int{0}, text
	for {
		next := afterBreak(rest)
		if next < 0 {
			return &places{text: text, lines: lines}
		}
		lines = append(lines, len(text)-len(rest)+next)
		rest = rest[next:]
	}
}

// afterBreak is where the second line of a text begins, -1 for none. YAML 1.1 breaks lines at
// CR, NEL, LS and PS too (5.4).
func afterBreak(text []byte) int {
	i := bytes.IndexAny(text, "\n\r\u0085\u2028\u2029")
	if i < 0 {
		return -1
	}
	if bytes.HasPrefix(text[i:], []byte("\r\n")) {
		return i + 2
	}
	_, size := utf8.DecodeRune(text[i:])
	return i + size
}

func (p *places) of(n *yaml.Node) int { return p.offset(n.Line, n.Column) }

func (p *places) offset(line, column int) int {
	if line > len(p.lines) {
		return len(p.text)
	}
	if line != p.line || column < p.column {
		p.line, p.column, p.at = line, 1, p.lines[line-1]
	}
	end := len(p.text)
	if line < len(p.lines) {
		end = p.lines[line]
	}
	for ; p.column < column && p.at < end; p.column++ {
		_, size := utf8.DecodeRune(p.text[p.at:])
		p.at += size
	}
	return p.at
}
