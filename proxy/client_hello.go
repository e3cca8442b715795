package proxy

import "errors"

// TLS constants (RFC 8446 §4, §5; RFC 9849 for the encrypted ClientHello).
const (
	recordHandshake        = 22
	handshakeClientHello   = 1
	extensionServerName    = 0
	extensionEncryptedSNI  = 0xffce // ESNI, the drafts that ECH came from
	extensionEncryptedName = 0xfe0d
	maxClientHello         = 48 << 10 // post-quantum key shares need a few KiB
)

var errNotClientHello = errors.New("not a TLS ClientHello")

// clientHello is what is read of a ClientHello.
type clientHello struct {
	name string // the server name as it was sent, "" for none
	// encrypted: there is an encrypted ClientHello, whose name may be another. One
	// that is made up (GREASE) looks the same; that is what it is for.
	encrypted bool
}

// RefuseTLS is what TLS is refused for, on top of what the registry says. It is
// asked where a server name is read, so not on ports that are declared TCP.
type RefuseTLS struct {
	// WithoutSNI refuses a ClientHello without a server name, which else is judged
	// by its address.
	WithoutSNI bool
	// ECH refuses a ClientHello with an encrypted one in it. The outer name is what
	// is judged; a server that holds the key serves the inner one. Browsers send a
	// made-up one (GREASE) to every server, which cannot be told apart: refused too.
	ECH bool
}

// judge names why a hello is refused, "" when it is not.
func (r RefuseTLS) judge(h clientHello) Refusal {
	switch {
	case r.ECH && h.encrypted:
		return HiddenServerName
	case r.WithoutSNI && h.name == "":
		return NoServerName
	}
	return ""
}

// readClientHello reads the start of a TLS connection, however the ClientHello is
// cut into records. more asks for more bytes. What a server could read as another
// name is refused.
func readClientHello(b []byte) (h clientHello, more bool, err error) {
	body, more, err := handshake(b)
	if more || err != nil {
		return h, more, err
	}
	p := parser{body}
	p.skip(2 + 32) // legacy_version, random
	p.vector(1)    // legacy_session_id
	p.vector(2)    // cipher_suites
	p.vector(1)    // legacy_compression_methods
	switch {
	case p.rest == nil:
		return h, false, errNotClientHello
	case len(p.rest) == 0: // extensions are optional before TLS 1.3
		return h, false, nil
	}
	extensions := parser{p.vector(2)}
	if p.rest == nil || len(p.rest) > 0 {
		return h, false, errNotClientHello
	}
	named := false
	for len(extensions.rest) > 0 {
		id := extensions.uint(2)
		data := extensions.vector(2)
		switch {
		case extensions.rest == nil, id == extensionServerName && named:
			return clientHello{}, false, errNotClientHello
		case id == extensionServerName:
			named = true
			if h.name, err = hostName(data); err != nil {
				return clientHello{}, false, err
			}
		case id == extensionEncryptedName, id == extensionEncryptedSNI:
			h.encrypted = true
		}
	}
	return h, false, nil
}

// handshake joins the record fragments of the first handshake message and
// returns its body.
func handshake(b []byte) (body []byte, more bool, err error) {
	var joined []byte
	for {
		if len(b) < 5 {
			return nil, true, nil
		}
		if b[0] != recordHandshake || b[1] != 3 {
			return nil, false, errNotClientHello
		}
		n := int(b[3])<<8 | int(b[4])
		if n == 0 || n > 1<<14 {
			return nil, false, errNotClientHello
		}
		fragment := b[5:]
		if len(fragment) > n {
			fragment = fragment[:n]
		}
		if joined == nil {
			joined = fragment[:len(fragment):len(fragment)]
		} else {
			joined = append(joined, fragment...)
		}
		if len(joined) > 0 && joined[0] != handshakeClientHello {
			return nil, false, errNotClientHello
		}
		if len(joined) >= 4 {
			size := int(joined[1])<<16 | int(joined[2])<<8 | int(joined[3])
			if size > maxClientHello {
				return nil, false, errNotClientHello
			}
			if len(joined) >= 4+size {
				return joined[4 : 4+size], false, nil
			}
		}
		if len(b) < 5+n {
			return nil, true, nil
		}
		b = b[5+n:]
	}
}

// hostName reads the server_name extension (RFC 6066 §3), which holds one name of
// a type. Of another type than host names none was ever defined.
func hostName(data []byte) (string, error) {
	p := parser{data}
	list := parser{p.vector(2)}
	if p.rest == nil || len(p.rest) > 0 || len(list.rest) == 0 {
		return "", errNotClientHello
	}
	nameType := list.uint(1)
	name := list.vector(2)
	if list.rest == nil || len(list.rest) > 0 || nameType != 0 || len(name) == 0 {
		return "", errNotClientHello
	}
	return string(name), nil
}

// parser takes TLS's length-prefixed vectors apart. After the first thing that
// does not fit, rest is nil and everything further is empty.
type parser struct{ rest []byte }

func (p *parser) skip(n int) {
	if n > len(p.rest) {
		p.rest = nil
		return
	}
	p.rest = p.rest[n:]
}

func (p *parser) uint(size int) int {
	if size > len(p.rest) {
		p.rest = nil
		return 0
	}
	v := 0
	for _, c := range p.rest[:size] {
		v = v<<8 | int(c)
	}
	p.rest = p.rest[size:]
	return v
}

func (p *parser) vector(size int) []byte {
	n := p.uint(size)
	if p.rest == nil || n > len(p.rest) {
		p.rest = nil
		return nil
	}
	v := p.rest[:n]
	p.rest = p.rest[n:]
	return v
}
