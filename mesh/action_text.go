package mesh

import (
	"fmt"
	"slices"
	"strings"
)

func (a *Answer) says() string {
	if a.To == nil {
		return fmt.Sprintf("answers %d with %d bytes", a.Status, len(a.Body))
	}
	var parts []string
	for _, part := range []struct{ name, value string }{{"scheme", a.To.scheme}, {"authority", a.To.authority}, {"path", a.To.uri}} {
		if part.value != "" {
			parts = append(parts, part.name+" "+part.value)
		}
	}
	switch {
	case a.To.port != 0:
		parts = append(parts, fmt.Sprintf("port %d", a.To.port))
	case a.To.requestPort:
		parts = append(parts, "the request's port")
	}
	if a.To.prefix != nil {
		parts = append(parts, "prefix "+a.To.prefix.prefix)
	}
	return fmt.Sprintf("redirects with %d to %s", a.Status, strings.Join(parts, ", "))
}

func (w *PathRewrite) says() string {
	if w.regex != nil {
		return fmt.Sprintf("changes the path: %s becomes %s", w.regex, w.replacement())
	}
	return "changes the path's prefix to " + w.prefix
}

// replacement is what takes a match's place, as it is written in a resource.
func (w *PathRewrite) replacement() string {
	var out strings.Builder
	for _, part := range w.parts {
		if part.text == "" {
			fmt.Fprintf(&out, `\%d`, part.group)
			continue
		}
		out.WriteString(strings.ReplaceAll(part.text, `\`, `\\`))
	}
	return out.String()
}

// says names the fields, not their values, which may be secrets.
func (e *Edits) says() []string {
	var out []string
	if e.Authority != "" {
		out = append(out, "sends the host "+e.Authority)
	}
	for _, head := range []struct {
		name  string
		edits *HeaderEdits
	}{{"request", e.Request}, {"response", e.Response}} {
		if head.edits == nil {
			continue
		}
		for _, does := range []struct {
			verb, to string
			names    []string
		}{
			{"sets", "in", head.edits.set()}, {"adds", "to", head.edits.added()}, {"removes", "from", head.edits.removed()},
		} {
			if len(does.names) > 0 {
				out = append(out, fmt.Sprintf("%s %s %s the %s", does.verb, strings.Join(does.names, ", "), does.to, head.name))
			}
		}
	}
	return out
}

// set are the fields that have new values in place of their own.
func (e *HeaderEdits) set() []string {
	return slices.DeleteFunc(slices.Clone(e.without), func(name string) bool { return !e.Puts(name) })
}

func (e *HeaderEdits) added() []string {
	var out []string
	for _, f := range e.with {
		if !slices.Contains(e.without, f.Name) && !slices.Contains(out, f.Name) {
			out = append(out, f.Name)
		}
	}
	return out
}

func (e *HeaderEdits) removed() []string {
	return slices.DeleteFunc(slices.Clone(e.without), e.Puts)
}

func (f *Fault) says() []string {
	var out []string
	if f.DelayShare > 0 {
		out = append(out, fmt.Sprintf("holds %g%% back for %s", float64(f.DelayShare)*100/Million, f.Delay))
	}
	switch {
	case f.AbortShare == 0:
	case f.AbortGRPC >= 0:
		out = append(out, fmt.Sprintf("aborts %g%% with the gRPC status %s", float64(f.AbortShare)*100/Million, grpcStatuses[f.AbortGRPC]))
	default:
		out = append(out, fmt.Sprintf("aborts %g%% with %d", float64(f.AbortShare)*100/Million, f.AbortStatus))
	}
	return out
}
