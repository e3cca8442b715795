package holder

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/holder/client"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/await"
)

// testAgent is an agent as small as one can be: it answers on every listener with what
// it is sent, and keeps what it has over sessions.
type testAgent struct {
	Session *client.Session
	Welcome wire.WelcomeReply

	mu     sync.Mutex
	pods   map[wire.Netns]*served
	events []wire.Kind
	work   sync.WaitGroup
	ended  chan struct{} // the session's
}

type served struct {
	client.Event
	listeners []net.Listener
}

func openAgent(t testing.TB, path string, hello wire.HelloRequest) *testAgent {
	t.Helper()
	a := &testAgent{pods: map[wire.Netns]*served{}}
	a.open(t, path, hello)
	t.Cleanup(func() { a.end() })
	return a
}

func (a *testAgent) open(t testing.TB, path string, hello wire.HelloRequest) {
	t.Helper()
	hello.PID = os.Getpid()
	if hello.Exemption == "" {
		hello.Exemption = wire.ExemptByCgroup
	}
	a.mu.Lock()
	for n, p := range a.pods {
		hello.Have = append(hello.Have, wire.Have{Netns: n, Cookie: p.Pod.Cookie})
	}
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
	defer cancel()
	await.Silence(t, func() string {
		s, welcome, err := client.Open(ctx, path, hello)
		if err != nil {
			return "hello: " + err.Error()
		}
		a.mu.Lock()
		a.Session, a.Welcome, a.ended = s, welcome, make(chan struct{})
		a.mu.Unlock()
		return ""
	})
	if len(a.Welcome.Want) > 0 {
		a.keep()
	}
	session, ended := a.Session, a.ended
	a.work.Go(func() { a.listen(session, ended) })
}

// keep gives back what the holder wants. Should that holder go meanwhile, the session
// has ended, and the next one asks anew.
func (a *testAgent) keep() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range a.Welcome.Want {
		p := a.pods[n]
		if p != nil && a.Session.Keep(p.Pod, p.Files) != nil {
			return
		}
	}
	a.Session.Kept()
}

// listen takes what the holder says until the session ends.
func (a *testAgent) listen(s *client.Session, ended chan<- struct{}) {
	defer close(ended)
	for {
		e, err := s.Next()
		if err != nil {
			return
		}
		a.mu.Lock()
		a.events = append(a.events, e.Kind)
		switch e.Kind {
		case wire.Pod:
			a.drop(e.Pod.Netns)
			a.pods[e.Pod.Netns] = a.serve(e)
			s.Ack(e.Pod.Netns, nil)
		case wire.Gone:
			a.drop(e.Gone.Netns)
		case wire.Present:
			s.Seen(e.Present.Seq)
		}
		a.mu.Unlock()
	}
}

func (a *testAgent) serve(e client.Event) *served {
	s := &served{Event: e}
	for i, socket := range e.Pod.Sockets {
		if socket.Role != wire.RoleTCP {
			continue
		}
		l, err := net.FileListener(e.Files[i])
		if err != nil {
			panic(err)
		}
		s.listeners = append(s.listeners, l)
		a.work.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					io.Copy(c, c)
				}()
			}
		})
	}
	return s
}

func (a *testAgent) drop(n wire.Netns) {
	p := a.pods[n]
	if p == nil {
		return
	}
	delete(a.pods, n)
	for _, l := range p.listeners {
		l.Close()
	}
	for _, f := range p.Files {
		f.Close()
	}
}

func (a *testAgent) has(n wire.Netns) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pods[n] != nil
}

func (a *testAgent) heard(k wire.Kind) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.events {
		if e == k {
			return true
		}
	}
	return false
}

// serveAll waits for every pod, and takes.
func (a *testAgent) serveAll(t testing.TB) {
	t.Helper()
	await.True(t, "the agent has been brought every pod", func() bool { return a.heard(wire.End) })
	await.True(t, "the agent takes", a.take)
}

// take says so in the session that is.
func (a *testAgent) take() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.Session.Take() == nil
}

// end is the agent's death: everything closes.
func (a *testAgent) end() {
	a.Session.Close()
	<-a.ended
	a.mu.Lock()
	for n := range a.pods {
		a.drop(n)
	}
	a.mu.Unlock()
	a.work.Wait()
}

// echo sends something and wants it back.
func echo(c net.Conn) error {
	c.SetDeadline(time.Now().Add(await.Patience))
	said, heard := []byte("are you there?"), make([]byte, 14)
	if _, err := c.Write(said); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, heard); err != nil {
		return err
	}
	if !bytes.Equal(said, heard) {
		return errors.New("another answer")
	}
	return nil
}

func port(n uint16) string { return strconv.Itoa(int(n)) }

// An agent that reads nothing holds up a release for a second, not for as long as it
// lasts.
func TestAReleaseWaitsForNoAgentThatHangs(t *testing.T) {
	t.Parallel()
	path, _ := startHere(t, Options{})
	ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
	defer cancel()
	session, _, err := client.Open(ctx, path, wire.HelloRequest{PID: os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	p := newPod(t)
	p.Document = []byte(`"` + strings.Repeat("x", 900<<10) + `"`) // more than a socket takes
	p.hold(t, path)
	began := time.Now()
	if err := client.Release(ctx, path, p.ContainerID, p.Interface); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < tellTime/2 || took > wire.FrameTimeout-time.Second {
		t.Errorf("answered after %v", took)
	}
}
