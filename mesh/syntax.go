package mesh

import (
	"bytes"
	"strings"
)

// syntaxAdvice turns what the YAML parser says into what to look for; the first
// one that fits is taken.
var syntaxAdvice = []struct{ says, advice string }{
	{"alphabetic or numeric character", "write a value that begins with * or & in quotes: \"*.example.com\""},
	{"unknown anchor", "write a value that begins with * in quotes: \"*.example.com\""},
	{"found a tab character", "indent with spaces, not with tabs"},
	{"cannot start any token", "write a value that begins with @, ` or % in quotes"},
	{"mapping values are not allowed", "a line holds one name: value; begin a new line, or write a value with a colon in quotes"},
	{"could not find expected ':'", "write name: value, with a colon and a space"},
	{"expected ',' or ']'", "close the list with ], and write commas between its items"},
	{"expected ',' or '}'", "close the mapping with }, and write commas between its fields"},
	{"unexpected end of stream", "close the quote, bracket or brace that was opened there"},
	{"unknown escape character", "write a backslash twice, or the text in single quotes"},
	{"expected key", "indent all fields of the mapping that begins here alike"},
	{"expected node content", "write the value that is missing there, or close what was opened"},
	{"expected '-' indicator", "begin each item of the list with - at the same depth"},
	{"sequence entries are not allowed", "begin the list on a line of its own"},
}

// adviseOn says what to do about a document that is not YAML, given the parser's
// complaint and the line it is about.
func adviseOn(complaint string, line []byte) string {
	text := bytes.TrimSpace(line)
	switch {
	case bytes.HasPrefix(text, []byte("<<<<<<<")), bytes.HasPrefix(text, []byte("=======")), bytes.HasPrefix(text, []byte(">>>>>>>")):
		return "a merge left both sides here; keep one of them"
	case bytes.Contains(line[:len(line)-len(bytes.TrimLeft(line, " \t"))], []byte("\t")):
		return "indent with spaces, not with tabs"
	}
	for _, a := range syntaxAdvice {
		if strings.Contains(complaint, a.says) {
			return a.advice
		}
	}
	return "correct it"
}

// aliasLine finds the alias of nothing, whose line the parser does not tell, in lines
// below the first.
func aliasLine(complaint string, text []byte) int {
	rest, ok := strings.CutPrefix(complaint, "unknown anchor '")
	if !ok {
		return 0
	}
	name, _, _ := strings.Cut(rest, "'")
	before, _, _ := bytes.Cut(text, []byte("*"+name))
	return bytes.Count(before, []byte("\n"))
}

// lineAt gives the n-th line of a text, from 1.
func lineAt(text []byte, n int) []byte {
	for line := range bytes.Lines(text) {
		if n--; n == 0 {
			return line
		}
	}
	return nil
}
