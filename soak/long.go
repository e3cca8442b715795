package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/internal/rest"
)

// long is a connection that lasts: a WebSocket, an opaque connection or a stream of
// HTTP/2, with a message each way ten times a second. Nothing but its server's
// death, or its client, ends it.
type long struct {
	load    *load
	fleet   *fleet
	service service
	web     bool
	open    func(*long) (c *channel, id string, err error)
}

// channel is such a connection once it is ready for messages.
type channel struct {
	io.Writer
	in     *bufio.Reader
	within func(time.Duration) // the next message must come, from now on
	close  func()
}

const (
	longEach  = 3 // of each kind
	longPause = 100 * time.Millisecond
	longLife  = 90 * time.Second // at most
)

// longs are all of them.
func longs(l *load, f *fleet) (all []*long) {
	for range longEach {
		all = append(all,
			&long{l, f, static, true, (*long).socket},
			&long{l, f, origin, true, (*long).socket},
			&long{l, f, second, true, (*long).stream},
			&long{l, f, lines, false, (*long).plain},
			&long{l, f, sealed, false, (*long).tls})
	}
	return all
}

// run opens one connection after another until ctx ends.
func (g *long) run(ctx context.Context) {
	for ctx.Err() == nil {
		g.once(ctx)
	}
}

func (g *long) once(ctx context.Context) {
	e := exchange{service: g.service, what: "long stream", began: time.Now(), web: g.web}
	e.due = e.began
	c, id, err := g.open(g)
	e.id = id
	if err != nil {
		g.load.judge.suspect(e.end(), "to begin: "+err.Error())
		rest.For(ctx, longPause)
		return
	}
	defer c.close()
	server, good, err := g.talk(ctx, c)
	switch {
	case err == nil:
		g.load.judge.right(e.end())
	case server == nil:
		g.load.judge.suspect(e.end(), "first message: "+err.Error())
	case server.died(good, time.Now()):
		g.load.judge.lost(e.end())
	default:
		g.load.judge.failed(e.end(), fmt.Sprintf("cut while its server %s lived: %v", server.name, err))
	}
}

func dialChannel(address string) (net.Conn, error) {
	c, err := net.DialTimeout("tcp4", address, answerWithin)
	if err == nil {
		err = c.SetDeadline(time.Now().Add(answerWithin))
	}
	return c, err
}

func newChannel(c net.Conn, in *bufio.Reader) *channel {
	return &channel{Writer: c, in: in, within: func(d time.Duration) { c.SetDeadline(time.Now().Add(d)) }, close: func() { c.Close() }}
}

// plain is a connection by address.
func (g *long) plain() (*channel, string, error) {
	id := g.load.linesAddress()
	c, err := dialChannel(id)
	if err != nil {
		return nil, id, err
	}
	return newChannel(c, bufio.NewReader(c)), id, nil
}

// tls is one by server name; its handshake comes with the first message.
func (g *long) tls() (*channel, string, error) {
	id := g.load.sealedAddress()
	raw, err := dialChannel(id)
	if err != nil {
		return nil, id, err
	}
	c := tls.Client(raw, g.load.clientTLS(g.service.host))
	return newChannel(c, bufio.NewReader(c)), id, nil
}

// socket is a WebSocket, of which only the opening is one.
func (g *long) socket() (*channel, string, error) {
	id := g.load.id()
	c, err := dialChannel(webAddress)
	if err != nil {
		return nil, id, err
	}
	in := bufio.NewReader(c)
	fmt.Fprintf(c, "GET /socket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Request-Id: %s\r\n\r\n", g.service.host, id)
	if err := switched(in); err != nil {
		c.Close()
		return nil, id, err
	}
	return newChannel(c, in), id, nil
}

// switched reads the head of a 101.
func switched(in *bufio.Reader) error {
	for first := true; ; first = false {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		if first && !strings.HasPrefix(line, "HTTP/1.1 101 ") {
			rest, _ := io.ReadAll(io.LimitReader(in, int64(in.Buffered())))
			return errors.New(line + string(rest))
		}
		if line == "\r\n" {
			return nil
		}
	}
}

// stream is one of HTTP/2, among others on its connection.
func (g *long) stream() (*channel, string, error) {
	id := g.load.id()
	c, err := g.load.web2[g.load.draws.below(len(g.load.web2))].channel(g.service.host, id)
	return c, id, err
}

// talk exchanges messages until the connection has lived long enough. It says who
// served, and when the last message was answered.
func (g *long) talk(ctx context.Context, c *channel) (server *replica, good time.Time, err error) {
	end := time.Now().Add(g.load.draws.upTo(longLife))
	good = time.Now()
	for n := 0; time.Now().Before(end) && ctx.Err() == nil; n++ {
		c.within(answerWithin)
		sent := time.Now()
		text := fmt.Sprintf("message-%d", n)
		if _, err := io.WriteString(c, text+"\n"); err != nil {
			return server, good, err
		}
		line, err := c.in.ReadString('\n')
		if err != nil {
			return server, good, err
		}
		if !namesServer(line, g.service) || !strings.HasSuffix(line, " "+text+"\n") {
			return server, good, fmt.Errorf("message %d: answered with %q", n, line)
		}
		words := strings.Fields(line)
		if now := g.fleet.named(words[0] + " " + words[1]); server != nil && now != server {
			return server, good, fmt.Errorf("message %d: another server answers: %q", n, line)
		} else {
			server, good = now, sent
		}
		g.load.judge.message()
		rest.For(ctx, longPause)
	}
	return server, good, nil
}

func (f *fleet) named(name string) *replica {
	for _, group := range f.groups {
		for _, r := range group {
			if r.name == name {
				return r
			}
		}
	}
	return nil
}
