package relay_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/proxy/relay"
)

func isReset(err error) bool { return errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) }

// noise is n bytes that no mistake reproduces.
func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, seed))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// sendAll writes b in pieces of at most size and ends the direction.
func sendAll(c *net.TCPConn, b []byte, size int) error {
	for len(b) > 0 {
		n := min(size, len(b))
		if _, err := c.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return c.CloseWrite()
}

func TestBytesArriveWholeAndInOrderBothWays(t *testing.T) {
	t.Parallel()
	for mode, cfg := range modes {
		for _, n := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 6 << 20} {
			t.Run(fmt.Sprintf("%s/%d", mode, n), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, cfg)
				c := r.carry("ahead of a,", "ahead of b,")
				there, back := noise(n, 1), noise(n, 2)
				var both sync.WaitGroup
				both.Go(func() { sendAll(c.a, there, 1<<20) })
				both.Go(func() { sendAll(c.b, back, 10_000) })
				both.Go(func() {
					if got, err := io.ReadAll(c.b); err != nil || !bytes.Equal(got, append([]byte("ahead of a,"), there...)) {
						t.Errorf("b got %d bytes, error %v", len(got), err)
					}
				})
				if got, err := io.ReadAll(c.a); err != nil || !bytes.Equal(got, append([]byte("ahead of b,"), back...)) {
					t.Errorf("a got %d bytes, error %v", len(got), err)
				}
				both.Wait()
				if res := c.end(t); res.End != relay.BothEnded || res.Moved != [2]int64{int64(n) + 11, int64(n) + 11} {
					t.Errorf("ended as %+v", res)
				}
			})
		}
	}
}

func TestAHalfCloseLeavesTheOtherDirectionOpen(t *testing.T) {
	t.Parallel()
	r := newRig(t, relay.Config{})
	c := r.carry("", "")
	c.a.CloseWrite()
	if _, err := c.b.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("b reads %v, want the end", err)
	}
	for range 3 {
		io.WriteString(c.b, "still here")
		got := make([]byte, 10)
		if _, err := io.ReadFull(c.a, got); err != nil || string(got) != "still here" {
			t.Fatalf("a got %q %v", got, err)
		}
	}
	c.b.Close()
	if _, err := c.a.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a reads %v, want the end", err)
	}
	c.end(t)
}

// What was sent before a reset arrives, however slow the receiver is; then the
// reset does.
func TestAResetArrivesBehindTheBytesBeforeIt(t *testing.T) {
	t.Parallel()
	for mode, cfg := range modes {
		for _, n := range []int{0, 5, 100 << 10} {
			for side, want := range []relay.End{relay.AFailed, relay.BFailed} {
				t.Run(fmt.Sprintf("%s/%d/%d", mode, n, side), func(t *testing.T) {
					t.Parallel()
					r := newRig(t, cfg)
					c := r.carry("", "")
					from, to := c.a, c.b
					if side == 1 {
						from, to = c.b, c.a
					}
					sent := noise(n, 3)
					from.Write(sent)
					got := make([]byte, n)
					if _, err := io.ReadFull(to, got[:n/2]); err != nil {
						t.Fatal(err)
					}
					from.SetLinger(0)
					from.Close()
					if _, err := io.ReadFull(to, got[n/2:]); n < 100<<10 && (err != nil || !bytes.Equal(got, sent)) {
						t.Errorf("bytes before the reset: %v", err) // of many, some were still in the sender's kernel
					}
					if _, err := io.Copy(io.Discard, to); !isReset(err) {
						t.Errorf("then %v, want a reset", err)
					}
					if res := c.end(t); res.End != want {
						t.Errorf("ended as %+v", res)
					}
				})
			}
		}
	}
}

// A server may answer, refuse the rest of what is sent to it, and reset.
func TestAnAnswerBeforeAResetIsDelivered(t *testing.T) {
	t.Parallel()
	r := newRig(t, relay.Config{})
	c := r.carry("", "")
	go func() {
		for block := noise(64<<10, 4); ; {
			if _, err := c.a.Write(block); err != nil {
				return
			}
		}
	}()
	io.ReadFull(c.b, make([]byte, 1<<20))
	io.WriteString(c.b, "too large")
	c.b.Close() // with bytes unread: a reset follows
	got := make([]byte, 9)
	if _, err := io.ReadFull(c.a, got); err != nil || string(got) != "too large" {
		t.Errorf("got %q, %v", got, err)
	}
	if res := c.end(t); res.End != relay.BFailed {
		t.Errorf("ended as %+v", res)
	}
}

func TestAResetAfterAHalfCloseIsNoticed(t *testing.T) {
	t.Parallel()
	r := newRig(t, relay.Config{})
	c := r.carry("", "")
	c.a.CloseWrite()
	c.b.Read(make([]byte, 1))
	c.a.SetLinger(0)
	c.a.Close()
	if _, err := c.b.Read(make([]byte, 1)); err == nil {
		t.Error("b read something")
	}
	io.WriteString(c.b, "x")
	if res := c.end(t); res.End != relay.AFailed {
		t.Errorf("ended as %+v", res)
	}
}

func TestASlowReceiverHoldsTheSenderBack(t *testing.T) {
	t.Parallel()
	for mode, cfg := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, cfg)
			c := r.carry("", "")
			c.b.SetReadBuffer(64 << 10)
			const total = 64 << 20
			sent := make(chan error, 1)
			go func() { sent <- sendAll(c.a, make([]byte, total), 1<<20) }()
			io.ReadFull(c.b, make([]byte, 1))
			quiet := r.engine.Stats().Turns // no turn is made while nothing can move
			await.True(t, "the flow comes to rest", func() bool {
				unix.Poll(nil, 100)
				before := quiet
				quiet = r.engine.Stats().Turns
				return before == quiet
			})
			select {
			case err := <-sent:
				t.Fatalf("64 MiB went nowhere: %v", err)
			default:
			}
			if s := r.engine.Stats(); s.Buffered > 64<<10 || s.Pipes > 4 {
				t.Errorf("the engine holds %+v", s)
			}
			if n, err := io.Copy(io.Discard, c.b); n != total-1 || err != nil {
				t.Errorf("%d bytes arrived, %v", n, err)
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
			c.b.Close()
			c.end(t)
		})
	}
}

// Urgent data goes no further; what surrounds it does, and its mark is no end.
func TestUrgentDataIsLeftOut(t *testing.T) {
	t.Parallel()
	for mode, cfg := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, cfg)
			c := r.carry("", "")
			block := noise(300<<10, 5)
			go func() {
				c.a.Write(block)
				urgent(c.a) // one only: an earlier mark is void once there is a later one
				c.a.Write(block)
				c.a.CloseWrite()
			}()
			got, err := io.ReadAll(c.b)
			if err != nil || !bytes.Equal(got, bytes.Repeat(block, 2)) {
				t.Errorf("%d bytes arrived, want %d; %v", len(got), 2*len(block), err)
			}
			c.b.Close()
			c.end(t)
		})
	}
}

func urgent(c *net.TCPConn) {
	raw, _ := c.SyscallConn()
	raw.Write(func(fd uintptr) bool { return unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil) != unix.EAGAIN })
}

func TestACutResetsBothSides(t *testing.T) {
	t.Parallel()
	r := newRig(t, relay.Config{})
	check(t, r, "cut", func(c *carried) { c.Cut() }, relay.WasCut)
	check(t, r, "cut twice", func(c *carried) { c.Cut(); c.Cut() }, relay.WasCut)
	check(t, r, "close", func(*carried) { r.engine.Close() }, relay.WasCut)
	if _, err := r.engine.Carry(relay.Side{FD: -1}, relay.Side{FD: -1}, nil); err != relay.ErrClosed {
		t.Errorf("after Close: %v", err)
	}
}

func check(t *testing.T, r *rig, name string, cut func(*carried), want relay.End) {
	t.Helper()
	c := r.carry("x", "")
	io.ReadFull(c.b, make([]byte, 1))
	cut(c)
	for _, far := range []*net.TCPConn{c.a, c.b} {
		if _, err := far.Read(make([]byte, 1)); !isReset(err) {
			t.Errorf("%s: %v, want a reset", name, err)
		}
	}
	if res := c.end(t); res.End != want || res.Moved[0] != 1 {
		t.Errorf("%s: ended as %+v", name, res)
	}
}

func TestAnIdlePairEndsAndABusyOneDoesNot(t *testing.T) {
	t.Parallel()
	const limit = time.Second
	r := newRig(t, relay.Config{IdleTimeout: limit})
	busy := r.carry("", "")
	for start := time.Now(); time.Since(start) < 2*limit; unix.Poll(nil, 20) {
		io.WriteString(busy.a, "x")
		if _, err := io.ReadFull(busy.b, make([]byte, 1)); err != nil {
			t.Fatalf("the busy pair ended: %v", err)
		}
	}
	start := time.Now()
	check(t, r, "idle", func(*carried) {}, relay.IdleTimeout)
	if took := time.Since(start); took < limit {
		t.Errorf("ended after %v", took)
	}
}

func TestASocketThatCannotBeWatchedStaysTheCallers(t *testing.T) {
	t.Parallel()
	r := newRig(t, relay.Config{})
	far, near := connect(t)
	fd := take(t, near)
	if _, err := r.engine.Carry(relay.Side{FD: fd}, relay.Side{FD: 1 << 19}, nil); err == nil {
		t.Fatal("no error")
	}
	if _, err := unix.Write(fd, []byte("mine")); err != nil {
		t.Error(err)
	}
	unix.Close(fd)
	if got, err := io.ReadAll(far); string(got) != "mine" || err != nil {
		t.Errorf("%q %v", got, err)
	}
}

func TestAPairEndsWithinItsOwnBounds(t *testing.T) {
	t.Parallel()
	const limit = time.Second
	r := newRig(t, relay.Config{IdleTimeout: limit})
	never := r.carry("", "")
	never.Bound(relay.Bounds{Idle: -1})
	busy := r.carry("", "")
	busy.Bound(relay.Bounds{Idle: limit / 2})
	for start := time.Now(); time.Since(start) < 2*limit; unix.Poll(nil, 20) {
		io.WriteString(busy.a, "x")
		if _, err := io.ReadFull(busy.b, make([]byte, 1)); err != nil {
			t.Fatalf("the busy pair ended: %v", err)
		}
	}
	for name, c := range map[string]struct {
		relay.Bounds
		want  relay.End
		after time.Duration
	}{
		"idle":            {relay.Bounds{Idle: limit / 4}, relay.IdleTimeout, limit / 4},
		"old":             {relay.Bounds{Age: limit / 4}, relay.TooOld, limit / 4},
		"old before idle": {relay.Bounds{Idle: time.Minute, Age: limit / 4}, relay.TooOld, limit / 4},
		"idle before old": {relay.Bounds{Idle: limit / 4, Age: time.Minute}, relay.IdleTimeout, limit / 4},
		"longer":          {relay.Bounds{Idle: 2 * limit}, relay.IdleTimeout, 2 * limit},
	} {
		start := time.Now()
		check(t, r, name, func(p *carried) { p.Bound(c.Bounds) }, c.want)
		if took := time.Since(start); took < c.after {
			t.Errorf("%s: ended after %v", name, took)
		}
	}
	io.WriteString(never.a, "x") // though it was idle for several times the engine's limit
	if _, err := io.ReadFull(never.b, make([]byte, 1)); err != nil {
		t.Errorf("the one without a limit ended: %v", err)
	}
}
