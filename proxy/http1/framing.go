package http1

import "bytes"

// Framing says how the end of a body is known (RFC 9112 §6.3).
type Framing uint8

// The framings. UntilClose occurs in responses only.
const (
	NoBody Framing = iota
	Length
	Chunked
	UntilClose
)

// message is what requests and responses share.
type message struct {
	// Minor is the x of HTTP/1.x: 0 or 1.
	Minor  int
	Fields []Field
	// ContentLength is -1 when there is none.
	ContentLength int64
	// KeepAlive says whether the sender lets the connection live on.
	KeepAlive bool
	// UpgradeTo is the protocol of an Upgrade field that Connection names, "" otherwise.
	UpgradeTo []byte

	chunked, close, keep, upgrade bool
	options                       int // names in all Connection fields
}

func (m *message) reset() {
	*m = message{Fields: m.Fields[:0], ContentLength: -1}
}

// digest draws from the fields what framing and connection management need.
func (m *message) digest() *Error {
	codings := 0
	for i := range m.Fields {
		f := &m.Fields[i]
		switch f.ID {
		case ContentLength:
			if err := m.length(f.Value); err != nil {
				return err
			}
		case TransferEncoding:
			codings++
			m.chunked = EqualFold(f.Value, "chunked")
		case Connection:
			if err := m.connection(f.Value); err != nil {
				return err
			}
		}
	}
	if codings > 0 {
		switch {
		case m.ContentLength >= 0:
			return errLengthAndChunked
		case codings > 1 || !m.chunked:
			return errTransferEncoding
		case m.Minor == 0:
			return errTEinHTTP10
		}
	}
	m.KeepAlive = !m.close && (m.Minor == 1 || m.keep)
	if m.upgrade && m.Minor == 1 { // RFC 9110 §7.8: 1.0 has no upgrades
		m.findUpgrade()
	}
	return nil
}

// length takes digits only: no sign, no list, no white space. Repeating the same
// value is refused too, since parsers disagree on it.
func (m *message) length(v []byte) *Error {
	if m.ContentLength >= 0 || len(v) == 0 || len(v) > 18 {
		return errContentLength
	}
	n := int64(0)
	for _, c := range v {
		if c < '0' || c > '9' {
			return errContentLength
		}
		n = n*10 + int64(c-'0')
	}
	m.ContentLength = n
	return nil
}

// connection reads the options of a Connection field and marks the fields they
// name as hop-by-hop. Framing and Host cannot be named away.
func (m *message) connection(v []byte) *Error {
	for len(v) > 0 {
		var option []byte
		option, v, _ = bytes.Cut(v, comma)
		option = trim(option)
		m.options++
		switch {
		case m.options > maxConnTokens:
			return errConnection
		case EqualFold(option, "close"):
			m.close = true
		case EqualFold(option, "keep-alive"):
			m.keep = true
		case EqualFold(option, "upgrade"):
			m.upgrade = true
		default:
			m.markHop(option)
		}
	}
	return nil
}

func (m *message) markHop(name []byte) {
	for i := range m.Fields {
		f := &m.Fields[i]
		if f.ID != Host && f.ID != ContentLength && equalFoldBytes(f.Name, name) {
			f.Hop = true
		}
	}
}

func (m *message) findUpgrade() {
	for i := range m.Fields {
		if m.Fields[i].ID == Upgrade {
			m.UpgradeTo = m.Fields[i].Value
			return
		}
	}
}

// Get returns the value of the first field of that lower-case name.
func (m *message) Get(lower string) ([]byte, bool) {
	for i := range m.Fields {
		if EqualFold(m.Fields[i].Name, lower) {
			return m.Fields[i].Value, true
		}
	}
	return nil, false
}

var comma = []byte(",")
