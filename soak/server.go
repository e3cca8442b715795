package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"time"
)

// serverEnv makes this program play one server of a service.
const serverEnv = "SLUICE_SOAK_SERVER"

// serverArgs are what a server is told.
type serverArgs struct{ Name, Address, Leaf, Clients string }

// The ports of every server.
const (
	plainPort  = 8080 // HTTP/1.1 and HTTP/2 without TLS
	securePort = 8443 // HTTP/1.1 and HTTP/2 in TLS
	mutualPort = 8444 // the same, for clients with a certificate
	linesPort  = 9000 // a line for a line
	sealedPort = 9443 // the same in TLS
)

// serve plays a server until it is killed or standard input ends.
func serve(text string) error {
	runtime.GOMAXPROCS(1)
	var a serverArgs
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return err
	}
	me := fmt.Sprintf("%s %d", a.Name, os.Getpid())
	leaf := &freshLeaf{file: a.Leaf}
	secure := &tls.Config{GetCertificate: leaf.get, NextProtos: []string{"h2", "http/1.1"}}
	sealed := &tls.Config{GetCertificate: leaf.get}
	pool := x509.NewCertPool()
	roots, err := os.ReadFile(a.Clients)
	if err != nil {
		return err
	}
	pool.AppendCertsFromPEM(roots)
	mutual := secure.Clone()
	mutual.ClientAuth, mutual.ClientCAs = tls.RequireAndVerifyClientCert, pool
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	web := &http.Server{Handler: handler(me), ErrorLog: log.New(io.Discard, "", 0), Protocols: &protocols}
	for port, serveAll := range map[int]func(net.Listener){
		plainPort:  func(l net.Listener) { web.Serve(l) },
		securePort: func(l net.Listener) { web.Serve(tls.NewListener(l, secure)) },
		mutualPort: func(l net.Listener) { web.Serve(tls.NewListener(l, mutual)) },
		linesPort:  func(l net.Listener) { serveLines(l, me) },
		sealedPort: func(l net.Listener) { serveLines(tls.NewListener(l, sealed), me) },
	} {
		l, err := net.Listen("tcp4", net.JoinHostPort(a.Address, strconv.Itoa(port)))
		if err != nil {
			return err
		}
		go serveAll(l)
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	return nil
}

// handler answers each path with the server's name first.
func handler(me string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /small", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, me) })
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(40 * time.Millisecond) // work
		fmt.Fprintln(w, me)
	})
	mux.HandleFunc("GET /large", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(me)+1+len(pattern)))
		fmt.Fprintln(w, me)
		w.Write(pattern)
	})
	mux.HandleFunc("GET /chunks", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, me)
		for part := range chunkCount {
			w.Write(pattern[part*chunkSize:][:chunkSize])
			http.NewResponseController(w).Flush()
		}
	})
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		sum := crc32.NewIEEE()
		n, err := io.Copy(sum, r.Body)
		if err != nil {
			return
		}
		fmt.Fprintf(w, "%s\n%d %08x\n", me, n, sum.Sum32())
	})
	mux.HandleFunc("POST /lines", func(w http.ResponseWriter, r *http.Request) {
		out := http.NewResponseController(w)
		out.EnableFullDuplex()
		out.Flush()
		answerLines(bufio.NewReader(r.Body), flushed{w, out}, me)
	})
	mux.HandleFunc("GET /socket", func(w http.ResponseWriter, _ *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		answerLines(rw.Reader, c, me)
	})
	return mux
}

// flushed sends each line at once.
type flushed struct {
	io.Writer
	out *http.ResponseController
}

func (f flushed) Write(b []byte) (int, error) {
	n, err := f.Writer.Write(b)
	if err == nil {
		err = f.out.Flush()
	}
	return n, err
}

// pattern is what large bodies are made of.
var pattern = func() []byte {
	b := make([]byte, 200<<10)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}()

const chunkCount, chunkSize = 8, 2000

func serveLines(l net.Listener, me string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			answerLines(bufio.NewReader(c), c, me)
		}()
	}
}

func answerLines(in *bufio.Reader, out io.Writer, me string) {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if _, err := fmt.Fprintf(out, "%s %s", me, line); err != nil {
			return
		}
	}
}
