package http2

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// peer is the other end of a connection under test, frame by frame.
type peer struct {
	t     testing.TB
	nc    net.Conn
	fr    *xhttp2.Framer
	enc   *hpack.Encoder
	block bytes.Buffer
	conn  *Conn
	ended chan error
}

func pair(t testing.TB) (ours, theirs *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return a.(*net.TCPConn), b.(*net.TCPConn)
}

func newPeer(t testing.TB, begin func(net.Conn) *Conn, serve func(*Conn) error) *peer {
	ours, theirs := pair(t)
	p := &peer{t: t, nc: theirs, fr: xhttp2.NewFramer(theirs, theirs), conn: begin(ours), ended: make(chan error, 1)}
	p.fr.AllowIllegalWrites = true
	p.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.enc = hpack.NewEncoder(&p.block)
	theirs.SetDeadline(time.Now().Add(await.Patience))
	go func() {
		err := serve(p.conn)
		ours.CloseWrite()
		io.Copy(io.Discard, ours) // the peer reads the last words
		ours.Close()
		p.ended <- err
	}()
	t.Cleanup(func() {
		theirs.Close()
		p.conn.Close()
		select {
		case <-p.conn.Done():
		case <-time.After(await.Patience):
			t.Error("the connection did not end")
		}
	})
	return p
}

// serverPeer is an application that talks to a Server.
func serverPeer(t testing.TB, cfg Config) *peer {
	p := newPeer(t, func(nc net.Conn) *Conn { return Server(nc, nil, cfg) }, (*Conn).Serve)
	io.WriteString(p.nc, Preface)
	p.fr.WriteSettings()
	return p
}

// clientPeer is an upstream that talks to a Client.
func clientPeer(t testing.TB, cfg Config) *peer {
	p := newPeer(t, func(nc net.Conn) *Conn { return Client(nc, cfg) }, (*Conn).Run)
	b := make([]byte, len(Preface))
	if _, err := io.ReadFull(p.nc, b); err != nil || string(b) != Preface {
		t.Fatalf("%q %v", b, err)
	}
	p.fr.WriteSettings()
	return p
}

func (p *peer) encode(fields ...string) []byte {
	p.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		p.enc.WriteField(Field{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(p.block.Bytes())
}

func (p *peer) headers(id uint32, end bool, fields ...string) {
	p.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: id, BlockFragment: p.encode(fields...), EndHeaders: true, EndStream: end})
}

func request(path string) []string {
	return []string{":method", "GET", ":scheme", "http", ":authority", "a.example.com", ":path", path}
}

// next returns the next frame that is neither SETTINGS, PING nor WINDOW_UPDATE.
func (p *peer) next() xhttp2.Frame {
	p.t.Helper()
	for {
		f, err := p.fr.ReadFrame()
		if err != nil {
			p.t.Fatalf("instead of a frame: %v", err)
		}
		switch f := f.(type) {
		case *xhttp2.SettingsFrame, *xhttp2.WindowUpdateFrame:
		case *xhttp2.PingFrame:
		default:
			return f
		}
	}
}

// goAway reads until GOAWAY and returns its code.
func (p *peer) goAway() ErrCode {
	p.t.Helper()
	for {
		f, err := p.fr.ReadFrame()
		if err != nil {
			p.t.Fatalf("instead of GOAWAY: %v", err)
		}
		if g, ok := f.(*xhttp2.GoAwayFrame); ok && g.ErrCode != 0 {
			return ErrCode(g.ErrCode)
		}
	}
}

// echo answers a request with its own body and trailers.
func echo(s *Stream) {
	if s.HeadError() != nil {
		s.WriteHead([]Field{{Name: ":status", Value: "431"}}, true)
		return
	}
	if s.WriteHead([]Field{{Name: ":status", Value: "200"}, {Name: "path", Value: s.Head().Path}}, false) != nil {
		return
	}
	s.Flush()
	var spare []byte
	for {
		data, last, err := s.Take(spare)
		if err == io.EOF {
			if t := s.Trailers(); len(t) > 0 {
				s.WriteHead(t, true)
			} else {
				s.Write(nil, true)
			}
			return
		}
		if err != nil {
			return
		}
		if s.Write(data, last) != nil {
			return
		}
		s.Consumed(len(data))
		s.Flush()
		if last {
			return
		}
		spare = data
	}
}

// TestMain fails the run when goroutines of this package's connections outlive it.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := remaining(); left != "" && code == 0 {
		fmt.Fprintf(os.Stderr, "goroutines are left:\n%s", left)
		code = 1
	}
	os.Exit(code)
}

// remaining gives connections that are ending some time, and tells of the others.
func remaining() (left string) {
	await.Within(await.Patience, func() bool {
		b := make([]byte, 1<<20)
		b = b[:runtime.Stack(b, true)]
		left = ""
		for _, g := range strings.Split(string(b), "\n\n") {
			if strings.Contains(g, "http2.(*Conn)") {
				left += g + "\n\n"
			}
		}
		return left == ""
	})
	return left
}
