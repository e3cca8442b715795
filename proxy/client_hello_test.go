package proxy

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
)

// realHello is what crypto/tls sends first.
func realHello(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	config.InsecureSkipVerify = true
	go tls.Client(client, config).Handshake()
	head := make([]byte, 5)
	if _, err := io.ReadFull(server, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(server, body); err != nil {
		t.Fatal(err)
	}
	return append(head, body...)
}

// records cuts a hello's one record into several of at most n bytes.
func records(hello []byte, n int) []byte {
	var out []byte
	for body := hello[5:]; len(body) > 0; {
		piece := body[:min(n, len(body))]
		out = append(out, recordHandshake, 3, 1, byte(len(piece)>>8), byte(len(piece)))
		out = append(out, piece...)
		body = body[len(piece):]
	}
	return out
}

func TestTheServerNameIsFoundInRealHellos(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a.", 100) + "test"
	for name, c := range map[string]struct {
		config *tls.Config
		want   string
	}{
		"TLS 1.3":         {&tls.Config{ServerName: "www.test"}, "www.test"},
		"TLS 1.2":         {&tls.Config{ServerName: "www.test", MaxVersion: tls.VersionTLS12}, "www.test"},
		"TLS 1.0":         {&tls.Config{ServerName: "www.test", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, "www.test"},
		"with ALPN":       {&tls.Config{ServerName: "www.test", NextProtos: []string{"h2", "http/1.1"}}, "www.test"},
		"no post-quantum": {&tls.Config{ServerName: "www.test", CurvePreferences: []tls.CurveID{tls.X25519}}, "www.test"},
		"a long name":     {&tls.Config{ServerName: long}, long},
		"no name":         {&tls.Config{}, ""},
		"an address":      {&tls.Config{ServerName: "192.0.2.1"}, ""},
		"upper case kept": {&tls.Config{ServerName: "WWW.test"}, "WWW.test"},
		"many protocols":  {&tls.Config{ServerName: "www.test", NextProtos: strings.Split(strings.Repeat("protocol ", 900)+"x", " ")}, "www.test"},
	} {
		hello := realHello(t, c.config)
		for _, size := range []int{1 << 14, 1000, 100, 7, 1} {
			b := records(hello, size)
			if got, more, err := readClientHello(b); got.name != c.want || more || err != nil {
				t.Errorf("%s in records of %d: %+v, more %v, error %v", name, size, got, more, err)
			}
		}
	}
}

func TestAHelloIsWaitedForWhereverItIsCut(t *testing.T) {
	t.Parallel()
	hello := realHello(t, &tls.Config{ServerName: "www.test"})
	for _, b := range [][]byte{hello, records(hello, 300)} {
		for n := range len(b) {
			if _, more, err := readClientHello(b[:n]); !more || err != nil {
				t.Fatalf("after %d of %d bytes: more %v, error %v", n, len(b), more, err)
			}
		}
		if got, more, err := readClientHello(append(bytes.Clone(b), "what follows"...)); got.name != "www.test" || more || err != nil {
			t.Errorf("with more behind it: %+v %v %v", got, more, err)
		}
	}
}

func TestBytesThatAreNoHelloAreRefused(t *testing.T) {
	t.Parallel()
	hello := realHello(t, &tls.Config{ServerName: "www.test", CurvePreferences: []tls.CurveID{tls.X25519}})
	change := func(at int, to byte) []byte {
		b := bytes.Clone(hello)
		b[at] = to
		return b
	}
	endless := []byte{recordHandshake, 3, 1, 0, 4, handshakeClientHello, 0xff, 0xff, 0xff}
	for name, b := range map[string][]byte{
		"another record type":       change(0, 23),
		"another major version":     change(1, 2),
		"an empty record":           {recordHandshake, 3, 1, 0, 0},
		"a record above 16 KiB":     {recordHandshake, 3, 1, 0x40, 1},
		"another handshake":         change(5, 2),
		"an oversized hello":        endless,
		"a session id too long":     change(5+4+34, 255),
		"an alert inside the hello": append(records(hello, 20)[:25], 21, 3, 1, 0, 2, 2, 40),
	} {
		if got, more, err := readClientHello(b); err != errNotClientHello || more {
			t.Errorf("%s: %+v, more %v, error %v", name, got, more, err)
		}
	}
}

// A hello that says it is as large as allowed is waited for in bounded memory.
func TestTheLargestHelloFitsTheBuffer(t *testing.T) {
	t.Parallel()
	b := []byte{handshakeClientHello, byte(maxClientHello >> 16), byte(maxClientHello >> 8 & 0xff), byte(maxClientHello & 0xff)}
	b = append(b, make([]byte, maxClientHello)...)
	whole := records(append(make([]byte, 5), b...), 1<<14)
	if len(whole) > maxBufferSize {
		t.Errorf("%d bytes do not fit %d", len(whole), maxBufferSize)
	}
	if _, more, _ := readClientHello(whole); more {
		t.Error("more is asked for though the hello is whole")
	}
}
