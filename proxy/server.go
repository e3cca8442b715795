// Package proxy carries redirected connections to where a mesh.Snapshot sends them.
package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// Config is what a Server needs. Only Listeners is required.
type Config struct {
	// Listeners receive redirected connections; Serve closes them.
	Listeners []*net.TCPListener
	// Workload is who the connections come from; default namespace "default".
	Workload mesh.Workload
	// Governed says whether policy applies to a destination; others are relayed
	// untouched. nil governs every destination.
	Governed func(netip.AddrPort) bool
	// Dial opens upstream connections; default a net.Dialer in this process's namespace.
	Dial func(ctx context.Context, dst netip.AddrPort) (*net.TCPConn, error)
	// ResolvConf is the resolver configuration file; default /etc/resolv.conf.
	ResolvConf string
	// AccessLog receives a JSON line per request or connection; nil: none.
	AccessLog io.Writer
	// Log receives what an operator should read; nil: slog.Default().
	Log *slog.Logger
	// DrainTimeout bounds how long Serve waits for requests under way after its
	// context ends; default 45 s.
	DrainTimeout time.Duration
}

// Server serves one workload's outbound connections.
type Server struct{ cfg Config }

// New checks cfg. The server refuses everything until the first Update.
func New(cfg Config) (*Server, error) { return &Server{cfg: cfg}, nil }

// Update puts a snapshot in force: requests that start from now on follow it,
// those under way finish on the one they began with.
func (s *Server) Update(snapshot *mesh.Snapshot) {}

// Serve accepts connections until ctx ends, then stops accepting, lets requests
// under way finish within DrainTimeout, and returns nil.
func (s *Server) Serve(ctx context.Context) error { return errors.New("not built yet") }
