package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// web2Client speaks HTTP/2 without TLS to the proxy, by prior knowledge, on a few
// connections of many streams.
type web2Client struct{ http.Client }

const web2Clients = 6

func newWeb2Client() *web2Client {
	var only http.Protocols
	only.SetUnencryptedHTTP2(true)
	t := &http.Transport{
		Protocols:          &only,
		DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp4", webAddress)
		},
	}
	return &web2Client{http.Client{Transport: t, Timeout: answerWithin}}
}

// web2 makes one request over HTTP/2 and judges the answer.
func (w *worker) web2(s service, method, path string, body int, due time.Time) {
	// Nothing says that a request on a shared connection is sent again.
	e := exchange{service: s, what: "HTTP/2 " + method + " " + path, id: w.load.id(), web: true, due: due, began: time.Now()}
	c := w.load.web2[w.load.draws.below(len(w.load.web2))]
	answer, err := c.exchange(s.host, method, path, e.id, body)
	w.load.judgeWeb(e.end(), answer, err, path, body)
	if w.load.draws.oneIn(longestConn) {
		c.CloseIdleConnections()
	}
}

func (c *web2Client) exchange(host, method, path, id string, body int) (answer, error) {
	q, err := http.NewRequest(method, "http://"+host+path, io.MultiReader(bytes.NewReader(pattern[:body]))) // hides the length
	if err != nil {
		return answer{}, err
	}
	if body == 0 {
		q.Body = nil
	}
	q.Header.Set("X-Request-Id", id)
	response, err := c.Do(q)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	a := answer{status: response.StatusCode}
	a.body, err = io.ReadAll(response.Body)
	return a, err
}

// channel begins a request whose body and answer are lines, one for one, for as
// long as both sides like.
func (c *web2Client) channel(host, id string) (*channel, error) {
	ctx, cancel := context.WithCancel(context.Background())
	late := time.AfterFunc(answerWithin, cancel)
	body, out := io.Pipe()
	end := func() {
		late.Stop()
		out.Close()
		cancel()
	}
	q, err := http.NewRequestWithContext(ctx, "POST", "http://"+host+"/lines", body)
	if err != nil {
		end()
		return nil, err
	}
	q.Header.Set("X-Request-Id", id)
	response, err := (&http.Client{Transport: c.Transport}).Do(q) // without the limit of other requests
	if err == nil && response.StatusCode != 200 {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 200))
		response.Body.Close()
		err = errors.New(response.Status + " " + string(said))
	}
	if err != nil {
		end()
		return nil, err
	}
	return &channel{
		Writer: out, in: bufio.NewReader(response.Body),
		within: func(d time.Duration) { late.Reset(d) },
		close:  func() { end(); response.Body.Close() },
	}, nil
}
