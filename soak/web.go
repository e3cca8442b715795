package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// webConn is a client's connection for HTTP/1.1. net/http's own client hides what
// happens to connections, and tries again by itself.
type webConn struct {
	net.Conn
	in   *bufio.Reader
	left int // requests until the client closes it
}

const longestConn = 200 // requests

func (w *worker) dial() error {
	c, err := net.DialTimeout("tcp4", webAddress, answerWithin)
	if err != nil {
		return err
	}
	w.conn = &webConn{Conn: c, in: bufio.NewReaderSize(c, 16<<10), left: 1 + w.load.draws.below(longestConn)}
	return nil
}

func (w *worker) close() {
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}

// web makes one request and judges the answer.
func (w *worker) web(s service, method, path string, body int, due time.Time) {
	e := exchange{service: s, what: method + " " + path, id: w.load.id(), idempotent: method == "GET", web: true, due: due}
	if w.conn == nil {
		if err := w.dial(); err != nil {
			e.began = time.Now()
			w.load.judge.failed(e.end(), "cannot connect: "+err.Error())
			return
		}
	}
	e.began = time.Now()
	answer, err := w.conn.exchange(s.host, method, path, e.id, body)
	e = e.end()
	w.conn.left--
	if err != nil || answer.closes || w.conn.left <= 0 {
		w.close()
	}
	w.load.judgeWeb(e, answer, err, path, body)
}

// answer is what came back.
type answer struct {
	status int
	body   []byte
	closes bool
}

func (c *webConn) exchange(host, method, path, id string, body int) (answer, error) {
	c.SetDeadline(time.Now().Add(answerWithin))
	var head bytes.Buffer
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: soak\r\nX-Request-Id: %s\r\n", method, path, host, id)
	switch {
	case body > 10_000:
		head.WriteString("Transfer-Encoding: chunked\r\n\r\n")
	case body > 0:
		fmt.Fprintf(&head, "Content-Length: %d\r\n\r\n", body)
		head.Write(pattern[:body])
	default:
		head.WriteString("\r\n")
	}
	_, sendErr := c.Write(head.Bytes())
	for sent := 0; sendErr == nil && body > 10_000 && sent < body; {
		part := pattern[sent:min(sent+9_000, body)]
		_, sendErr = fmt.Fprintf(c, "%x\r\n%s\r\n", len(part), part)
		sent += len(part)
	}
	if sendErr == nil && body > 10_000 {
		_, sendErr = io.WriteString(c, "0\r\n\r\n")
	}
	// An answer may be there although the body could not be sent.
	response, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		return answer{}, errors.Join(sendErr, err)
	}
	a := answer{status: response.StatusCode, closes: response.Close || sendErr != nil}
	a.body, err = io.ReadAll(response.Body)
	return a, err
}

// judgeWeb holds an answer to what policy orders.
func (l *load) judgeWeb(e exchange, a answer, err error, path string, body int) {
	served, refused := true, false
	switch e.service {
	case stranger:
		served, refused = false, true
	case flap:
		served, refused = l.flapping.allows(e.began, e.ended)
	}
	switch {
	case err == nil && a.status == 200:
		wrong := wrongBody(e.service, path, body, a.body)
		switch {
		case wrong != "":
			l.judge.failed(e, wrong)
		case !served:
			l.judge.failed(e, "served although it is not registered")
		default:
			l.judge.right(e)
		}
		if e.service == flap {
			l.flapping.saw(true, e.began)
		}
	case err == nil && a.status == 502 && len(a.body) == 0 && refused:
		l.judge.refused(e)
		if e.service == flap {
			l.flapping.saw(false, e.began)
		}
	case !served:
		l.judge.failed(e, fmt.Sprintf("not refused as policy orders: %d %q %v", a.status, short(a.body), err))
	case err != nil:
		l.judge.suspect(e, fmt.Sprintf("cut after status %d: %v", a.status, err))
	default:
		l.judge.suspect(e, fmt.Sprintf("%d %q", a.status, short(a.body)))
	}
}

func short(b []byte) string { return string(b[:min(len(b), 200)]) }

// wrongBody says what is wrong with a body, "" for nothing.
func wrongBody(s service, path string, sent int, body []byte) string {
	first, rest, ok := bytes.Cut(body, []byte("\n"))
	if !ok || !namesServer(string(first), s) {
		return fmt.Sprintf("not an answer of %s: %q", s.name, short(body))
	}
	var want []byte
	switch path {
	case "/large":
		want = pattern
	case "/chunks":
		want = pattern[:chunkCount*chunkSize]
	case "/echo":
		want = fmt.Appendf(nil, "%d %08x\n", sent, crc32.ChecksumIEEE(pattern[:sent]))
	}
	if !bytes.Equal(rest, want) {
		return fmt.Sprintf("the body is not what was sent: %d bytes, not %d", len(rest), len(want))
	}
	return ""
}

// namesServer says whether a text is how a server of s names itself: service,
// number, process.
func namesServer(text string, s service) bool {
	words := strings.Fields(text)
	if len(words) < 3 || words[0] != s.name {
		return false
	}
	_, err := strconv.Atoi(words[2])
	return err == nil
}
