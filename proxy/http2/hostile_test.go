package http2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	xhttp2 "golang.org/x/net/http2"
)

// Each flood ends the connection with ENHANCE_YOUR_CALM, long before it has cost
// anything.
func TestFloodsEndTheConnection(t *testing.T) {
	t.Parallel()
	for name, flood := range map[string]func(p *peer, i int) error{
		"rapid reset": func(p *peer, i int) error {
			id := uint32(2*i + 1)
			p.headers(id, true, request("/")...)
			return p.fr.WriteRSTStream(id, xhttp2.ErrCodeCancel)
		},
		"SETTINGS": func(p *peer, i int) error { return p.fr.WriteSettings() },
		"PING":     func(p *peer, i int) error { return p.fr.WritePing(false, [8]byte{}) },
		"PRIORITY": func(p *peer, i int) error { return p.fr.WritePriority(1, xhttp2.PriorityParam{}) },
		"empty DATA": func(p *peer, i int) error {
			if i == 0 {
				p.headers(1, false, request("/")...)
			}
			return p.fr.WriteData(1, false, nil)
		},
		"WINDOW_UPDATE":  func(p *peer, i int) error { return p.fr.WriteWindowUpdate(0, 1) },
		"unknown frames": func(p *peer, i int) error { return p.fr.WriteRawFrame(0x77, 0, 0, []byte("x")) },
		"CONTINUATION": func(p *peer, i int) error {
			if i == 0 {
				return p.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: p.encode(request("/")...)})
			}
			return p.fr.WriteContinuation(1, false, p.encode("a", strings.Repeat("b", 100)))
		},
		"empty CONTINUATION": func(p *peer, i int) error {
			if i == 0 {
				return p.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: p.encode(request("/")...)})
			}
			return p.fr.WriteContinuation(1, false, nil)
		},
		"malformed requests": func(p *peer, i int) error {
			p.headers(uint32(2*i+1), true, ":method", "GET")
			return nil
		},
		"resets that it provokes": func(p *peer, i int) error {
			id := uint32(2*i + 1)
			p.headers(id, false, request("/")...)
			return p.fr.WriteWindowUpdate(id, 0)
		},
		"streams beyond the limit": func(p *peer, i int) error {
			p.headers(uint32(2*i+1), false, request("/")...)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := serverPeer(t, Config{Handle: echo})
			go func() {
				for i := range 10_000 {
					if flood(p, i) != nil {
						return
					}
				}
			}()
			if code := p.goAway(); code != EnhanceYourCalm {
				t.Errorf("ended with %s", code)
			}
		})
	}
}

// A peer that makes us write and never reads is cut off, for that: between its PINGs
// it sends bytes of a body, which buy them back from the budget that floods have.
func TestAPeerThatDoesNotReadIsBounded(t *testing.T) {
	t.Parallel()
	p := serverPeer(t, Config{Handle: discard})
	p.headers(1, false, request("/")...)
	ended := func() bool {
		select {
		case <-p.conn.Done():
			return true
		default:
			return false
		}
	}
	const window = 65_535 // what may be sent before a WINDOW_UPDATE is read
	for i := 0; !ended(); i++ {
		if i%10 != 0 {
			if p.fr.WritePing(false, [8]byte{}) != nil {
				break
			}
		} else if i/10 < window {
			p.fr.WriteData(1, false, []byte("x"))
		} else {
			t.Fatalf("%d PINGs were answered to nobody", i)
		}
	}
	p.nc.Close()
	var why *ConnError
	if err := <-p.ended; !errors.As(err, &why) || why.Code != EnhanceYourCalm || !strings.Contains(why.Detail, "wait to be read") {
		t.Errorf("it ended with %v", err)
	}
}

// discard reads a body and never answers.
func discard(s *Stream) {
	var spare []byte
	for {
		data, last, err := s.Take(spare)
		if err != nil || last {
			return
		}
		s.Consumed(len(data))
		spare = data
	}
}

func TestABombOfHeadersCostsNothing(t *testing.T) {
	t.Parallel()
	p := serverPeer(t, Config{Handle: echo})
	// One field of 4 kB in the table, then as many references to it as fit.
	block := p.encode(append(request("/"), "a", strings.Repeat("b", 3900))...)
	block = append(block, bytes.Repeat([]byte{0x80 | 62}, 16<<10-len(block))...)
	p.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true, EndStream: true})
	f := p.next().(*xhttp2.MetaHeadersFrame)
	if got := f.PseudoValue("status"); got != "431" {
		t.Errorf("status %s", got)
	}
	// The table has not come out of step: the next request is read.
	p.headers(3, true, request("/next")...)
	for {
		if f, ok := p.next().(*xhttp2.MetaHeadersFrame); ok && f.StreamID == 3 {
			if f.Fields[1].Value != "/next" {
				t.Errorf("%v", f.Fields)
			}
			return
		}
	}
}

func TestTooManyFieldsAreAnswered431AndOthersGoOn(t *testing.T) {
	t.Parallel()
	p := serverPeer(t, Config{Handle: echo})
	many := request("/")
	for range 101 {
		many = append(many, "a", "b")
	}
	p.headers(1, true, many...)
	if f := p.next().(*xhttp2.MetaHeadersFrame); f.PseudoValue("status") != "431" {
		t.Errorf("%v", f.Fields)
	}
	p.headers(3, true, request("/")...)
	if f := p.next().(*xhttp2.MetaHeadersFrame); f.PseudoValue("status") != "200" {
		t.Errorf("%v", f.Fields)
	}
}

// What RFC 9113 calls malformed resets its stream and no other.
func TestMalformedRequestsAreReset(t *testing.T) {
	t.Parallel()
	base := request("/")
	with := func(more ...string) []string { return append(append([]string(nil), base...), more...) }
	p := serverPeer(t, Config{Handle: echo})
	id := uint32(1)
	for name, fields := range map[string][]string{
		"no method":                 {":scheme", "http", ":authority", "a", ":path", "/"},
		"no scheme":                 {":method", "GET", ":authority", "a", ":path", "/"},
		"no path":                   {":method", "GET", ":scheme", "http", ":authority", "a"},
		"empty path":                {":method", "GET", ":scheme", "http", ":authority", "a", ":path", ""},
		"path without slash":        {":method", "GET", ":scheme", "http", ":authority", "a", ":path", "x"},
		"space in path":             {":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/ HTTP/1.1"},
		"line end in path":          {":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/\r\nHost: b"},
		"other scheme":              {":method", "GET", ":scheme", "ftp", ":authority", "a", ":path", "/"},
		"bad method":                {":method", "GE T", ":scheme", "http", ":authority", "a", ":path", "/"},
		"line end in method":        {":method", "GET / HTTP/1.1\r\n", ":scheme", "http", ":authority", "a", ":path", "/"},
		"path twice":                with(":path", "/b"),
		"authority twice":           with(":authority", "b"),
		"pseudo after others":       append([]string{":method", "GET", "a", "b"}, ":path", "/"),
		"status in a request":       with(":status", "200"),
		"unknown pseudo":            with(":x", "y"),
		"protocol":                  with(":protocol", "websocket"),
		"userinfo in authority":     {":method", "GET", ":scheme", "http", ":authority", "u@a", ":path", "/"},
		"slash in authority":        {":method", "GET", ":scheme", "http", ":authority", "a/b", ":path", "/"},
		"line end in authority":     {":method", "GET", ":scheme", "http", ":authority", "a\r\nX: y", ":path", "/"},
		"upper case name":           with("X-A", "b"),
		"space in name":             with("x a", "b"),
		"colon in name":             with("x:a", "b"),
		"empty name":                with("", "b"),
		"line end in name":          with("x\r\ny", "b"),
		"line end in value":         with("x", "a\r\nb: c"),
		"NUL in value":              with("x", "a\x00"),
		"space before value":        with("x", " a"),
		"tab after value":           with("x", "a\t"),
		"connection":                with("connection", "close"),
		"keep-alive":                with("keep-alive", "1"),
		"proxy-connection":          with("proxy-connection", "close"),
		"transfer-encoding":         with("transfer-encoding", "chunked"),
		"upgrade":                   with("upgrade", "h2c"),
		"te":                        with("te", "gzip"),
		"two hosts":                 {":method", "GET", ":scheme", "http", ":path", "/", "host", "a", "host", "b"},
		"empty host":                with("host", ""),
		"signed content-length":     with("content-length", "+1"),
		"content-length twice":      with("content-length", "0", "content-length", "0"),
		"list of content-length":    with("content-length", "0, 0"),
		"body missing":              with("content-length", "5"),
		"CONNECT with a path":       {":method", "CONNECT", ":authority", "a:1", ":path", "/"},
		"CONNECT to nobody":         {":method", "CONNECT"},
		"asterisk for GET":          {":method", "GET", ":scheme", "http", ":authority", "a", ":path", "*"},
		"fragment in path":          {":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/a#b"},
		"percent sign in authority": {":method", "GET", ":scheme", "http", ":authority", "a%2eb", ":path", "/"},
	} {
		p.headers(id, true, fields...)
		f, ok := p.next().(*xhttp2.RSTStreamFrame)
		if !ok || f.StreamID != id || f.ErrCode != xhttp2.ErrCodeProtocol {
			t.Fatalf("%s: %v", name, f)
		}
		id += 2
	}
	p.headers(id, true, request("/")...)
	if f := p.next().(*xhttp2.MetaHeadersFrame); f.PseudoValue("status") != "200" {
		t.Errorf("afterwards: %v", f.Fields)
	}
}

func TestFramesThatBreakTheRulesEndTheConnection(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code ErrCode
		send func(p *peer)
	}{
		"DATA on an idle stream":   {ProtocolError, func(p *peer) { p.fr.WriteData(1, true, nil) }},
		"RST on an idle stream":    {ProtocolError, func(p *peer) { p.fr.WriteRSTStream(1, 0) }},
		"window of an idle stream": {ProtocolError, func(p *peer) { p.fr.WriteWindowUpdate(1, 1) }},
		"an even stream":           {ProtocolError, func(p *peer) { p.headers(2, true, request("/")...) }},
		"HEADERS on 0":             {ProtocolError, func(p *peer) { p.headers(0, true, request("/")...) }},
		"SETTINGS on a stream":     {ProtocolError, func(p *peer) { p.fr.WriteRawFrame(xhttp2.FrameSettings, 0, 1, nil) }},
		"SETTINGS of 5 bytes":      {FrameSizeError, func(p *peer) { p.fr.WriteRawFrame(xhttp2.FrameSettings, 0, 0, make([]byte, 5)) }},
		"a full ACK":               {FrameSizeError, func(p *peer) { p.fr.WriteRawFrame(xhttp2.FrameSettings, 1, 0, make([]byte, 6)) }},
		"PING of 7 bytes":          {FrameSizeError, func(p *peer) { p.fr.WriteRawFrame(xhttp2.FramePing, 0, 0, make([]byte, 7)) }},
		"PUSH_PROMISE":             {ProtocolError, func(p *peer) { p.fr.WriteRawFrame(xhttp2.FramePushPromise, 4, 1, make([]byte, 4)) }},
		"CONTINUATION by itself":   {ProtocolError, func(p *peer) { p.fr.WriteContinuation(1, true, nil) }},
		"a frame within a section": {ProtocolError, func(p *peer) {
			p.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: p.encode("a", "b")})
			p.fr.WritePing(false, [8]byte{})
		}},
		"a frame of 17 kB": {FrameSizeError, func(p *peer) { p.fr.WriteRawFrame(xhttp2.FrameData, 0, 1, make([]byte, 17<<10)) }},
		"broken compression": {CompressionError, func(p *peer) {
			p.fr.WriteRawFrame(xhttp2.FrameHeaders, 4, 1, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		}},
		"a table larger than ours":  {CompressionError, func(p *peer) { p.fr.WriteRawFrame(xhttp2.FrameHeaders, 4, 1, []byte{0x3f, 0xe1, 0xff, 0x03}) }},
		"a string without end":      {CompressionError, func(p *peer) { p.fr.WriteRawFrame(xhttp2.FrameHeaders, 4, 1, []byte{0x00, 0x7f, 0xff, 0xff, 0x7f}) }},
		"more padding than payload": {ProtocolError, func(p *peer) { p.fr.WriteRawFrame(xhttp2.FrameHeaders, 0xc, 1, []byte{9, 1}) }},
		"a window beyond 2^31":      {FlowControlError, func(p *peer) { p.fr.WriteWindowUpdate(0, 1<<31-1); p.fr.WriteWindowUpdate(0, 1<<31-1) }},
		"a window of nothing":       {ProtocolError, func(p *peer) { p.fr.WriteWindowUpdate(0, 0) }},
		"a wrong frame size":        {ProtocolError, func(p *peer) { p.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingMaxFrameSize, Val: 1}) }},
		"a wrong initial window":    {FlowControlError, func(p *peer) { p.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 1 << 31}) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := serverPeer(t, Config{Handle: echo})
			c.send(p)
			if code := p.goAway(); code != c.code {
				t.Errorf("ended with %s, want %s", code, c.code)
			}
		})
	}
}

func TestAnotherPrefaceIsRefused(t *testing.T) {
	t.Parallel()
	ours, theirs := pair(t)
	defer theirs.Close()
	c := Server(ours, []byte("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"), Config{Handle: echo})
	bad, ok := c.Serve().(*ConnError)
	if !ok || bad.Code != ProtocolError {
		t.Errorf("%v", bad)
	}
	ours.Close()
}

// A body longer or shorter than its Content-Length never ends as if it were whole.
func TestABodyIsHeldToItsLength(t *testing.T) {
	t.Parallel()
	taken := make(chan error, 1)
	p := serverPeer(t, Config{Handle: func(s *Stream) {
		for {
			if _, last, err := s.Take(nil); err != nil || last {
				taken <- err
				return
			}
		}
	}})
	id := uint32(1)
	for _, body := range []string{"four", "sixsix"} {
		p.headers(id, false, append(request("/"), "content-length", "5")...)
		p.fr.WriteData(id, true, []byte(body))
		if f, ok := p.next().(*xhttp2.RSTStreamFrame); !ok || f.ErrCode != xhttp2.ErrCodeProtocol {
			t.Errorf("%q: %v", body, f)
		}
		if err := <-taken; err == nil || err == io.EOF {
			t.Errorf("%q was taken for a whole body", body)
		}
		id += 2
	}
}

func TestDataBeyondTheWindowResetsItsStream(t *testing.T) {
	t.Parallel()
	p := serverPeer(t, Config{Handle: func(s *Stream) { s.ReadHead() }})
	p.headers(1, false, request("/")...)
	for range streamWindow/maxFrame + 1 {
		p.fr.WriteData(1, false, make([]byte, maxFrame))
	}
	for {
		if f, ok := p.next().(*xhttp2.RSTStreamFrame); ok {
			if f.ErrCode != xhttp2.ErrCodeFlowControl {
				t.Errorf("%v", f)
			}
			return
		}
	}
}

// Upstreams are no kinder.
func TestAnswersThatBreakTheRulesFailTheirStreamOnly(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]func(p *peer, id uint32){
		"no status":            func(p *peer, id uint32) { p.headers(id, true, "a", "b") },
		"101":                  func(p *peer, id uint32) { p.headers(id, true, ":status", "101") },
		"status of two digits": func(p *peer, id uint32) { p.headers(id, true, ":status", "99") },
		"interim with an end":  func(p *peer, id uint32) { p.headers(id, true, ":status", "103") },
		"connection":           func(p *peer, id uint32) { p.headers(id, true, ":status", "200", "connection", "close") },
		"line end in a value":  func(p *peer, id uint32) { p.headers(id, true, ":status", "200", "a", "b\r\nc: d") },
		"upper case":           func(p *peer, id uint32) { p.headers(id, true, ":status", "200", "A", "b") },
		"path in an answer":    func(p *peer, id uint32) { p.headers(id, true, ":status", "200", ":path", "/") },
		"data before headers":  func(p *peer, id uint32) { p.fr.WriteData(id, true, []byte("x")) },
		"body of a 204": func(p *peer, id uint32) {
			p.headers(id, false, ":status", "204")
			p.fr.WriteData(id, true, []byte("x"))
		},
		"body too long": func(p *peer, id uint32) {
			p.headers(id, false, ":status", "200", "content-length", "1")
			p.fr.WriteData(id, true, []byte("xx"))
		},
		"body too short": func(p *peer, id uint32) {
			p.headers(id, false, ":status", "200", "content-length", "3")
			p.fr.WriteData(id, true, []byte("xx"))
		},
		"pseudo in trailers": func(p *peer, id uint32) {
			p.headers(id, false, ":status", "200")
			p.headers(id, true, ":status", "200")
		},
		"trailers without end": func(p *peer, id uint32) { p.headers(id, false, ":status", "200"); p.headers(id, false, "a", "b") },
		"too many fields": func(p *peer, id uint32) {
			f := []string{":status", "200"}
			for range 100 {
				f = append(f, "a", "b")
			}
			p.headers(id, true, f...)
		},
		"endless interims": func(p *peer, id uint32) {
			for range 101 {
				p.headers(id, false, ":status", "103")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := clientPeer(t, Config{})
			bad, _ := p.conn.Open(fieldsOf(request("/bad")), false, true)
			good, _ := p.conn.Open(fieldsOf(request("/good")), false, true)
			good.Flush()
			send(p, 1)
			p.headers(3, true, ":status", "200")
			if h, err := good.ReadHead(); err != nil || h.Status != 200 {
				t.Errorf("the innocent stream: %v %v", h, err)
			}
			var err error
			for err == nil {
				if _, err = bad.ReadHead(); err != nil {
					break
				}
				if bad.answered {
					for err == nil {
						_, _, err = bad.Take(nil)
					}
				}
			}
			if _, ok := err.(*StreamError); !ok {
				t.Errorf("the bad one: %v", err)
			}
		})
	}
}

func fieldsOf(pairs []string) (out []Field) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, Field{Name: pairs[i], Value: pairs[i+1]})
	}
	return out
}

func TestAnUpstreamThatFloodsIsCutOff(t *testing.T) {
	t.Parallel()
	p := clientPeer(t, Config{})
	s, _ := p.conn.Open(fieldsOf(request("/")), false, true)
	s.Flush()
	go func() {
		for p.fr.WritePing(false, [8]byte{}) == nil {
		}
	}()
	_, err := s.ReadHead()
	if bad, ok := err.(*ConnError); !ok || bad.Code != EnhanceYourCalm {
		t.Errorf("%v", err)
	}
}

// Frames are read alike by this package and golang.org/x/net/http2.
func FuzzFramesAreReadAlike(f *testing.F) {
	f.Add([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0})
	f.Add(appendPing(nil, 0, drainPing))
	f.Add(append(appendFrameHeader(nil, frameData, flagPadded, 1, 4), 1, 'a', 'b', 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, n, bad := parseFrame(b)
		fr := xhttp2.NewFramer(io.Discard, bytes.NewReader(b))
		fr.SetMaxReadFrameSize(maxFrame)
		fr.AllowIllegalReads = true // the order of frames is the connection's affair
		theirs, err := fr.ReadFrame()
		if bad == nil && n == 0 {
			return // more bytes are needed
		}
		if (bad == nil) != (err == nil) {
			if bad == nil && theirs == nil && strings.Contains(err.Error(), "stream error") {
				return // a stream's affair, judged later here
			}
			if bad == nil && lenient(&ours) {
				return
			}
			t.Fatalf("%x: ours %v, theirs %v", b, bad, err)
		}
		if bad != nil {
			return
		}
		h := theirs.Header()
		if uint8(h.Type) != uint8(ours.kind) || h.StreamID != ours.stream || int(h.Length) != ours.length {
			t.Fatalf("%x: ours %+v, theirs %v", b, ours, h)
		}
		if d, ok := theirs.(*xhttp2.DataFrame); ok && !bytes.Equal(d.Data(), ours.payload) {
			t.Fatalf("%x: ours %x, theirs %x", b, ours.payload, d.Data())
		}
		if d, ok := theirs.(*xhttp2.HeadersFrame); ok && !bytes.Equal(d.HeaderBlockFragment(), ours.payload) {
			t.Fatalf("%x: ours %x, theirs %x", b, ours.payload, d.HeaderBlockFragment())
		}
	})
}

// lenient are frames that this package judges by what they do, not by their form:
// PUSH_PROMISE is refused whatever is in it, and WINDOW_UPDATE by its increment.
func lenient(f *frame) bool {
	return f.kind == framePushPromise || f.kind == frameWindowUpdate || f.kind == frameSettings ||
		f.kind == frameGoAway && binary.BigEndian.Uint32(f.payload) > maxStreamID || f.kind > frameContinuation
}
