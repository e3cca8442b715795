package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// lines opens a connection by address, has a line answered, and closes it.
func (w *worker) lines(due time.Time) { w.load.opaque(lines, w.load.linesAddress(), nil, due) }

// sealed does the same in TLS, which the proxy does not open.
func (w *worker) sealed(due time.Time) {
	w.load.opaque(sealed, w.load.sealedAddress(), w.load.clientTLS(sealed.host), due)
}

func (l *load) linesAddress() string  { return ownAddress(linesRange, l.number.Add(1), 5000) }
func (l *load) sealedAddress() string { return ownAddress(sealedRange, l.number.Add(1), 443) }

func (l *load) clientTLS(name string) *tls.Config {
	c := l.roots.Clone()
	c.ServerName = name
	return c
}

func (l *load) opaque(s service, address string, config *tls.Config, due time.Time) {
	e := exchange{service: s, what: "connection", id: address, due: due, began: time.Now()}
	c, err := net.DialTimeout("tcp4", address, answerWithin)
	if errors.Is(err, unix.ECONNRESET) { // the proxy had it, and ended it
		l.judge.suspect(e.end(), err.Error())
		return
	}
	if err != nil {
		l.judge.failed(e.end(), "cannot connect: "+err.Error())
		return
	}
	defer c.Close()
	said := l.id()
	line, err := askLine(c, config, said)
	switch e = e.end(); {
	case err != nil:
		l.judge.suspect(e, err.Error())
	case !namesServer(line, s) || !endsWith(line, said):
		l.judge.failed(e, fmt.Sprintf("not an answer of %s to %s: %q", s.name, said, line))
	default:
		l.judge.right(e)
	}
}

// askLine sends a line, reads its answer, ends its side and waits for the other's end.
func askLine(c net.Conn, config *tls.Config, text string) (string, error) {
	c.SetDeadline(time.Now().Add(answerWithin))
	if config != nil {
		c = tls.Client(c, config)
	}
	if _, err := io.WriteString(c, text+"\n"); err != nil {
		return "", err
	}
	in := bufio.NewReader(c)
	line, err := in.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("after %q: %w", line, err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return "", err
	}
	if b, err := in.ReadByte(); err != io.EOF {
		return "", fmt.Errorf("instead of the end: %q, %v", b, err)
	}
	return line[:len(line)-1], nil
}

func endsWith(line, word string) bool {
	return len(line) > len(word) && line[len(line)-len(word)-1:] == " "+word
}

// strangeLines goes where nobody is registered: the connection must be ended
// without a byte.
func (w *worker) strangeLines(due time.Time) { w.load.strange(strangerAddress, nil, due) }

// strangeSealed does so under a name that is not registered.
func (w *worker) strangeSealed(due time.Time) {
	w.load.strange(sealedAddress, w.load.clientTLS(stranger.host), due)
}

func (l *load) strange(address string, config *tls.Config, due time.Time) {
	e := exchange{service: stranger, what: "connection", due: due, began: time.Now()}
	c, err := net.DialTimeout("tcp4", address, answerWithin)
	if errors.Is(err, unix.ECONNRESET) { // before this side knew that it was connected
		l.judge.refused(e.end())
		return
	}
	if err != nil {
		l.judge.failed(e.end(), "cannot connect: "+err.Error())
		return
	}
	defer c.Close()
	line, err := askLine(c, config, l.id())
	var late net.Error
	switch e = e.end(); {
	case err == nil:
		l.judge.failed(e, fmt.Sprintf("served although it is not registered: %q", line))
	case errors.As(err, &late) && late.Timeout():
		l.judge.failed(e, "neither served nor refused: "+err.Error())
	default:
		l.judge.refused(e)
	}
}
