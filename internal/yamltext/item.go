package yamltext

import (
	"bytes"

	"go.yaml.in/yaml/v3"
)

// Item finds item i of a sequence that was parsed from text: in a block the lines from its
// dash to the next one or to the end of the sequence, in a flow, as in JSON, with the comma
// that goes with it; the items of a flow must be mappings or sequences. Where that is not
// plain, end is less than start, or start is -1. Items behind i may have been cut out of
// text already.
func Item(text []byte, sequence *yaml.Node, i int) (start, end int) {
	return newPlaces(text).item(sequence, i)
}

func (p *places) item(sequence *yaml.Node, i int) (start, end int) {
	if sequence.Style&yaml.FlowStyle != 0 {
		return p.flowItem(sequence.Content[i])
	}
	return p.blockItem(sequence, i)
}

// blockItem finds the lines of an item of a block sequence, from its dash to the
// next one or to the end of the sequence; comments above the next item are its own.
func (p *places) blockItem(sequence *yaml.Node, i int) (start, end int) {
	text, dash := p.text, sequence.Column-1
	start = p.offset(sequence.Content[i].Line, 1)
	if dash < 0 || start+dash >= len(text) || text[start+dash] != '-' {
		return -1, -1 // the dash stands on a line of its own, or elsewhere
	}
	pos := start
	for line := range bytes.Lines(text[start:]) {
		indent := len(line) - len(bytes.TrimLeft(line, " "))
		content := bytes.TrimSpace(line)
		switch {
		case pos == start:
		case len(content) == 0, content[0] == '#' && indent <= dash:
			pos += len(line)
			continue
		case indent <= dash:
			return start, end
		}
		pos += len(line)
		end = pos
	}
	return start, end
}

// flowItem finds an item of a flow sequence, as in JSON, with the comma that goes
// with it.
func (p *places) flowItem(item *yaml.Node) (start, end int) {
	text := p.text
	start = p.of(item)
	end = endOfFlow(text, start)
	if end < 0 {
		return -1, -1
	}
	rest := bytes.TrimLeft(text[end:], " \t\r\n")
	if len(rest) > 0 && rest[0] == ',' {
		end = len(text) - len(rest) + 1
		return start, end + len(text[end:]) - len(bytes.TrimLeft(text[end:], " \t\r\n"))
	}
	before := bytes.TrimRight(text[:start], " \t\r\n")
	if len(before) > 0 && before[len(before)-1] == ',' {
		start = len(before) - 1
	}
	return start, end
}

// endOfFlow finds the end of the mapping or sequence that opens at start.
func endOfFlow(text []byte, start int) int {
	depth := 0
	var quote byte
	for i := start; i < len(text); i++ {
		switch b := text[i]; {
		case quote != 0 && b == '\\' && quote == '"':
			i++
		case quote != 0:
			if b == quote {
				quote = 0
			}
		case b == '"' || b == '\'' && !isWordByte(text[i-1]):
			quote = b
		case b == '{' || b == '[':
			depth++
		case b == '}' || b == ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// isWordByte tells the apostrophe in a plain word from an opening quote.
func isWordByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
}
