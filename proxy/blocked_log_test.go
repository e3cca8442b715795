package proxy_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// unreadLog is a log that is read until it is not, and again at the test's end.
type unreadLog struct {
	slog.Handler
	unread  atomic.Bool
	again   chan struct{}
	blocked chan struct{} // somebody waits for the reader
}

func (l *unreadLog) Handle(context.Context, slog.Record) error {
	if l.unread.Load() {
		select {
		case l.blocked <- struct{}{}:
		default:
		}
		<-l.again
	}
	return nil
}

// A reader of the log that does not read holds up nobody but those who have a line
// for it and a goroutine to wait on: no event loop, whether it has something to say or
// only to count.
func TestALogThatNobodyReadsStopsNoEventLoop(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		limits proxy.Limits
		say    func(*testing.T, *rig)
	}{
		"over the limit of connections": {proxy.Limits{Connections: 8}, func(t *testing.T, r *rig) {
			for range 64 + 8 { // more than are read before they are refused
				if c, err := net.Dial("tcp", r.addr); err == nil { // else it was reset even sooner
					t.Cleanup(func() { c.Close() })
				}
			}
		}},
		"a connection is refused": {proxy.Limits{}, func(_ *testing.T, r *rig) { io.WriteString(r.dial(), "\x00\x01\x02") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &unreadLog{Handler: slog.NewTextHandler(io.Discard, nil), again: make(chan struct{}), blocked: make(chan struct{}, 1)}
			// A request whose destination is not an address of its name is told of, or counted.
			yaml := fmt.Sprintf(`---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec: {hosts: [a.test], ports: [{number: 80, targetPort: %d, name: p, protocol: HTTP}], resolution: NONE}
`, netip.MustParseAddrPort(serve(t, echo)).Port())
			r := newRig(t, mesh.RegistryOnly, yaml, limited(tc.limits), func(cfg *proxy.Config) { cfg.Log = slog.New(log) })
			t.Cleanup(func() { close(log.again) })
			r.names.Store("a.test", []string{"127.0.0.1"})
			var held []net.Conn // on every loop
			for range 8 {
				c := r.dial()
				for range 2 { // the second in a lane
					if _, got := outcome(c); got != "200" {
						t.Fatalf("while the log is read: %s", got)
					}
				}
				held = append(held, c)
			}
			log.unread.Store(true)
			tc.say(t, r)
			select {
			case <-log.blocked:
			case <-time.After(await.Patience):
				t.Fatal("nothing was logged")
			}
			for _, c := range held {
				if _, got := outcome(c); got != "200" {
					t.Fatalf("while nobody reads the log: %s", got)
				}
			}
		})
	}
}
