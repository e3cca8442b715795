package http1diff

import (
	"bufio"
	"bytes"

	"github.com/valyala/fasthttp"

	"github.com/sluice-cni/sluice/proxy/http1"
)

// reading is what decides where a message goes and where it ends.
type reading struct {
	method, target, host string
	status               int
	length               int64 // -1: until the end, or chunked
	chunked              bool
	head                 int // bytes of it
}

func ourRequest(b []byte) (reading, bool) {
	var r http1.Request
	n, err := r.Parse(b)
	if err != nil || n == 0 {
		return reading{}, false
	}
	out := reading{method: string(r.Method), target: string(r.Target), host: string(r.Authority), head: n}
	switch r.Body() {
	case http1.Length:
		out.length = r.ContentLength
	case http1.Chunked:
		out.length, out.chunked = -1, true
	}
	return out, true
}

func fastRequest(b []byte) (reading, bool) {
	in := bufio.NewReaderSize(bytes.NewReader(b), len(b)+16)
	var h fasthttp.RequestHeader
	if err := h.Read(in); err != nil {
		return reading{}, false
	}
	out := reading{method: string(h.Method()), target: string(h.RequestURI()), host: string(h.Host()), head: len(b) - in.Buffered()}
	switch n := h.ContentLength(); {
	case n == -1:
		out.length, out.chunked = -1, true
	case n > 0:
		out.length = int64(n)
	}
	return out, true
}

func ourResponse(b []byte) (reading, bool) {
	var r http1.Response
	n, err := r.Parse(b)
	if err != nil || n == 0 {
		return reading{}, false
	}
	out := reading{status: r.Status, length: -1, head: n}
	switch r.Body([]byte("GET")) {
	case http1.NoBody:
		out.length = 0
	case http1.Length:
		out.length = r.ContentLength
	case http1.Chunked:
		out.chunked = true
	}
	return out, true
}

func fastResponse(b []byte) (reading, bool) {
	in := bufio.NewReaderSize(bytes.NewReader(b), len(b)+16)
	var h fasthttp.ResponseHeader
	if err := h.Read(in); err != nil {
		return reading{}, false
	}
	out := reading{status: h.StatusCode(), length: -1, head: len(b) - in.Buffered()}
	switch n := h.ContentLength(); {
	case out.status < 200 || out.status == 204 || out.status == 304:
		out.length = 0
	case n == -1:
		out.chunked = true
	case n >= 0:
		out.length = int64(n)
	}
	return out, true
}

func ourChunks(b []byte) (body []byte, used int, ok bool) {
	var c http1.ChunkReader
	for {
		data, n, done, err := c.Next(b[used:])
		body, used = append(body, data...), used+n
		switch {
		case err != nil:
			return nil, 0, false
		case done:
			return body, used, true
		case n == 0:
			return nil, 0, false
		}
	}
}

const chunkedHead = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

func fastChunks(b []byte) (body []byte, used int, ok bool) {
	b = append([]byte(chunkedHead), b...)
	in := bufio.NewReaderSize(bytes.NewReader(b), len(b)+16)
	var r fasthttp.Request
	if err := r.ReadLimitBody(in, 1<<20); err != nil {
		return nil, 0, false
	}
	return r.Body(), len(b) - in.Buffered() - len(chunkedHead), true
}
