package mesh

import "cmp"

// request is a Request made of plain strings.
type request struct {
	method, path, scheme, authority string
	headers                         map[string]string
}

func (r request) Method() string    { return cmp.Or(r.method, "GET") }
func (r request) Path() string      { return cmp.Or(r.path, "/") }
func (r request) Scheme() string    { return cmp.Or(r.scheme, "http") }
func (r request) Authority() string { return r.authority }

func (r request) Header(name string) (string, bool) {
	v, ok := r.headers[name]
	return v, ok
}
