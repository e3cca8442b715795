package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// oracle is what crypto/tls reads in the start of a connection. read is false
// where it refuses the hello, or wants more.
func oracle(b []byte) (name string, encrypted, read bool) {
	done := errors.New("seen")
	config := &tls.Config{GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		name, read = info.ServerName, true
		for _, id := range info.Extensions {
			encrypted = encrypted || id == extensionEncryptedName || id == extensionEncryptedSNI
		}
		return nil, done
	}}
	tls.Server(&recorded{Reader: bytes.NewReader(b)}, config).Handshake()
	return name, encrypted, read
}

// recorded is a connection whose other side has said all it will.
type recorded struct {
	io.Reader
	net.Conn
}

func (r *recorded) Read(b []byte) (int, error)       { return r.Reader.Read(b) }
func (r *recorded) Write(b []byte) (int, error)      { return len(b), nil }
func (r *recorded) Close() error                     { return nil }
func (r *recorded) SetDeadline(time.Time) error      { return nil }
func (r *recorded) SetWriteDeadline(time.Time) error { return nil }

// No bytes make the reader panic, more bytes never change an answer, and where both
// read a hello, crypto/tls reads the same name in it. (This refuses names of other
// types, which crypto/tls passes over; and it accepts hellos that no server takes,
// which go to a server all the same.)
func FuzzClientHello(f *testing.F) {
	for _, c := range []*tls.Config{{ServerName: "www.test"}, {}, {ServerName: "a.test", MaxVersion: tls.VersionTLS12}} {
		hello := realHello(f, c)
		f.Add(hello)
		f.Add(records(hello, 50))
	}
	for _, c := range oddHellos() {
		f.Add(c.bytes)
	}
	f.Add([]byte{recordHandshake, 3, 1, 0, 4, handshakeClientHello, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, more, err := readClientHello(b)
		h2, more2, err2 := readClientHello(append(bytes.Clone(b), 0))
		if !more && (h2 != h || more2 || err2 != err) {
			t.Fatalf("%q: %+v %v, with another byte %+v %v %v", b, h, err, h2, more2, err2)
		}
		if more && len(b) > 1<<20 {
			t.Fatalf("more is asked for after %d bytes", len(b))
		}
		name, encrypted, read := oracle(b)
		if read && err == nil && (more || h.name != name || h.encrypted != encrypted) {
			t.Fatalf("%q: crypto/tls reads %q, encrypted %v; this %+v, more %v, %v", b, name, encrypted, h, more, err)
		}
	})
}
