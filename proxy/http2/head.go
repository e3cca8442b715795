package http2

import (
	"unsafe"

	"github.com/sluice-cni/sluice/proxy/http1"
	"golang.org/x/net/http2/hpack"
)

// Field is a header field; its name is in lower case.
type Field = hpack.HeaderField

// Head is the header section of a request or of an answer.
type Head struct {
	Method, Scheme, Authority, Path string // of a request
	Status                          int    // of an answer
	// Fields are the others: no pseudo-header, no Host, cookies in one field.
	Fields []Field
	// ContentLength is -1 when there is none.
	ContentLength int64
}

// Limits of a header section, Envoy's; the size is as RFC 9113 §6.5.2 counts it.
const (
	maxHeadBytes = 60 << 10
	maxFields    = 100
)

// A malformed message ends its stream (RFC 9113 §8.1.1).
func malformed(detail string) *StreamError { return &StreamError{Code: ProtocolError, Detail: detail} }

// ErrHeadTooLarge is a header section beyond the limits. A request with it can
// still be answered (RFC 9113 §10.5.1).
var ErrHeadTooLarge = &StreamError{Code: EnhanceYourCalm, Detail: "header fields too large"}

// section collects the fields of one header section while they are decoded.
type section struct {
	fields []Field // pseudo-header fields included
	size   uint32
	count  int // cookie crumbs are one
	over   bool
	cookie bool
}

func (s *section) reset() { *s = section{} }

// add takes a decoded field and says whether more are wanted.
func (s *section) add(f Field) bool {
	s.size += f.Size()
	if f.Name != "cookie" || !s.cookie {
		s.count++
	}
	s.cookie = s.cookie || f.Name == "cookie"
	if s.size > maxHeadBytes || s.count > maxFields {
		s.over, s.fields = true, nil
		return false
	}
	s.fields = append(s.fields, f)
	return true
}

// request reads a request's header section.
func (s *section) request() (Head, *StreamError) {
	h, host, err := s.read()
	switch {
	case err != nil:
		return h, err
	case h.Status != 0:
		return h, malformed("http2.status_in_request")
	case h.Method == "" || !http1.IsToken(view(h.Method)):
		return h, malformed("http2.invalid_method")
	}
	// RFC 9113 §8.3.1: Host stands in for an absent :authority; beside one it is
	// dropped, so that only one name goes on.
	if h.Authority == "" {
		h.Authority = host
	}
	if h.Authority != "" && !http1.ValidAuthority(view(h.Authority)) {
		return h, malformed("http2.invalid_authority")
	}
	if h.Method == "CONNECT" {
		if h.Scheme != "" || h.Path != "" || h.Authority == "" {
			return h, malformed("http2.invalid_connect")
		}
		return h, nil
	}
	if h.Scheme != "http" && h.Scheme != "https" {
		return h, malformed("http2.invalid_scheme")
	}
	return h, checkPath(h.Method, h.Path)
}

func checkPath(method, path string) *StreamError {
	if path == "*" && method == "OPTIONS" {
		return nil
	}
	if path == "" || path[0] != '/' {
		return malformed("http2.invalid_path")
	}
	for i := range len(path) {
		if c := path[i]; c <= ' ' || c == 0x7f || c == '#' {
			return malformed("http2.invalid_path")
		}
	}
	return nil
}

// response reads an answer's header section.
func (s *section) response() (Head, *StreamError) {
	h, host, err := s.read()
	switch {
	case err != nil:
		return h, err
	case h.Method != "" || h.Scheme != "" || h.Authority != "" || h.Path != "":
		return h, malformed("http2.request_field_in_response")
	case h.Status == 0 || h.Status == 101: // RFC 9113 §8.6
		return h, malformed("http2.invalid_status")
	}
	if host != "" {
		h.Fields = append(h.Fields, Field{Name: "host", Value: host})
	}
	return h, nil
}

// trailers reads a trailer section. What frames or routes a message does not
// belong there (RFC 9110 §6.5.1) and goes no further.
func (s *section) trailers() ([]Field, *StreamError) {
	kept := s.fields[:0]
	for _, f := range s.fields {
		if len(f.Name) > 0 && f.Name[0] == ':' {
			return nil, malformed("http2.pseudo_field_in_trailers")
		}
		if err := checkField(f); err != nil {
			return nil, err
		}
		switch f.Name {
		case "host", "content-length", "te", "trailer", "expect":
		default:
			kept = append(kept, f)
		}
	}
	return kept, nil
}

// read sorts the fields: pseudo-header fields first and once each, then others.
func (s *section) read() (h Head, host string, err *StreamError) {
	h.ContentLength = -1
	regular := false
	h.Fields = s.fields[:0]
	cookies := -1
	var jar []byte // grown once and again, not copied for each of a thousand crumbs
	for _, f := range s.fields {
		if len(f.Name) > 0 && f.Name[0] == ':' {
			if regular {
				return h, "", malformed("http2.pseudo_field_after_others")
			}
			if err := h.pseudo(f); err != nil {
				return h, "", err
			}
			continue
		}
		regular = true
		if err := checkField(f); err != nil {
			return h, "", err
		}
		switch f.Name {
		case "host":
			if host != "" || f.Value == "" {
				return h, "", malformed("http2.invalid_host")
			}
			host = f.Value
			continue
		case "content-length":
			if err := h.length(f.Value); err != nil {
				return h, "", err
			}
		case "cookie": // RFC 9113 §8.2.3
			if cookies >= 0 {
				if jar == nil {
					jar = append(jar, h.Fields[cookies].Value...)
				}
				jar = append(append(jar, "; "...), f.Value...)
				continue
			}
			cookies = len(h.Fields)
		}
		h.Fields = append(h.Fields, f)
	}
	if jar != nil {
		h.Fields[cookies].Value = string(jar)
	}
	return h, host, nil
}

// pseudo notes one pseudo-header field.
func (h *Head) pseudo(f Field) *StreamError {
	if f.Name == ":status" {
		v := f.Value
		if h.Status != 0 || len(v) != 3 || !digits(v) || v[0] == '0' {
			return malformed("http2.invalid_status")
		}
		h.Status = int(v[0]-'0')*100 + int(v[1]-'0')*10 + int(v[2]-'0')
		return nil
	}
	var place *string
	switch f.Name {
	case ":method":
		place = &h.Method
	case ":scheme":
		place = &h.Scheme
	case ":authority":
		place = &h.Authority
	case ":path":
		place = &h.Path
	default: // :protocol too, since extended CONNECT is not offered
		return malformed("http2.unknown_pseudo_field")
	}
	if *place != "" || f.Value == "" {
		return malformed("http2.invalid_pseudo_field")
	}
	*place = f.Value
	return nil
}

// length takes digits only, once, as proxy/http1 does.
func (h *Head) length(v string) *StreamError {
	if h.ContentLength >= 0 || len(v) == 0 || len(v) > 18 || !digits(v) {
		return malformed("http2.invalid_content_length")
	}
	n := int64(0)
	for i := range len(v) {
		n = n*10 + int64(v[i]-'0')
	}
	h.ContentLength = n
	return nil
}

// checkField holds a field to RFC 9113 §8.2, with proxy/http1's strictness: what
// passes may be written into an HTTP/1.1 head as it is.
func checkField(f Field) *StreamError {
	if !http1.IsToken(view(f.Name)) {
		return malformed("http2.invalid_field_name")
	}
	for i := range len(f.Name) {
		if c := f.Name[i]; 'A' <= c && c <= 'Z' {
			return malformed("http2.upper_case_field_name")
		}
	}
	v := f.Value
	if !http1.ValidValue(view(v)) || len(v) > 0 && (blank(v[0]) || blank(v[len(v)-1])) {
		return malformed("http2.invalid_field_value")
	}
	switch f.Name { // RFC 9113 §8.2.2
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return malformed("http2.connection_specific_field")
	case "te":
		if v != "trailers" {
			return malformed("http2.connection_specific_field")
		}
	}
	return nil
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// view is s as bytes that nobody may change.
func view(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
