package mesh

import (
	"fmt"
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
		return "changes the path by the expression " + w.regex.String()
	}
	return "changes the path's prefix to " + w.prefix
}

// says names the fields, not their values, which may be secrets.
func (e *Edits) says() []string {
	var out []string
	if e.Authority != "" {
		out = append(out, "host "+e.Authority)
	}
	for _, head := range []struct {
		name  string
		edits *HeaderEdits
	}{{"request", e.Request}, {"response", e.Response}} {
		if head.edits == nil {
			continue
		}
		if len(head.edits.without) > 0 {
			out = append(out, head.name+" without its "+strings.Join(head.edits.without, ", "))
		}
		if len(head.edits.with) > 0 {
			var names []string
			for _, f := range head.edits.with {
				names = append(names, f.Name)
			}
			out = append(out, head.name+" with "+strings.Join(names, ", "))
		}
	}
	return out
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
