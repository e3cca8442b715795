package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

// serverPorts are where a server listens, and the file with its authority.
type serverPorts struct {
	HTTP, TCP  int // small answers and streams, plain
	HTTPS, TLS int // the same inside TLS
	H2         int // HTTP/2 inside TLS
	CA         string
}

const (
	host   = "a.test"
	answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Length: 13\r\n\r\nhello, world\n"
	// A line that asks for a line, and one that asks for bytes without end.
	ping, pong, bulk = "ping\n", "pong\n", "bulk\n"
)

// serve plays the server until standard input ends.
func serve() error {
	certificate, caFile, err := newAuthority()
	if err != nil {
		return err
	}
	defer os.Remove(caFile)
	ports := serverPorts{CA: caFile}
	plain := map[*int]string{&ports.HTTP: "\r\n\r\n", &ports.TCP: ""}
	for port, end := range plain {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		*port = l.Addr().(*net.TCPAddr).Port
		go accept(l, func(c net.Conn) {
			if end == "" {
				lines(c)
			} else {
				answers(c)
			}
		})
	}
	for port, serveOne := range map[*int]func(net.Conn){&ports.HTTPS: answers, &ports.TLS: lines} {
		config := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}}
		l, err := tls.Listen("tcp", "127.0.0.1:0", config)
		if err != nil {
			return err
		}
		*port = l.Addr().(*net.TCPAddr).Port
		go accept(l, serveOne)
	}
	if ports.H2, err = serveH2(certificate); err != nil {
		return err
	}
	if err := say(ports); err != nil {
		return err
	}
	io.Copy(io.Discard, os.Stdin)
	return nil
}

func accept(l net.Listener, serveOne func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			serveOne(c)
		}()
	}
}

// answers gives one answer per request head.
func answers(c net.Conn) {
	in, out, end := make([]byte, 4096), []byte(answer), []byte("\r\n\r\n")
	n := 0
	for {
		m, err := c.Read(in[n:])
		if err != nil {
			return
		}
		if n += m; bytes.HasSuffix(in[:n], end) {
			if _, err := c.Write(out); err != nil {
				return
			}
			n = 0
		}
	}
}

// lines answers ping with pong and bulk with bytes until the other side is gone.
func lines(c net.Conn) {
	r := bufio.NewReaderSize(c, 64)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if line != bulk {
			io.WriteString(c, pong)
			continue
		}
		block := make([]byte, 256<<10)
		for {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	}
}

func serveH2(certificate tls.Certificate) (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	body := []byte("hello, world\n")
	s := &http.Server{
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{"text/plain"}
			w.Write(body)
		}),
		ErrorLog: log.New(io.Discard, "", 0),
	}
	go s.ServeTLS(l, "", "")
	return l.Addr().(*net.TCPAddr).Port, nil
}
