// Package link keeps an agent's session with the holder going: it is begun again
// whenever it breaks, and what the holder says is told to a Handler. It decides nothing.
package link

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/holder/client"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/rest"
)

// Handler is told what the holder says, on the goroutine of Run, one thing after the
// other. It must not wait for an answer of the holder's.
type Handler interface {
	// Hello is how the agent introduces itself just now.
	Hello() wire.HelloRequest
	// Keep has a pod that the holder lacks, to be kept again; false: so has the agent,
	// by now. The files, the sockets and then the namespace, are closed by the caller.
	Keep(wire.Netns) (wire.Holding, []*os.File, bool)
	// Connected begins a session: the holder has what the agent said in Hello that it
	// has, and brings the rest.
	Connected(wire.WelcomeReply)
	// Pod brings a pod, and its files: the sockets, then the namespace. They are the
	// handler's, whatever it returns. An error is what the holder is told of the pod.
	Pod(wire.Holding, []*os.File) error
	// Brought: every pod that the holder has now was brought.
	Brought()
	Gone(wire.Departure)
	Present(wire.Roster)
	Retire()
	Resume()
	// Lost ends a session. What is served goes on.
	Lost(error)
}

// Link is the session. Its methods but Run may be called at any time by many goroutines.
type Link struct {
	path    string
	handler Handler
	log     *slog.Logger

	mu      sync.Mutex
	session *client.Session // nil between sessions
}

// New makes a Link to the holder at a socket.
func New(path string, h Handler, log *slog.Logger) *Link {
	return &Link{path: path, handler: h, log: log}
}

// ErrNoHolder is the lack of a session.
var ErrNoHolder = errors.New("no session with the holder")

// Bounds of what is waited for.
const (
	firstPause   = 50 * time.Millisecond
	longestPause = 2 * time.Second // between two attempts to connect
	lasting      = 2 * time.Second // a session that was no failure
	helloTimeout = 15 * time.Second
	restTime     = time.Second // for what is left to read of a broken session
)

// Run keeps a session going until ctx ends.
func (l *Link) Run(ctx context.Context) {
	said := ""
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, longestPause) {
		begun := time.Now()
		started, err := l.once(ctx)
		if started && time.Since(begun) >= lasting { // one that breaks at once would do so again
			pause, said = firstPause, ""
		}
		if ctx.Err() != nil {
			return
		}
		if text := err.Error(); text != said { // else every two seconds
			l.log.Warn("no session with the holder; trying again until there is one", "socket", l.path, "error", err)
			said = text
		}
		rest.For(ctx, pause)
	}
}

// once is one session's life. started says that the holder admitted this agent.
func (l *Link) once(ctx context.Context) (started bool, err error) {
	introducing, cancel := context.WithTimeout(ctx, helloTimeout)
	session, welcome, err := client.Open(introducing, l.path, l.handler.Hello())
	cancel()
	if err != nil {
		return false, err
	}
	defer session.Close()
	defer context.AfterFunc(ctx, func() { session.Close() })()
	if err := l.keepAll(session, welcome.Want); err != nil {
		l.rest(session)
		return false, err
	}
	l.is(session)
	l.handler.Connected(welcome)
	err = l.listen(session)
	l.is(nil)
	l.handler.Lost(err)
	return true, err
}

func (l *Link) is(s *client.Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session = s
}

func (l *Link) keepAll(session *client.Session, want []wire.Netns) error {
	if len(want) == 0 {
		return nil
	}
	for _, id := range want {
		h, files, ok := l.handler.Keep(id)
		if !ok {
			continue
		}
		err := session.Keep(h, files)
		closeFiles(files)
		if err != nil {
			return err
		}
	}
	return session.Kept()
}

func (l *Link) listen(session *client.Session) error {
	for {
		e, err := session.Next()
		if err != nil {
			return err
		}
		switch e.Kind {
		case wire.Pod:
			problem := e.Problem
			if problem == nil {
				problem = l.handler.Pod(e.Pod, e.Files)
			} else {
				l.log.Warn("a pod cannot be taken from the holder; it brings it again", "pod", e.Pod.Pod.String(), "netns", e.Pod.Netns.String(), "error", problem)
			}
			if err := session.Ack(e.Pod.Netns, problem); err != nil {
				l.rest(session)
				return err
			}
		case wire.End:
			l.handler.Brought()
		case wire.Gone:
			l.handler.Gone(e.Gone)
		case wire.Present:
			l.handler.Present(e.Present)
		case wire.Retire:
			l.handler.Retire()
		case wire.Resume:
			l.handler.Resume()
		}
	}
}

// rest hears what a holder that died had said before: of a pod that is gone it told
// nobody else, and its plugin was answered. Pods it would have brought are the next
// holder's.
func (l *Link) rest(session *client.Session) {
	for e := range session.Rest(restTime) {
		closeFiles(e.Files)
		if e.Kind == wire.Gone {
			l.handler.Gone(e.Gone)
		}
	}
}

// With calls f with the session, if there is one.
func (l *Link) With(f func(*client.Session) error) error {
	l.mu.Lock()
	session := l.session
	l.mu.Unlock()
	if session == nil {
		return ErrNoHolder
	}
	return f(session)
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
