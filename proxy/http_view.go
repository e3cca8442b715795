package proxy

import (
	"unsafe"

	"github.com/sluice-cni/sluice/proxy/http1"
)

// requestView shows the request under way to mesh's matches without copying it.
type requestView struct{ h *httpConn }

func (v requestView) Method() string    { return view(v.h.req.Method) }
func (v requestView) Path() string      { return view(v.h.req.Path) }
func (v requestView) Scheme() string    { return "http" }
func (v requestView) Authority() string { return view(v.h.req.Authority) }

// Header returns a field's value; several are joined with a comma (RFC 9110 §5.3).
func (v requestView) Header(name string) (string, bool) {
	var first []byte
	var joined []byte
	found := false
	for i := range v.h.req.Fields {
		f := &v.h.req.Fields[i]
		if !http1.EqualFold(f.Name, name) {
			continue
		}
		switch {
		case !found:
			first, found = f.Value, true
		case joined == nil:
			joined = append(append(append(joined, first...), ','), f.Value...)
		default:
			joined = append(append(joined, ','), f.Value...)
		}
	}
	if joined != nil {
		return string(joined), true
	}
	return view(first), found
}

// bytesOf is s as bytes that nobody may change.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// view is b as a string that lives as long as b stays untouched.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
