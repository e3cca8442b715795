package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"testing"
)

// reading is what decides where a message goes and where it ends.
type reading struct {
	method, target, host string
	status               int
	length               int64 // -1: none or chunked
	chunked              bool
	head                 int // bytes of it
}

func ourRequest(b []byte) (reading, bool) {
	var r Request
	n, err := r.Parse(b)
	if err != nil || n == 0 {
		return reading{}, false
	}
	length := r.ContentLength
	if r.Body() == NoBody {
		length = 0
	}
	return reading{method: string(r.Method), target: string(r.Target), host: string(r.Authority),
		length: length, chunked: r.Body() == Chunked, head: n}, true
}

func theirRequest(b []byte) (reading, bool) {
	in := bufio.NewReaderSize(bytes.NewReader(b), len(b)+16)
	r, err := http.ReadRequest(in)
	if err != nil {
		return reading{}, false
	}
	return reading{method: r.Method, target: r.RequestURI, host: r.Host, length: r.ContentLength,
		chunked: len(r.TransferEncoding) > 0, head: len(b) - in.Buffered()}, true
}

func ourResponse(b []byte) (reading, bool) {
	var r Response
	n, err := r.Parse(b)
	if err != nil || n == 0 {
		return reading{}, false
	}
	out := reading{status: r.Status, length: -1, head: n}
	switch r.Body([]byte("GET")) {
	case NoBody:
		out.length = 0
	case Length:
		out.length = r.ContentLength
	case Chunked:
		out.chunked = true
	}
	return out, true
}

func theirResponse(b []byte) (reading, bool) {
	in := bufio.NewReaderSize(bytes.NewReader(b), len(b)+16)
	r, err := http.ReadResponse(in, &http.Request{Method: "GET"})
	if err != nil {
		return reading{}, false
	}
	out := reading{status: r.StatusCode, length: r.ContentLength, chunked: len(r.TransferEncoding) > 0, head: len(b) - in.Buffered()}
	if r.StatusCode == 204 || r.StatusCode == 304 || r.StatusCode < 200 {
		out.length, out.chunked = 0, false
	}
	return out, true
}

// FuzzRequest: no input makes the parser panic or use more than it was given;
// what it accepts net/http reads alike; bytes that follow change nothing.
func FuzzRequest(f *testing.F) {
	for _, s := range samples {
		f.Add([]byte(s))
	}
	for _, d := range differences {
		if !d.response {
			f.Add([]byte(d.text))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		ours, ok := ourRequest(b)
		if !bytes.Equal(b, before) {
			t.Fatalf("the parser wrote into its input %q", before)
		}
		if !ok {
			return
		}
		if ours.head > len(b) {
			t.Fatalf("%q: consumed %d of %d", b, ours.head, len(b))
		}
		if alone, _ := ourRequest(b[:ours.head]); alone != ours {
			t.Fatalf("%q: alone %+v, with more behind it %+v", b, alone, ours)
		}
		if theirs, ok := theirRequest(b); !ok || theirs != ours {
			if !explained(b, false, ok) {
				t.Fatalf("%q:\nours %+v\nnet/http %v %+v", b, ours, ok, theirs)
			}
		}
	})
}

// FuzzResponse is FuzzRequest for the other direction.
func FuzzResponse(f *testing.F) {
	for _, s := range responseSamples {
		f.Add([]byte(s))
	}
	for _, d := range differences {
		if d.response {
			f.Add([]byte(d.text))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, ok := ourResponse(b)
		if !ok {
			return
		}
		if ours.head > len(b) {
			t.Fatalf("%q: consumed %d of %d", b, ours.head, len(b))
		}
		if theirs, ok := theirResponse(b); !ok || theirs != ours {
			if !explained(b, true, ok) {
				t.Fatalf("%q:\nours %+v\nnet/http %v %+v", b, ours, ok, theirs)
			}
		}
	})
}

// FuzzChunks: a body that is accepted reads the same to net/http, and the same
// when it comes byte by byte.
func FuzzChunks(f *testing.F) {
	for _, s := range []string{"0\r\n\r\n", "5\r\nhello\r\n0\r\nA: b\r\n\r\n", "2;x=\"y\"\r\nhe\r\n00003\r\nllo\r\n000\r\n\r\n", "5 ;\r\nhello\r\n0\r\n\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		body, _, used, done, err := readChunks(b)
		if used > len(b) {
			t.Fatalf("%q: consumed %d of %d", b, used, len(b))
		}
		every := make([]int, len(b))
		for i := range every {
			every[i] = i
		}
		slow, _, slowUsed, slowDone, slowErr := readChunks(b, every...)
		if slowDone != done || (slowErr == nil) != (err == nil) || err == nil && (slowUsed != used || !bytes.Equal(slow, body)) {
			t.Fatalf("%q: at once %q %d %v %v, byte by byte %q %d %v %v", b, body, used, done, err, slow, slowUsed, slowDone, slowErr)
		}
		if !done {
			return
		}
		theirs, theirErr := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(b)))
		if theirErr != nil || !bytes.Equal(theirs, body) {
			t.Fatalf("%q: ours %q, net/http %q %v", b, body, theirs, theirErr)
		}
	})
}
