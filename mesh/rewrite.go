package mesh

import (
	"regexp"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

// PathRewrite gives requests another path (http[].rewrite.uri and uriRegexRewrite).
// It is immutable.
type PathRewrite struct {
	prefix string         // in place of what the rule's match took
	regex  *regexp.Regexp // nil: by prefix; else each of its matches is replaced
	parts  []pathPart     // by these
}

// pathPart is a piece of what takes a match's place: text, or what a group matched.
type pathPart struct {
	text  string
	group int // used where text is ""
}

// MaxRewrittenPath bounds what a regular expression can make of a path, in bytes: no
// server takes a longer one.
const MaxRewrittenPath = 60 << 10

// Append writes the path with its query as it goes upstream. condition is the
// alternative that the rule matched by, nil where it has none. As Envoy does, a
// prefix is replaced where the match was one ("/" where the path was not asked for),
// and the whole path where it was an exact path or an expression; slashes are not
// minded, so that of "/a" rewritten to "/" the path "/a/b" is "//b". An expression
// sees the path without the query and replaces each match. What would be empty stays
// as it was, and what does not begin with a slash is given one.
func (w *PathRewrite) Append(dst []byte, path string, condition *HTTPMatch) []byte {
	begin := len(dst)
	bare, _, _ := strings.Cut(path, "?")
	if w.regex == nil {
		dst = append(dst, w.prefix...)
		dst = append(dst, path[condition.taken(bare):]...)
	} else {
		dst = w.replace(dst, bare)
		if len(dst) == begin {
			return append(dst, path...)
		}
		dst = append(dst, path[len(bare):]...)
	}
	if dst[begin] != '/' {
		dst = append(dst, 0)
		copy(dst[begin+1:], dst[begin:])
		dst[begin] = '/'
	}
	return dst
}

// Slow says that a path of that many bytes may take longer to rewrite than an event
// loop should be held up: there are expressions whose matches are each looked for up to
// the path's end.
func (w *PathRewrite) Slow(length int) bool { return w.regex != nil && length > 256 }

// taken is how much of a path a condition on it matched.
func (m *HTTPMatch) taken(path string) int {
	switch {
	case m == nil || m.URI == nil:
		return min(1, len(path)) // Istio makes it the prefix "/"
	case m.URI.Regex != nil || m.URI.Exact != "":
		return len(path)
	}
	return min(len(m.URI.Prefix), len(path))
}

// replace is RE2's GlobalReplace. It stops where the result is too long for any
// server, which the caller sees by its length.
func (w *PathRewrite) replace(dst []byte, path string) []byte {
	last, limit := 0, len(dst)+MaxRewrittenPath
	for _, match := range w.regex.FindAllStringSubmatchIndex(path, -1) {
		dst = append(dst, path[last:match[0]]...)
		for _, part := range w.parts {
			if part.text != "" {
				dst = append(dst, part.text...)
			} else if from := match[2*part.group]; from >= 0 {
				dst = append(dst, path[from:match[2*part.group+1]]...)
			}
			if len(dst) > limit {
				return dst
			}
		}
		last = match[1]
	}
	return append(dst, path[last:]...)
}

// compileRewrite is nil where the path stays as it is.
func compileRewrite(rewrite *networking.HTTPRewrite) *PathRewrite {
	if by := rewrite.GetUriRegexRewrite(); by != nil {
		expression, err := regexp.Compile(by.Match)
		parts, complaint := parseSubstitution(by.Rewrite)
		if err != nil || complaint != "" {
			return nil // validation refused it
		}
		return &PathRewrite{regex: expression, parts: parts}
	}
	return compilePrefix(rewrite.GetUri())
}

func compilePrefix(prefix string) *PathRewrite {
	if prefix == "" {
		return nil
	}
	return &PathRewrite{prefix: prefix}
}

// parseSubstitution reads RE2's form: \1 to \9 are groups, \0 the whole match and \\ a
// backslash.
func parseSubstitution(text string) (parts []pathPart, complaint string) {
	for text != "" {
		i := strings.IndexByte(text, '\\')
		if i < 0 {
			return append(parts, pathPart{text: text}), ""
		}
		if i > 0 {
			parts = append(parts, pathPart{text: text[:i]})
		}
		if i+1 == len(text) {
			return nil, `ends in a backslash; write \\ for one`
		}
		switch c := text[i+1]; {
		case c == '\\':
			parts = append(parts, pathPart{text: `\`})
		case '0' <= c && c <= '9':
			parts = append(parts, pathPart{group: int(c - '0')})
		default:
			return nil, `a backslash stands before a group's number, as in \1; write \\ for a backslash`
		}
		text = text[i+2:]
	}
	return parts, ""
}
