package proxy

import (
	"slices"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/http2"
)

// edits are what is done to the heads of the request and of its answer.
func (d *decision) edits() mesh.Edits {
	switch {
	case d.destination != nil && d.destination.Edits != nil:
		return *d.destination.Edits
	case d.destination == nil && d.route != nil && d.route.Action.Edits != nil:
		return *d.route.Action.Edits
	}
	return mesh.Edits{}
}

// rewrites says that the request goes to another path.
func (d *decision) rewrites() bool {
	return d.status == 0 && d.route != nil && d.route.Action.Path != nil
}

// pathTooLong is the reply to a request whose rewritten path no server would take.
func pathTooLong() decision {
	d := refusal(431, "DPE", "rewritten_path_too_long")
	d.body = "Request Header Fields Too Large"
	return d
}

// follow makes the request what the rule wants it to be on its way on. What it was
// asked for stays in its entry, and in host, by which the policy judges it.
func (h *httpConn) follow(d *decision) {
	h.edits = d.edits()
	switch {
	case !d.rewrites():
	case h.entry.hurried && d.route.Action.Path.Slow(len(h.req.Path)):
		d.unwritten = true
	default:
		h.rewrite(d)
	}
}

// rewrite gives the request its rule's path.
func (h *httpConn) rewrite(d *decision) {
	d.unwritten = false
	h.rewritten = d.route.Action.Path.Append(h.rewritten[:0], view(h.req.Path), d.condition)
	if len(h.rewritten) > mesh.MaxRewrittenPath {
		*d = pathTooLong()
		return
	}
	h.req.Path = h.rewritten
}

// appendAuthority writes what the server is told that it was asked for.
func (h *httpConn) appendAuthority(b []byte) []byte {
	switch {
	case h.edits.Authority != "":
		return append(b, h.edits.Authority...)
	case len(h.req.Authority) == 0: // HTTP/1.0 without Host
		return h.c.dst.AppendTo(b)
	}
	return append(b, h.req.Authority...)
}

// follow is httpConn's for HTTP/2.
func (r *h2Request) follow(d *decision) {
	r.edits = d.edits()
	if d.rewrites() {
		path := d.route.Action.Path.Append(nil, r.head.Path, d.condition)
		if len(path) > mesh.MaxRewrittenPath {
			*d = pathTooLong()
			return
		}
		r.head.Path = string(path)
	}
	if r.edits.Authority != "" {
		r.head.Authority = r.edits.Authority
	}
	r.head.Fields = edit(r.head.Fields, r.edits.Request)
}

// edit changes fields, which are its own.
func edit(fields []http2.Field, e *mesh.HeaderEdits) []http2.Field {
	if e == nil {
		return fields
	}
	fields = without(fields, e)
	for _, f := range e.Fields() {
		fields = append(fields, http2.Field{Name: f.Name, Value: f.Value})
	}
	return fields
}

// without leaves out what e drops.
func without(fields []http2.Field, e *mesh.HeaderEdits) []http2.Field {
	return slices.DeleteFunc(fields, func(f http2.Field) bool { return e.Drops(f.Name) })
}

// complete makes an answer's fields what the application gets, but for what frames
// it: edited, and with those that every answer of the proxy has.
func complete(fields []http2.Field, e *mesh.HeaderEdits) []http2.Field {
	fields = edit(fields, e)
	if !slices.ContainsFunc(fields, func(f http2.Field) bool { return f.Name == "date" }) {
		fields = append(fields, http2.Field{Name: "date", Value: dateValue()})
	}
	return append(fields, http2.Field{Name: "server", Value: "envoy"})
}

// serviceTimeField says how long the upstream took, in milliseconds.
const serviceTimeField = "x-envoy-upstream-service-time"
