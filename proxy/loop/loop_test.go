package loop_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/proxy/loop"
	"github.com/sluice-cni/sluice/proxy/nowait"
)

func running(t *testing.T) *loop.Loop {
	t.Helper()
	l, err := loop.New()
	if err != nil {
		t.Fatal(err)
	}
	go l.Run()
	t.Cleanup(l.Close)
	return l
}

func socketPair(t *testing.T) (ours, theirs int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[1]) })
	return fds[0], fds[1]
}

// handler tells a test what it was told.
type handler struct {
	ready  func(loop.Readiness)
	faults chan any
	expire func()
}

func (h *handler) Ready(r loop.Readiness) {
	if h.ready != nil {
		h.ready(r)
	}
}
func (h *handler) Fault(v any) { h.faults <- v }
func (h *handler) Expired()    { h.expire() }

func wait[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(await.Patience):
		t.Fatal("nothing came")
	}
	panic("unreachable")
}

func TestBytesAndTheirEndAreTold(t *testing.T) {
	t.Parallel()
	l := running(t)
	ours, theirs := socketPair(t)
	got, ended := make(chan string, 10), make(chan error, 1)
	h := &handler{}
	h.ready = func(r loop.Readiness) {
		if r&(loop.Readable|loop.Ended) == 0 {
			return
		}
		for {
			b := make([]byte, 16)
			n, err := loop.Read(ours, b)
			if err == unix.EAGAIN {
				return
			}
			if err != nil {
				l.CloseSocket(ours)
				ended <- err
				return
			}
			got <- string(b[:n])
		}
	}
	l.Post(func() { l.Add(ours, h) })
	unix.Write(theirs, []byte("one"))
	if s := wait(t, got); s != "one" {
		t.Errorf("%q", s)
	}
	unix.Write(theirs, []byte("two"))
	unix.Shutdown(theirs, unix.SHUT_WR)
	if s := wait(t, got); s != "two" {
		t.Errorf("%q", s)
	}
	if err := wait(t, ended); err != io.EOF {
		t.Error(err)
	}
}

func TestTimersExpireWhenTheyWereSetToLast(t *testing.T) {
	t.Parallel()
	l := running(t)
	const n = 200
	expired := make(chan int, n)
	l.Post(func() {
		base := l.Now().Add(20 * time.Millisecond)
		timers := make([]loop.Timer, n)
		for _, i := range rand.Perm(n) {
			at := base.Add(time.Duration(i) * 100 * time.Microsecond)
			h := &handler{expire: func() {
				if l.Now().Before(at) {
					t.Errorf("timer %d is %v early", i, at.Sub(l.Now()))
				}
				expired <- i
			}}
			l.Set(&timers[i], h, at.Add(time.Duration(rand.IntN(3)-1)*5*time.Millisecond)) // first elsewhere
			l.Set(&timers[i], h, at)
			if i%10 == 0 {
				l.Stop(&timers[i])
			}
		}
	})
	seen := map[int]bool{}
	for range n - n/10 {
		i := wait(t, expired)
		if seen[i] || i%10 == 0 {
			t.Errorf("timer %d: expired before %v, stopped %v", i, seen[i], i%10 == 0)
		}
		seen[i] = true
	}
}

func TestAFaultInOneHandlerIsItsOwn(t *testing.T) {
	t.Parallel()
	l := running(t)
	bad, badPeer := socketPair(t)
	good, goodPeer := socketPair(t)
	faults, heard := make(chan any, 4), make(chan struct{}, 4)
	l.Post(func() {
		l.Add(bad, &handler{faults: faults, ready: func(r loop.Readiness) {
			if r&loop.Readable != 0 {
				l.CloseSocket(bad)
				panic("on purpose")
			}
		}})
		l.Add(good, &handler{ready: func(r loop.Readiness) {
			if r&loop.Readable != 0 {
				heard <- struct{}{}
			}
		}})
	})
	unix.Write(badPeer, []byte("x"))
	if v := wait(t, faults); v != "on purpose" {
		t.Error(v)
	}
	unix.Write(goodPeer, []byte("x"))
	wait(t, heard)
}

// Of two sockets that are ready in one turn, the one to be heard first is, whatever
// the kernel's order; and an event for a descriptor that was closed within the turn
// reaches nobody.
func TestNewsThatMustBeHeardFirstAre(t *testing.T) {
	t.Parallel()
	l := running(t)
	user, userPeer := socketPair(t)
	spare, sparePeer := socketPair(t)
	order := make(chan string, 4)
	armed := make(chan struct{})
	l.Post(func() {
		note := func(name string, fd int) *handler {
			return &handler{ready: func(r loop.Readiness) {
				if r&loop.Readable != 0 {
					order <- name
					l.CloseSocket(fd)
				}
			}}
		}
		l.Add(user, note("user", user))
		l.Add(spare, note("spare", spare))
		l.HearFirst(spare, true)
		close(armed)
	})
	wait(t, armed)
	l.Post(func() { // both become ready while the loop is busy here
		unix.Write(userPeer, []byte("x"))
		unix.Write(sparePeer, []byte("x"))
	})
	if first, second := wait(t, order), wait(t, order); first != "spare" || second != "user" {
		t.Errorf("%s before %s", first, second)
	}
}

func TestWhatIsPostedBeforeCloseRunsAndNothingAfter(t *testing.T) {
	t.Parallel()
	l, err := loop.New()
	if err != nil {
		t.Fatal(err)
	}
	go l.Run()
	var ran int
	var posting sync.WaitGroup
	for range 8 {
		posting.Go(func() {
			for range 100 {
				l.Post(func() { ran++ })
			}
		})
	}
	posting.Wait()
	l.Close()
	if ran != 800 {
		t.Errorf("%d of 800 ran", ran)
	}
	if l.Post(func() { t.Error("ran after Close") }) {
		t.Error("a closed loop takes work")
	}
	l.Close()
}

func TestAGroupRunsFromItsFirstUserToItsLast(t *testing.T) {
	t.Parallel()
	g := &loop.Group{Size: 2}
	for range 2 {
		first, err := g.Open()
		if err != nil {
			t.Fatal(err)
		}
		second, err := g.Open()
		if err != nil || len(first) != 2 || first[0] != second[0] {
			t.Fatal(first, second, err)
		}
		g.Close()
		ran := make(chan struct{})
		if !first[1].Post(func() { close(ran) }) {
			t.Fatal("closed with a user left")
		}
		wait(t, ran)
		g.Close()
		if first[0].Post(func() {}) {
			t.Error("open without users")
		}
	}
}

func TestAConnectionGoesThereAndBack(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	theirs, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	ours, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := loop.Detach(ours.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := loop.Write(fd, []byte("raw ")); err != nil {
		t.Fatal(err)
	}
	probes := [...]struct{ level, option, value int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0}, {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 77}, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 7},
	}
	for _, p := range probes {
		if err := unix.SetsockoptInt(fd, p.level, p.option, p.value); err != nil {
			t.Fatal(err)
		}
	}
	back, err := loop.Attach(fd)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := back.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		for _, p := range probes {
			if got, err := unix.GetsockoptInt(int(fd), p.level, p.option); err != nil || got != p.value {
				t.Errorf("keep-alive probes: option %d is %d, %v; want %d", p.option, got, err, p.value)
			}
		}
	})
	io.WriteString(back, "polled")
	back.Close()
	if b, err := io.ReadAll(theirs); err != nil || string(b) != "raw polled" {
		t.Errorf("%q, %v", b, err)
	}
}

// A handler, a timer's owner and something posted may each wait, as long as they hand
// the loop over: nothing of the turn under way is lost, and nobody else waits.
func TestALoopGoesOnWithoutTheOneThatHandedItOver(t *testing.T) {
	t.Parallel()
	l := running(t)
	const n = 20
	told, proceed := make(chan int, 3*n), make(chan struct{})
	t.Cleanup(func() { close(proceed) })
	waits := func(i int) {
		l.HandOver()
		told <- i
		<-proceed
	}
	peers := make([]int, n)
	l.Post(func() { // one turn has all of them
		for i := range n {
			ours, theirs := socketPair(t)
			peers[i] = theirs
			l.Add(ours, &handler{ready: func(r loop.Readiness) {
				if r&loop.Readable != 0 {
					waits(i)
				}
			}})
			unix.Write(theirs, []byte("x"))
			l.Set(new(loop.Timer), &handler{expire: func() { waits(n + i) }}, l.Now())
			l.Post(func() { waits(2*n + i) })
		}
	})
	seen := map[int]bool{}
	for range 3 * n {
		i := wait(t, told)
		if seen[i] {
			t.Errorf("%d was told twice", i)
		}
		seen[i] = true
	}
	still := make(chan struct{})
	l.Post(func() { close(still) })
	wait(t, still)
}

func TestAListenerIsToldOfInEachTurn(t *testing.T) {
	t.Parallel()
	l := running(t)
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(listener) })
	if err := errors.Join(unix.Bind(listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(listener, 8)); err != nil {
		t.Fatal(err)
	}
	addr, errno := nowait.LocalAddr(listener)
	if errno != 0 {
		t.Fatal(errno)
	}
	clients := make([]net.Conn, 3)
	for i := range clients {
		if clients[i], err = net.Dial("tcp", addr.String()); err != nil {
			t.Fatal(err)
		}
		defer clients[i].Close()
	}
	from := make(chan string, len(clients))
	l.Post(func() {
		l.AddListener(listener, &handler{ready: func(loop.Readiness) { // one a turn
			if fd, who, errno := nowait.Accept(listener); errno == 0 {
				from <- who.String()
				nowait.Close(fd)
			}
		}})
	})
	for _, c := range clients {
		if who := wait(t, from); who != c.LocalAddr().String() {
			t.Errorf("%s was accepted, want %s", who, c.LocalAddr())
		}
	}
	removed := make(chan struct{})
	l.Post(func() { l.Remove(listener); close(removed) })
	wait(t, removed)
}

// A socket may be closed before its loop has seen it, whatever its number is.
func TestASocketThatWasNeverWatchedCanBeClosed(t *testing.T) {
	t.Parallel()
	l := running(t)
	ours, theirs := socketPair(t)
	high, err := unix.FcntlInt(uintptr(ours), unix.F_DUPFD_CLOEXEC, 900) // more than a loop knows at first
	unix.Close(ours)
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan any, 1)
	l.Post(func() {
		defer func() { closed <- recover() }()
		l.CloseSocket(high)
	})
	if fault := wait(t, closed); fault != nil {
		t.Fatal(fault)
	}
	if n, err := unix.Read(theirs, make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("the other end reads %d, %v: want its end", n, err)
	}
}
