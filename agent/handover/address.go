package handover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/rest"
	"github.com/sluice-cni/sluice/proxy/aside"
)

// Address is a TCP address that one agent after the other listens at: each until it retires,
// and the next from then on.
type Address struct {
	address string
	log     *slog.Logger
	again   chan struct{} // has a token after Resume

	mu    sync.Mutex
	l     net.Listener
	ended bool
}

// At is a HOST:PORT for the metrics; "" and off are none.
func At(address string, log *slog.Logger) *Address {
	return &Address{address: address, log: log, again: make(chan struct{}, 1)}
}

// untilFree is how often it is tried to listen where another still does, or where an error
// may pass: an IPv6 address cannot be had before its duplicate address detection has ended
// (EADDRNOTAVAIL, RFC 4862 §5.4), nor any without a free descriptor (EMFILE).
const untilFree = 200 * time.Millisecond

// Serve answers at the address until ctx ends, whenever it is this agent's. Why it cannot is
// said once, and again when the reason is another.
func (o *Address) Serve(ctx context.Context, h http.Handler) {
	if o.address == "" || o.address == "off" {
		return
	}
	for said := ""; ctx.Err() == nil; {
		if o.over() {
			select {
			case <-ctx.Done():
			case <-o.again:
			}
			continue
		}
		l, err := o.listen()
		if err == nil {
			said = ""
			err = aside.Serve(ctx, l, h)
		}
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) { // by End
			continue
		}
		if why := fmt.Sprint(err); why != said {
			o.say(err)
			said = why
		}
		rest.For(ctx, untilFree)
	}
}

// listen fails with net.ErrClosed when the address is not this agent's any more.
func (o *Address) listen() (net.Listener, error) {
	l, err := net.Listen("tcp", o.address)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		l.Close()
		return nil, net.ErrClosed
	}
	o.log.Info("metrics", "address", l.Addr())
	o.l = l
	return l, nil
}

func (o *Address) say(err error) {
	if errors.Is(err, unix.EADDRINUSE) {
		o.log.Info("metrics wait: the address is in use, by the agent before this one if it is all right", "address", o.address)
		return
	}
	o.log.Warn("no metrics: the address cannot be listened at; it is tried again", "address", o.address, "error", err)
}

func (o *Address) over() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ended
}

// End gives the address up.
func (o *Address) End() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	if o.l != nil {
		o.l.Close()
		o.l = nil
	}
}

// Resume takes it again, after End.
func (o *Address) Resume() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = false
	select {
	case o.again <- struct{}{}:
	default:
	}
}
