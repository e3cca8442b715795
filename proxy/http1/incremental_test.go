package http1

import (
	"fmt"
	"testing"
)

var samples = []string{
	"GET / HTTP/1.1\r\nHost: h.test\r\n\r\n",
	"\r\nPOST http://h.test:80/p?q HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: a, close\r\nA: b\r\n\r\nabc",
	"CONNECT h.test:443 HTTP/1.1\r\nHost: h.test:443\r\n\r\n",
	"GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n",
	"GET  / HTTP/1.1\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
	"GET / HTTP/1.1\nHost: a\n\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}

var responseSamples = []string{
	"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
	"HTTP/1.0 404\r\nA: b\r\nTransfer-Encoding: x\r\n\r\n",
	"HTTP/1.1 204 \r\n\r\n",
	"HTTQ",
}

// grow parses ever longer starts of b until there is an answer.
func grow(b []byte, parse func([]byte) (int, *Error)) (int, *Error) {
	for n := 0; n <= len(b); n++ {
		if used, err := parse(b[:n]); used > 0 || err != nil {
			return used, err
		}
	}
	return 0, nil
}

func describe(r *Request) string {
	s := fmt.Sprintf("%s %s %d %d %s %s %d %d %v %v %s;", r.Method, r.Target, r.Minor, r.Form, r.Path, r.Authority, r.ContentLength, r.Body(), r.KeepAlive, r.ExpectContinue, r.UpgradeTo)
	for _, f := range r.Fields {
		s += fmt.Sprintf("%q=%q %d %v;", f.Name, f.Value, f.ID, f.Hop)
	}
	return s
}

// A head that arrives byte by byte is read like one that arrives whole. An error
// may come earlier, and may then be the first of several.
func TestAHeadReadsTheSameHoweverItArrives(t *testing.T) {
	t.Parallel()
	for _, text := range samples {
		var whole, pieces Request
		n, err := whole.Parse([]byte(text))
		m, err2 := grow([]byte(text), pieces.Parse)
		if n != m || (err == nil) != (err2 == nil) || err == nil && describe(&whole) != describe(&pieces) {
			t.Errorf("%q: whole %d %v, in pieces %d %v", text, n, err, m, err2)
		}
	}
	for _, text := range responseSamples {
		var whole, pieces Response
		n, err := whole.Parse([]byte(text))
		m, err2 := grow([]byte(text), pieces.Parse)
		if n != m || (err == nil) != (err2 == nil) || err == nil && (whole.Status != pieces.Status || len(whole.Fields) != len(pieces.Fields)) {
			t.Errorf("%q: whole %d %v, in pieces %d %v", text, n, err, m, err2)
		}
	}
}

func TestParsingAllocatesNothingOnReuse(t *testing.T) {
	request := []byte("POST http://h.test/p?q HTTP/1.1\r\nHost: h.test\r\nTransfer-Encoding: chunked\r\nConnection: x-a, upgrade\r\nUpgrade: websocket\r\nX-A: 1\r\nAccept: */*\r\n\r\n")
	response := []byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nDate: x\r\nServer: y\r\nConnection: close\r\n\r\n")
	wrong := []byte("HTTP/1.1 2 OK\r\n\r\n")
	body := []byte("5;x=y\r\nhello\r\n0\r\nX-T: 1\r\n\r\n")
	var r Request
	var p Response
	var c ChunkReader
	out := make([]byte, 0, 4096)
	for name, f := range map[string]func(){
		"request":  func() { r.Parse(request) },
		"response": func() { p.Parse(response) },
		"refusal":  func() { p.Parse(wrong) },
		"chunks": func() {
			c.Reset()
			for b, done := body, false; !done; {
				var n int
				_, n, done, _ = c.Next(b)
				b = b[n:]
			}
		},
		"writing": func() {
			b := AppendRequestLine(out, r.Method, r.Path)
			for i := range r.Fields {
				b = r.Fields[i].Append(b)
			}
			b = AppendStatusLine(b, 200, p.Reason)
			AppendLastChunk(AppendChunkHead(b, 77), c.Trailers)
		},
	} {
		f()
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
