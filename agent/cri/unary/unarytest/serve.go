// Package unarytest is a server of unary gRPC calls for tests, and for answers that no
// server should give.
package unarytest

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// Serve serves HTTP/2 without TLS at a unix socket, whose path it returns, until the
// test ends.
func Serve(t testing.TB, h http.Handler) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	t.Cleanup(ServeAt(t, socket, h))
	return socket
}

// ServeAt is Serve at a path, until stop is called.
func ServeAt(t testing.TB, socket string, h http.Handler) (stop func()) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, Protocols: new(http.Protocols)}
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	return func() { s.Close(); <-done }
}

// Reply answers with a body and, in the trailers, a status.
func Reply(body, status, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
		io.WriteString(w, body)
		w.Header().Set("Grpc-Status", status)
		w.Header().Set("Grpc-Message", message)
	}
}

// Frame is a message behind its prefix, which says that it is compressed or not, and
// how long it is.
func Frame(compressed byte, length int, message string) string {
	return string(binary.BigEndian.AppendUint32([]byte{compressed}, uint32(length))) + message
}

// Methods answers calls by the last element of their path. What is not there is
// answered with error 12, not implemented.
type Methods map[string]func(request []byte) (answer []byte, code string)

func (m Methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f := m[r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]]
	if f == nil || len(body) < 5 {
		Reply("", "12", "not implemented")(w, r)
		return
	}
	answer, code := f(body[5:])
	Reply(Frame(0, len(answer), string(answer)), code, "")(w, r)
}
