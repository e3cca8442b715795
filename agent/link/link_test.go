package link_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/agent/link"
	"github.com/sluice-cni/sluice/holder/client"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/await"
)

// patience is for what takes milliseconds.
const patience = await.Patience

// agent is a Handler that notes what it is told.
type agent struct {
	t     *testing.T
	told  chan string
	have  []wire.Have
	wrong error         // of Pod
	late  chan struct{} // Pod and Keep return when it is closed, if there is one
}

func (a *agent) note(format string, args ...any) { a.told <- fmt.Sprintf(format, args...) }

func (a *agent) Hello() wire.HelloRequest {
	return wire.HelloRequest{Versions: wire.Spoken, PID: 7, Have: a.have}
}

func (a *agent) Keep(id wire.Netns) (wire.Holding, []*os.File, bool) {
	if !slices.ContainsFunc(a.have, func(h wire.Have) bool { return h.Netns == id }) {
		return wire.Holding{}, nil, false
	}
	f, err := os.Open("/dev/null")
	if err != nil {
		a.t.Error(err)
	}
	if a.late != nil {
		a.note("keep %s", id)
		<-a.late
	}
	return wire.Holding{Netns: id}, []*os.File{f}, true
}

func (a *agent) Connected(w wire.WelcomeReply) { a.note("connected to %d", w.PID) }
func (a *agent) Brought()                      { a.note("brought") }
func (a *agent) Gone(d wire.Departure)         { a.note("gone %s", d.Netns) }
func (a *agent) Present(r wire.Roster)         { a.note("present %d", len(r.Others)) }
func (a *agent) Retire()                       { a.note("retire") }
func (a *agent) Resume()                       { a.note("resume") }
func (a *agent) Lost(err error)                { a.note("lost: %v", err) }

func (a *agent) Pod(h wire.Holding, files []*os.File) error {
	for _, f := range files {
		f.Close()
	}
	a.note("pod %s with %d", h.Netns, len(files))
	if a.late != nil {
		<-a.late
	}
	return a.wrong
}

func (a *agent) expect(want string) {
	a.t.Helper()
	select {
	case got := <-a.told:
		if !strings.HasPrefix(got, want) {
			a.t.Fatalf("told %q; want %q", got, want)
		}
	case <-time.After(patience):
		a.t.Fatalf("not told %q", want)
	}
}

// holder is the other end, played by the test.
type holder struct {
	t *testing.T
	l *net.UnixListener
	*wire.Conn
}

func (h *holder) accept() {
	h.t.Helper()
	h.l.SetDeadline(time.Now().Add(patience))
	c, err := h.l.AcceptUnix()
	if err != nil {
		h.t.Fatal(err)
	}
	h.Conn = wire.NewConn(c)
	h.t.Cleanup(func() { c.Close() })
}

func (h *holder) expect(k wire.Kind, into any) {
	h.t.Helper()
	m, err := h.Receive(time.Now().Add(patience))
	if err != nil || m.Kind != k {
		h.t.Fatalf("received %v, %v; want %v", m.Kind, err, k)
	}
	m.Close()
	if into != nil {
		if err := m.Into(into); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *holder) say(k wire.Kind, payload any, files ...*os.File) {
	h.t.Helper()
	if err := h.Send(k, payload, files...); err != nil {
		h.t.Fatal(err)
	}
}

func start(t *testing.T, a *agent) (*link.Link, *holder) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "holder.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	a.t, a.told = t, make(chan string, 100)
	n := link.New(path, a, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); n.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return n, &holder{t: t, l: l}
}

// welcome answers a hello.
func (h *holder) welcome(w wire.WelcomeReply) (hello wire.HelloRequest) {
	h.t.Helper()
	h.expect(wire.Hello, &hello)
	w.Version = 1
	h.say(wire.Welcome, w)
	return hello
}

var pod, gone = wire.Netns{Device: 4, Inode: 4026531840}, wire.Netns{Device: 4, Inode: 4026531841}

func TestASessionBringsPodsAndBeginsAgainWhenItBreaks(t *testing.T) {
	t.Parallel()
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	a := &agent{have: []wire.Have{{Netns: pod}}}
	_, h := start(t, a)
	h.accept()
	h.welcome(wire.WelcomeReply{PID: 1})
	a.expect("connected to 1")
	h.say(wire.Pod, wire.Holding{Netns: pod, Sockets: []wire.Socket{{Role: wire.RoleTCP}}}, file, file)
	a.expect("pod 4-4026531840 with 2")
	var ack wire.Acknowledgement
	h.expect(wire.Ack, &ack)
	if ack.Netns != pod || ack.Error != "" {
		t.Errorf("acknowledged %+v", ack)
	}
	h.say(wire.End, nil)
	a.expect("brought")
	h.say(wire.Present, wire.Roster{Others: []wire.AgentInfo{{PID: 3}}})
	a.expect("present 1")
	h.say(wire.Retire, nil)
	a.expect("retire")
	h.say(wire.Resume, nil)
	a.expect("resume")
	h.say(wire.Gone, wire.Departure{Netns: pod})
	a.expect("gone 4-4026531840")
	h.Close()
	a.expect("lost: EOF")

	// A holder after a crash lacks what this agent has.
	h.accept()
	if hello := h.welcome(wire.WelcomeReply{PID: 2, Want: []wire.Netns{pod, gone}}); len(hello.Have) != 1 {
		t.Errorf("the agent says that it has %+v", hello.Have)
	}
	var kept wire.Holding
	h.expect(wire.Keep, &kept)
	if kept.Netns != pod {
		t.Errorf("kept %+v", kept)
	}
	h.expect(wire.End, nil)
	a.expect("connected to 2")
}

func TestAPodThatCannotBeTakenIsSaid(t *testing.T) {
	t.Parallel()
	a := &agent{wrong: errors.New("it is no namespace")}
	n, h := start(t, a)
	if err := n.With((*client.Session).Take); !errors.Is(err, link.ErrNoHolder) {
		t.Errorf("take without a session: %v", err)
	}
	h.accept()
	h.welcome(wire.WelcomeReply{})
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	h.say(wire.Pod, wire.Holding{Netns: pod}, file)
	var ack wire.Acknowledgement
	h.expect(wire.Ack, &ack)
	if ack.Error != "it is no namespace" {
		t.Errorf("acknowledged %+v", ack)
	}
	if err := n.With((*client.Session).Take); err != nil {
		t.Error(err)
	}
	h.expect(wire.Take, nil)
}

// What breaks one session may break the next: they come later and later.
func TestASessionThatBreaksAtOnceIsNotBegunAgainAtOnce(t *testing.T) {
	t.Parallel()
	_, h := start(t, &agent{})
	begun := time.Now()
	for range 5 {
		h.accept()
		h.welcome(wire.WelcomeReply{})
		h.Close()
	}
	if took := time.Since(begun); took < 700*time.Millisecond { // 50 + 100 + 200 + 400 ms
		t.Errorf("five sessions in %v", took)
	}
}

// A holder answers a plugin that a pod is gone once it told the agents; it may be dead
// when one hears it.
func TestWhatAHolderThatDiedHadSaidIsHeard(t *testing.T) {
	t.Parallel()
	a := &agent{late: make(chan struct{})}
	_, h := start(t, a)
	h.accept()
	h.welcome(wire.WelcomeReply{PID: 1})
	a.expect("connected to 1")
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	h.say(wire.Pod, wire.Holding{Netns: pod}, file)
	a.expect("pod")
	h.say(wire.Gone, wire.Departure{Netns: gone})
	h.say(wire.Pod, wire.Holding{Netns: gone}, file)
	h.say(wire.Gone, wire.Departure{Netns: pod})
	h.Close()
	close(a.late)
	a.expect("gone " + gone.String())
	a.expect("gone " + pod.String())
	a.expect("lost: send ack")
}

func TestWhatAHolderThatDiedHadSaidIsHeardWhileItsPodsAreKept(t *testing.T) {
	t.Parallel()
	a := &agent{late: make(chan struct{}), have: []wire.Have{{Netns: pod, Cookie: 1}}}
	_, h := start(t, a)
	h.accept()
	h.welcome(wire.WelcomeReply{PID: 1, Want: []wire.Netns{pod}})
	a.expect("keep " + pod.String())
	h.say(wire.Gone, wire.Departure{Netns: gone})
	h.Close()
	close(a.late)
	a.expect("gone " + gone.String())
}
