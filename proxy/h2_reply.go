package proxy

import (
	"slices"
	"strconv"
	"time"

	"github.com/sluice-cni/sluice/proxy/http2"
)

// reply sends a local reply. One without a status is only recorded.
func (r *h2Request) reply(l localReply) {
	e := &r.entry
	e.received = r.body.received.Load()
	e.status, e.flags, e.details = l.status, l.flags, l.details
	if l.status == 0 {
		r.c.server.record(e)
		return
	}
	isHead := r.head.Method == "HEAD"
	fields, body := l.form(e, isHead, r.edits.Response)
	fields = slices.Insert(fields, 0, http2.Field{Name: ":status", Value: statusText(e.status)})
	if body != "" {
		fields = append(fields, http2.Field{Name: "content-length", Value: strconv.Itoa(len(body))})
	}
	if isHead {
		body = ""
	}
	e.headSent = headSize(fields)
	err := r.down.WriteHead(fields, body == "")
	if err == nil && body != "" {
		err = r.down.Write(bytesOf(body), true)
		e.sent = int64(len(body))
	}
	r.down.Flush()
	if err != nil {
		left := r.gaveUp()
		e.flags, e.details = left.flags, left.details
	}
	r.c.server.record(e)
}

// statusText is a status in digits, without allocating for the usual ones.
func statusText(status int) string {
	switch status {
	case 200:
		return "200"
	case 204:
		return "204"
	case 304:
		return "304"
	case 404:
		return "404"
	case 502:
		return "502"
	case 503:
		return "503"
	}
	return strconv.Itoa(status)
}

// dateValue is the Date field's value, made once a second.
func dateValue() string {
	return dateNow(time.Now()).value
}
