package http1

import "bytes"

// Request is a parsed request head. The zero value is ready; Parse may be called
// again and again on one value, which then allocates nothing.
type Request struct {
	message
	Method []byte
	// Target is the request target as sent.
	Target []byte
	// Form says how Target is written.
	Form Form
	// Path is what goes upstream: the origin form of Target, query included.
	Path []byte
	// Authority is the host and port asked for: from an absolute target, else Host.
	Authority []byte
	// ContentType is the first field of that name, nil without one.
	ContentType []byte
	// ExpectContinue says that the sender waits for 100 (Continue).
	ExpectContinue bool
}

// Form is the form of a request target (RFC 9112 §3.2).
type Form uint8

// The forms.
const (
	Origin Form = iota
	Absolute
	AuthorityForm // CONNECT
	Asterisk      // OPTIONS *
)

// Parse reads a head from the start of b and returns its length. Zero and a nil
// error ask for more bytes: call again with the longer b.
func (r *Request) Parse(b []byte) (int, *Error) {
	skipped := 0
	for len(b) >= 2 && b[0] == '\r' && b[1] == '\n' { // RFC 9112 §2.2
		b, skipped = b[2:], skipped+2
		if skipped > 64 {
			return 0, errStartLine
		}
	}
	end, err := headEnd(b)
	if err != nil || end == 0 {
		if err == nil {
			err = r.early(b)
		}
		return 0, err
	}
	r.message.reset()
	r.Method, r.Target, r.Path, r.Authority, r.ContentType, r.ExpectContinue = nil, nil, nil, nil, nil, false
	line, rest, err := cutLine(b[:end])
	if err != nil {
		return 0, err
	}
	if err := r.startLine(line); err != nil {
		return 0, err
	}
	if r.Fields, err = parseFields(rest, r.Fields); err != nil {
		return 0, err
	}
	if err := r.digest(); err != nil {
		return 0, err
	}
	if err := r.resolve(); err != nil {
		return 0, err
	}
	return skipped + end, nil
}

// early refuses a head whose first line is complete and wrong before the rest of
// it has come: the sender of something else than HTTP may never send that rest.
func (r *Request) early(b []byte) *Error {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return nil
	}
	line, _, err := cutLine(b[:i+1])
	if err != nil {
		return err
	}
	return r.startLine(line)
}

// startLine reads METHOD SP TARGET SP HTTP/1.x with exactly one space each.
func (r *Request) startLine(line []byte) *Error {
	method, rest, ok := bytes.Cut(line, space)
	if !ok || !IsToken(method) {
		return errStartLine
	}
	target, version, ok := bytes.Cut(rest, space)
	if !ok || len(target) == 0 {
		return errStartLine
	}
	minor, err := parseVersion(version)
	if err != nil {
		return err
	}
	r.Method, r.Target, r.Minor = method, target, minor
	return nil
}

// parseVersion takes 1.0 and 1.1, the versions there are. RFC 9110 §2.5 reads a later
// minor version as 1.1, but not every parser gives it 1.1's framing.
func parseVersion(v []byte) (int, *Error) {
	if len(v) != 8 || string(v[:5]) != "HTTP/" || v[6] != '.' || !digit(v[5]) || !digit(v[7]) {
		return 0, errStartLine
	}
	if v[5] != '1' || v[7] > '1' {
		return 0, errVersion
	}
	return int(v[7] - '0'), nil
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// resolve finds out which host and path the target and Host ask for.
func (r *Request) resolve() *Error {
	host, err := r.host()
	if err != nil {
		return err
	}
	r.Authority = host
	for _, c := range r.Target {
		if c <= ' ' || c == 0x7f || c == '#' {
			return errTarget
		}
	}
	switch {
	case string(r.Method) == "CONNECT":
		r.Form, r.Authority, r.Path = AuthorityForm, r.Target, nil
		if !goodAuthority(r.Target) || !namesPort(r.Target) {
			return errTarget
		}
	case r.Target[0] == '/':
		r.Form, r.Path = Origin, r.Target
	case len(r.Target) == 1 && r.Target[0] == '*' && string(r.Method) == "OPTIONS":
		r.Form, r.Path = Asterisk, r.Target
	default:
		return r.absolute()
	}
	return nil
}

// host returns the one Host field, and notes others on its way. HTTP/1.1 requires
// it; HTTP/1.0 may omit it.
func (r *Request) host() ([]byte, *Error) {
	var host []byte
	found := false
	for i := range r.Fields {
		f := &r.Fields[i]
		switch f.ID {
		case Host:
			if found {
				return nil, errHosts
			}
			found, host = true, f.Value
		case ContentType:
			if r.ContentType == nil {
				r.ContentType = f.Value
			}
		case Expect:
			r.ExpectContinue = EqualFold(f.Value, "100-continue")
		}
	}
	switch {
	case len(host) == 0 && r.Minor == 1:
		return nil, ErrMissingHost
	case len(host) > 0 && !goodAuthority(host):
		return nil, errHost
	}
	return host, nil
}

// absolute splits http://authority/path. Its authority replaces Host
// (RFC 9112 §3.2.2).
func (r *Request) absolute() *Error {
	rest := r.Target
	switch {
	case len(rest) > 7 && EqualFold(rest[:7], "http://"):
		rest = rest[7:]
	case len(rest) > 8 && EqualFold(rest[:8], "https://"):
		rest = rest[8:]
	default:
		return errTarget
	}
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	r.Form, r.Authority, r.Path = Absolute, rest[:end], rest[end:]
	switch {
	case !goodAuthority(r.Authority):
		return errHost
	case len(r.Path) == 0:
		r.Path = slash
	case r.Path[0] == '?':
		return errTarget
	}
	return nil
}

// Body says how the request's body ends.
func (r *Request) Body() Framing {
	switch {
	case r.chunked:
		return Chunked
	case r.ContentLength > 0:
		return Length
	}
	return NoBody
}

var (
	space = []byte(" ")
	slash = []byte("/")
)
