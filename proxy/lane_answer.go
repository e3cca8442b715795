package proxy

import "github.com/sluice-cni/sluice/proxy/http1"

// answerRest is what is left of an answer that a lane passes on.
type answerRest struct {
	framing    http1.Framing
	rechunk    bool
	untilClose bool // only the end of the connection ends the body
	keep       bool // the application's connection lives on
	done       bool // all of it is in back
	remaining  int64
	chunks     http1.ChunkReader
}

// answer begins the answer in h.resp: its head is ready to be sent.
func (h *httpConn) answer(framing http1.Framing) {
	a := &h.rest
	*a = answerRest{framing: framing, remaining: h.resp.ContentLength}
	a.rechunk, a.untilClose, a.keep = h.delivery(framing)
	h.entry.status = h.resp.Status
	h.appendHead(framing, a.rechunk, a.keep)
}

// produce turns what is in from into what goes to the application, once all of the
// last has gone. more says that there is more in from than was taken.
func (h *httpConn) produce(from *buffer) (more bool, err error) {
	a := &h.rest
	switch a.framing {
	case http1.NoBody:
		a.done = true
	case http1.Length:
		data := from.bytes()
		data = data[:min(int64(len(data)), a.remaining)]
		h.back = append(h.back, data...)
		from.discard(len(data))
		a.remaining -= int64(len(data))
		h.entry.sent += int64(len(data))
		a.done = a.remaining == 0
	}
	more = a.framing == http1.Chunked
	for more && !a.done && len(h.back) < flushAt {
		data, n, done, bad := a.chunks.Next(from.bytes())
		if bad != nil {
			return false, bad
		}
		if done {
			a.done = true
			h.entry.keepStatus1(a.chunks.Trailers)
			if a.rechunk {
				h.back = http1.AppendLastChunk(h.back, a.chunks.Trailers)
			}
		} else {
			h.appendData(data, a.rechunk)
		}
		from.discard(n)
		more = n > 0
	}
	h.unsent = h.back
	return more, nil
}
