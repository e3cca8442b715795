package mesh

import (
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

// Answer is what a rule answers by itself: no server is asked. It is immutable.
type Answer struct {
	Status int
	Body   string    // of http[].directResponse
	To     *Redirect // of http[].redirect; nil: it is none
}

// Redirect makes a Location of a request, in the parts that the rule changes.
type Redirect struct {
	scheme, authority string // "": the request's
	port              uint16 // 0: as the authority has it, beside requestPort
	requestPort       bool   // the port that the request was sent to
	uri               string // path, perhaps with a query; "": the request's
	prefix            *PathRewrite
}

// compileAnswer is nil for a rule that leads to servers.
func compileAnswer(route *networking.HTTPRoute) *Answer {
	switch direct, redirect := route.DirectResponse, route.Redirect; {
	case redirect != nil:
		status := int(redirect.RedirectCode)
		if status == 0 {
			status = 301
		}
		return &Answer{Status: status, To: compileRedirect(redirect)}
	case direct != nil:
		return &Answer{Status: int(direct.Status), Body: bodyOf(direct.Body)}
	}
	return nil
}

// bodyOf is a body's bytes, in whichever of the two forms they were written.
func bodyOf(b *networking.HTTPBody) string {
	if text := b.GetString_(); text != "" {
		return text
	}
	return string(b.GetBytes())
}

func compileRedirect(in *networking.HTTPRedirect) *Redirect {
	out := &Redirect{scheme: in.Scheme, authority: in.Authority, uri: in.Uri, port: uint16(in.GetPort()), prefix: compilePrefix(in.PrefixRewrite)}
	if by, ok := in.RedirectPort.(*networking.HTTPRedirect_DerivePort); ok {
		out.requestPort = by.DerivePort == networking.HTTPRedirect_FROM_REQUEST_PORT
	}
	return out
}

// Location is where a request, which was sent to that port and matched by that
// condition, is to go instead. As with Envoy, the scheme's own port is not written; a
// path of the rule keeps the request's query unless it has one itself; and an
// authority keeps its port unless another is given, or it was that of the scheme that
// the rule changes.
func (d *Redirect) Location(r Request, condition *HTTPMatch, port uint16) string {
	scheme := d.scheme
	if scheme == "" {
		scheme = r.Scheme()
	}
	if !d.requestPort {
		port = d.port
	}
	if port == defaultPort(scheme) {
		port = 0
	}
	b := append([]byte(nil), scheme+"://"...)
	if d.authority != "" {
		b = append(b, d.authority...)
	} else {
		b = append(b, withoutPort(r.Authority(), port != 0, r.Scheme(), scheme)...)
	}
	if port != 0 {
		b = strconv.AppendUint(append(b, ':'), uint64(port), 10)
	}
	return string(d.appendPath(b, r.Path(), condition))
}

// appendPath writes the path with its query.
func (d *Redirect) appendPath(b []byte, path string, condition *HTTPMatch) []byte {
	switch {
	case d.prefix != nil:
		return d.prefix.Append(b, path, condition)
	case d.uri == "":
		return append(b, path...)
	}
	if d.uri[0] != '/' {
		b = append(b, '/')
	}
	b = append(b, d.uri...)
	if i := strings.IndexByte(path, '?'); i >= 0 && !strings.Contains(d.uri, "?") {
		b = append(b, path[i:]...)
	}
	return b
}

// withoutPort takes the port off an authority where another takes its place, or where
// it is the default of a scheme that is left.
func withoutPort(authority string, replaced bool, from, to string) string {
	i := strings.LastIndexByte(authority, ':')
	if i <= strings.LastIndexByte(authority, ']') {
		return authority
	}
	if replaced || from != to && authority[i+1:] == strconv.Itoa(int(defaultPort(from))) {
		return authority[:i]
	}
	return authority
}

func defaultPort(scheme string) uint16 {
	if scheme == "https" {
		return 443
	}
	return 80
}
