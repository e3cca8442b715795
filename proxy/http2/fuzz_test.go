package http2

import (
	"bytes"

	"net"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// recorded is what a peer might send, as seeds.
func recorded(f func(p *peer)) []byte {
	var b bytes.Buffer
	p := &peer{fr: xhttp2.NewFramer(&b, nil)}
	p.fr.AllowIllegalWrites = true
	p.enc = hpack.NewEncoder(&p.block)
	p.fr.WriteSettings()
	f(p)
	return b.Bytes()
}

// played is a connection on which the peer has said all it will ever say.
type played struct {
	net.Conn
	from *bytes.Reader
}

func (c *played) Read(b []byte) (int, error)       { return c.from.Read(b) }
func (c *played) Write(b []byte) (int, error)      { return len(b), nil }
func (c *played) Close() error                     { return nil }
func (c *played) SetReadDeadline(time.Time) error  { return nil }
func (c *played) SetWriteDeadline(time.Time) error { return nil }

// Whatever an application sends, the connection ends, its streams end, and what a
// handler was shown is well formed.
func FuzzFramesFromAnApplication(f *testing.F) {
	f.Add(recorded(func(p *peer) { p.headers(1, true, request("/")...) }))
	f.Add(recorded(func(p *peer) {
		p.headers(1, false, append(request("/"), "content-length", "3", "cookie", "a", "cookie", "b")...)
		p.fr.WriteDataPadded(1, false, []byte("abc"), make([]byte, 7))
		p.headers(1, true, "x", "y")
		p.fr.WriteRSTStream(1, 8)
	}))
	f.Add(recorded(func(p *peer) {
		p.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: p.encode(request("/")...)[:3]})
		p.fr.WriteContinuation(1, true, p.encode(request("/")...)[3:])
		p.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 1}, xhttp2.Setting{ID: xhttp2.SettingHeaderTableSize})
		p.fr.WriteWindowUpdate(0, 100)
		p.fr.WriteWindowUpdate(1, 100)
		p.fr.WritePing(false, [8]byte{})
		p.fr.WriteGoAway(0, 0, nil)
	}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := Server(&played{from: bytes.NewReader(b)}, []byte(Preface), Config{Handle: func(s *Stream) {
			if s.HeadError() == nil {
				wellFormed(t, s.Head())
			}
			echo(s)
		}})
		ends(t, c, c.Serve)
	})
}

// Whatever an upstream sends, the streams that are open on it end.
func FuzzFramesFromAnUpstream(f *testing.F) {
	f.Add(recorded(func(p *peer) {
		p.headers(1, false, ":status", "103")
		p.headers(1, false, ":status", "200", "content-length", "3")
		p.fr.WriteData(1, false, []byte("abc"))
		p.headers(1, true, "grpc-status", "0")
		p.fr.WriteGoAway(1, 0, []byte("bye"))
	}))
	f.Add(recorded(func(p *peer) {
		p.headers(3, true, ":status", "304", "content-length", "3")
		p.fr.WriteRSTStream(1, 7)
		p.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingMaxConcurrentStreams, Val: 0})
	}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := Client(&played{from: bytes.NewReader(b)}, Config{})
		var streams []*Stream
		for i := range 3 {
			s, err := c.Open(fieldsOf(request("/")), i == 2, i == 0)
			if err != nil {
				t.Fatal(err)
			}
			streams = append(streams, s)
		}
		ends(t, c, c.Run)
		for _, s := range streams {
			h, err := s.ReadHead()
			for err == nil && h.Status < 200 {
				h, err = s.ReadHead()
			}
			for err == nil {
				wellFormed(t, &h)
				_, _, err = s.Take(nil)
			}
			s.Close()
		}
	})
}

func ends(t *testing.T, c *Conn, serve func() error) {
	done := make(chan struct{})
	go func() { serve(); close(done) }()
	select {
	case <-done:
	case <-time.After(await.Patience):
		t.Fatal("the connection does not end")
	}
	if len(c.streams) != 0 || c.running != 0 {
		t.Fatalf("%d streams and %d handlers are left", len(c.streams), c.running)
	}
}

// wellFormed fails where a head could say something else in HTTP/1.1.
func wellFormed(t *testing.T, h *Head) {
	var b bytes.Buffer
	for _, s := range []string{h.Method, h.Authority, h.Path} {
		b.WriteString(s)
	}
	if bytes.ContainsAny(b.Bytes(), " \r\n\x00") {
		t.Fatalf("%+v", h)
	}
	for _, f := range h.Fields {
		if bytes.ContainsAny([]byte(f.Name+f.Value), "\r\n\x00") || f.Name == "" || f.Name[0] == ':' || f.Name == "transfer-encoding" || f.Name == "connection" {
			t.Fatalf("%+v", h)
		}
	}
}
