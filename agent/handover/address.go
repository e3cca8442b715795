package handover

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sys/unix"

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

// untilFree is how often it is tried to listen where another still does.
const untilFree = 200 * time.Millisecond

// Serve answers at the address until ctx ends, whenever it is this agent's.
func (o *Address) Serve(ctx context.Context, h http.Handler) error {
	if o.address == "" || o.address == "off" {
		return nil
	}
	for {
		l, err := o.listen(ctx)
		if err != nil {
			return err
		}
		if l != nil {
			if err := aside.Serve(ctx, l, h); err != nil && !errors.Is(err, net.ErrClosed) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-o.again:
		}
	}
}

// listen waits until the address is free; nil when it is not this agent's any more.
func (o *Address) listen(ctx context.Context) (net.Listener, error) {
	for said := false; ; {
		l, err := net.Listen("tcp", o.address)
		switch {
		case err == nil:
			return o.keep(l), nil
		case !errors.Is(err, unix.EADDRINUSE):
			return nil, err
		case !said:
			o.log.Info("metrics wait: the address is in use, by the agent before this one if it is all right", "address", o.address)
			said = true
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(untilFree):
		}
		if o.over() {
			return nil, nil
		}
	}
}

func (o *Address) over() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ended
}

func (o *Address) keep(l net.Listener) net.Listener {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		l.Close()
		return nil
	}
	o.log.Info("metrics", "address", l.Addr())
	o.l = l
	return l
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
