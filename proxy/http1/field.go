package http1

import "bytes"

// ID tells the fields that framing and forwarding look at from all others.
type ID uint8

// The known fields.
const (
	Other ID = iota
	Host
	ContentLength
	ContentType
	TransferEncoding
	Connection
	KeepAlive
	ProxyConnection
	Upgrade
	TE
	Trailer
	Expect
	Server
	Date
)

// Field is one line of a head: views into the buffer it was parsed from.
type Field struct {
	Name, Value []byte
	ID          ID
	// Hop marks a field that stops at the proxy (RFC 9110 §7.6.1): known ones
	// and those that Connection names.
	Hop bool
}

// identify knows a field by its name's length first: one switch for most fields.
func identify(name []byte) ID {
	switch len(name) {
	case 2:
		return known(name, "te", TE)
	case 4:
		if id := known(name, "host", Host); id != Other {
			return id
		}
		return known(name, "date", Date)
	case 6:
		if id := known(name, "expect", Expect); id != Other {
			return id
		}
		return known(name, "server", Server)
	case 7:
		if id := known(name, "upgrade", Upgrade); id != Other {
			return id
		}
		return known(name, "trailer", Trailer)
	case 10:
		if id := known(name, "connection", Connection); id != Other {
			return id
		}
		return known(name, "keep-alive", KeepAlive)
	case 12:
		return known(name, "content-type", ContentType)
	case 14:
		return known(name, "content-length", ContentLength)
	case 16:
		return known(name, "proxy-connection", ProxyConnection)
	case 17:
		return known(name, "transfer-encoding", TransferEncoding)
	}
	return Other
}

func known(name []byte, lower string, id ID) ID {
	if EqualFold(name, lower) {
		return id
	}
	return Other
}

// parseField reads one line without its line end.
func parseField(line []byte) (Field, *Error) {
	if line[0] == ' ' || line[0] == '\t' {
		return Field{}, errFold
	}
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 || !IsToken(line[:colon]) {
		return Field{}, errFieldName
	}
	f := Field{Name: line[:colon:colon], Value: trim(line[colon+1:])}
	if !goodValue(f.Value) {
		return Field{}, errFieldValue
	}
	f.ID = identify(f.Name)
	switch f.ID {
	case Connection, KeepAlive, ProxyConnection, TransferEncoding, TE, Upgrade:
		f.Hop = true
	}
	return f, nil
}

// parseFields reads lines up to the empty one that ends them. b begins after the
// start line and holds that empty line.
func parseFields(b []byte, fields []Field) ([]Field, *Error) {
	for {
		line, rest, err := cutLine(b)
		if err != nil {
			return fields, err
		}
		if len(line) == 0 {
			return fields, nil
		}
		if len(fields) == MaxFields {
			return fields, errTooMany
		}
		f, err := parseField(line)
		if err != nil {
			return fields, err
		}
		fields, b = append(fields, f), rest
	}
}

// cutLine splits off a line that ends in CRLF. A bare CR or LF is refused: some
// parsers take it for a line end and some do not.
func cutLine(b []byte) (line, rest []byte, err *Error) {
	i := bytes.IndexByte(b, '\n')
	if i < 1 || b[i-1] != '\r' {
		return nil, nil, errLineEnd
	}
	return b[: i-1 : i-1], b[i+1:], nil
}

// headEnd finds the end of a head in b. It returns 0 when more bytes are needed.
func headEnd(b []byte) (int, *Error) {
	i := bytes.Index(b, crlfcrlf)
	switch {
	case i >= 0 && i+4 <= MaxHeadBytes:
		return i + 4, nil
	case i >= 0 || len(b) > MaxHeadBytes:
		return 0, errTooLarge
	}
	// A head that is wrong already is refused now: its sender may be waiting.
	if j := bytes.Index(b, lflf); j >= 0 {
		return 0, errLineEnd
	}
	return 0, nil
}

var (
	crlfcrlf = []byte("\r\n\r\n")
	lflf     = []byte("\n\n")
)
