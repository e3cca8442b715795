package relay_test

import (
	"net"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/proxy/nowait"
	"github.com/sluice-cni/sluice/proxy/relay"
)

// patience bounds what must happen sooner or later on a busy machine.
const patience = await.Patience

// rig is an engine whose end is checked: whatever a test did, nothing is left.
type rig struct {
	t      *testing.T
	engine *relay.Engine
}

func newRig(t *testing.T, cfg relay.Config) *rig {
	t.Helper()
	e := relay.New(cfg)
	t.Cleanup(func() {
		e.Close()
		if s := e.Stats(); s.Pairs != 0 || s.Buffered != 0 || s.Pipes != 0 {
			t.Errorf("after Close the engine holds %+v", s)
		}
	})
	return &rig{t, e}
}

// carried is a pair under way, with the far ends of both its sockets.
type carried struct {
	*relay.Pair
	a, b *net.TCPConn
	done chan relay.Result
}

func (r *rig) carry(aheadA, aheadB string) *carried {
	r.t.Helper()
	a, nearA := connect(r.t)
	b, nearB := connect(r.t)
	c := &carried{a: a, b: b, done: make(chan relay.Result, 2)}
	var err error
	c.Pair, err = r.engine.Carry(relay.Side{FD: take(r.t, nearA), Ahead: []byte(aheadA)},
		relay.Side{FD: take(r.t, nearB), Ahead: []byte(aheadB)}, func(res relay.Result) { c.done <- res })
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// end waits for the pair's end and makes sure that it is told once.
func (c *carried) end(t *testing.T) relay.Result {
	t.Helper()
	select {
	case res := <-c.done:
		select {
		case again := <-c.done:
			t.Fatalf("done was called twice: %+v, then %+v", res, again)
		default:
		}
		return res
	case <-time.After(patience):
		t.Fatal("the pair did not end")
		panic("unreachable")
	}
}

func connect(t *testing.T) (far, near *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close(); in.Close() })
	out.SetDeadline(time.Now().Add(2 * patience))
	return out.(*net.TCPConn), in.(*net.TCPConn)
}

func take(t *testing.T, c *net.TCPConn) int {
	t.Helper()
	fd, err := nowait.Dup(c)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	return fd
}

// modes are the ways that bytes can take.
var modes = map[string]relay.Config{
	"spliced": {},
	"copied":  {MaxPipes: -1},
	"peeked":  {MaxPipes: -1, MaxBuffered: -1},
}
