package e2e

import (
	"bytes"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-cni/sluice/internal/lab"
)

// hearers are listeners that nothing may reach.
type hearers struct {
	t  *testing.T
	mu sync.Mutex
	by []string
}

func newHearers(t *testing.T) *hearers { return &hearers{t: t} }

// listen waits at an address where nothing else does.
func (h *hearers) listen(ns *lab.Namespace, address string) {
	h.t.Helper()
	l, err := ns.Listen("tcp", address)
	if err != nil && strings.Contains(err.Error(), "in use") {
		return // a server of the internet, which counts by itself
	}
	must(h.t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
			h.mu.Lock()
			h.by = append(h.by, address)
			h.mu.Unlock()
		}
	}()
	h.t.Cleanup(func() { l.Close(); <-done })
}

func (h *hearers) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.by
}

// placeholder is a host name of the same length as a name that may be none, for a
// TLS client that sends host names only.
func placeholder(name string) string { return strings.Repeat("q", len(name)) }

// renamed is a connection whose first bytes have the placeholder replaced.
type renamed struct {
	net.Conn
	name string
	done bool
}

func (r *renamed) Write(b []byte) (int, error) {
	if r.done || r.name == "" {
		return r.Conn.Write(b)
	}
	r.done = true
	return r.Conn.Write(bytes.Replace(b, []byte(placeholder(r.name)), []byte(r.name), 1))
}
