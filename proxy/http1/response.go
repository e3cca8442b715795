package http1

import "bytes"

// Response is a parsed response head, reusable like Request.
type Response struct {
	message
	Status int
	Reason []byte
}

// Parse reads a head from the start of b and returns its length, or zero and a
// nil error when more bytes are needed.
func (r *Response) Parse(b []byte) (int, *Error) {
	end, err := headEnd(b)
	if err != nil || end == 0 {
		if err == nil && len(b) >= 5 && string(b[:5]) != "HTTP/" {
			err = errStartLine
		}
		return 0, err
	}
	r.message.reset()
	line, rest, err := cutLine(b[:end])
	if err != nil {
		return 0, err
	}
	if err := r.statusLine(line); err != nil {
		return 0, err
	}
	if r.Fields, err = parseFields(rest, r.Fields); err != nil {
		return 0, err
	}
	if err := r.digest(); err != nil {
		return 0, err
	}
	return end, nil
}

// statusLine reads HTTP/1.x SP NNN [SP reason].
func (r *Response) statusLine(line []byte) *Error {
	version, rest, ok := bytes.Cut(line, space)
	if !ok {
		return errStartLine
	}
	minor, err := parseVersion(version)
	if err != nil {
		return err
	}
	if len(rest) < 3 || !digit(rest[0]) || !digit(rest[1]) || !digit(rest[2]) {
		return errStartLine
	}
	r.Minor = minor
	r.Status = int(rest[0]-'0')*100 + int(rest[1]-'0')*10 + int(rest[2]-'0')
	r.Reason = nil
	if len(rest) > 3 {
		if rest[3] != ' ' {
			return errStartLine
		}
		r.Reason = rest[4:]
	}
	if r.Status < 100 || !goodValue(r.Reason) {
		return errStartLine
	}
	return nil
}

// Body says how the body of the answer to a request with that method ends
// (RFC 9112 §6.3).
func (r *Response) Body(method []byte) Framing {
	switch {
	case r.Status < 200, r.Status == 204, r.Status == 304, string(method) == "HEAD":
		return NoBody
	case r.chunked:
		return Chunked
	case r.ContentLength > 0:
		return Length
	case r.ContentLength == 0:
		return NoBody
	}
	return UntilClose
}
