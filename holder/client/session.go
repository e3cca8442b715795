package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"time"

	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/remedy"
)

// Session is an agent's connection to the holder. It lasts until either ends it; then
// the agent, which has every pod's files, goes on serving, dials again and says in Have
// what it has.
//
//	agent                                holder
//	Hello            ────────────▶
//	                 ◀────────────  Welcome{Others, Want}
//	Keep each, End   ────────────▶                        where Want is not empty
//	                 ◀────────────  Pod each, End         what Have lacks
//	Ack each         ────────────▶
//	Take             ────────────▶                        when it serves all of them
//	Alive            ────────────▶                        every wire.AliveEvery
//	                 ◀────────────  Pod, Gone, Present, Retire, Resume
//
// Next is for one goroutine; everything else may be called from any.
type Session struct {
	conn *wire.Conn
	path string
}

// Event is what the holder said. Kind tells which field it fills.
type Event struct {
	// Kind is Pod, End, Gone, Present, Retire or Resume.
	Kind wire.Kind
	// Pod is a Pod's, with its Files: the sockets in the order of Pod.Sockets, then the
	// namespace. The receiver closes them.
	Pod   wire.Holding
	Files []*os.File
	// Problem is why a Pod has no Files: this process has no descriptors left, say. It is
	// for Ack, and the pod is brought again.
	Problem error
	// Gone is a pod that is held no more; its sockets must be closed here too.
	Gone wire.Departure
	// Present are the other agents; the answer is Seen.
	Present wire.Roster
}

// Open dials the holder at path and introduces the agent. A refusal is a *wire.Refusal.
// ctx bounds the introduction only.
func Open(ctx context.Context, path string, hello wire.HelloRequest) (*Session, wire.WelcomeReply, error) {
	var welcome wire.WelcomeReply
	c, err := wire.Dial(ctx, path)
	if err != nil {
		return nil, welcome, fmt.Errorf("sluice holder at %s: %w; %s", path, err, remedy.Here().Say(remedy.Holder))
	}
	if err := introduce(ctx, c, hello, &welcome); err != nil {
		c.Close()
		return nil, welcome, fmt.Errorf("sluice holder at %s: %w", path, err)
	}
	return &Session{conn: c, path: path}, welcome, nil
}

func introduce(ctx context.Context, c *wire.Conn, hello wire.HelloRequest, welcome *wire.WelcomeReply) error {
	defer context.AfterFunc(ctx, func() { c.Close() })()
	hello.Versions = wire.Spoken
	return exchange(ctx, c, wire.Hello, hello, nil, wire.Welcome, welcome)
}

// Next waits for the holder's next word. An error ends the session; io.EOF: the holder
// went. What this version does not know is passed over.
func (s *Session) Next() (Event, error) { return s.next(time.Time{}) }

// Rest is what the holder had said when the session broke, for limit at most. Nothing
// can be answered.
func (s *Session) Rest(limit time.Duration) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		deadline := time.Now().Add(limit)
		for {
			e, err := s.next(deadline)
			if err != nil || !yield(e) {
				return
			}
		}
	}
}

func (s *Session) next(deadline time.Time) (Event, error) {
	for {
		m, err := s.conn.Receive(deadline)
		lost := errors.Is(err, wire.ErrTruncated) && m.Kind == wire.Pod
		if err != nil && !lost {
			return Event{}, err
		}
		e := Event{Kind: m.Kind, Files: m.Files}
		switch m.Kind {
		case wire.Pod:
			if lost {
				e.Problem = err
			}
			if err = m.Into(&e.Pod); err == nil && !lost && len(m.Files) != len(e.Pod.Sockets)+1 {
				e.Problem = fmt.Errorf("%d files for %d sockets and a namespace", len(m.Files), len(e.Pod.Sockets))
				m.Close()
				e.Files = nil
			}
		case wire.Gone:
			err = m.Into(&e.Gone)
		case wire.Present:
			err = m.Into(&e.Present)
		case wire.End, wire.Retire, wire.Resume:
		case wire.Refused:
			refusal := new(wire.Refusal)
			if err = m.Into(refusal); err == nil {
				err = refusal
			}
		default:
			m.Close()
			continue
		}
		if err != nil {
			m.Close()
			return Event{}, err
		}
		return e, nil
	}
}

// Ack answers a Pod. problem is why it cannot be served yet, nil when it will be.
func (s *Session) Ack(pod wire.Netns, problem error) error {
	a := wire.Acknowledgement{Netns: pod}
	if problem != nil {
		a.Error = problem.Error()
	}
	return s.conn.Send(wire.Ack, a)
}

// Seen answers a Present.
func (s *Session) Seen(seq uint64) error { return s.conn.Send(wire.Seen, wire.Sight{Seq: seq}) }

// Take says that this agent serves every pod it was brought.
func (s *Session) Take() error { return s.conn.Send(wire.Take, nil) }

// Retired answers Retire: this agent accepts nothing more. ends: nor will it, whatever
// becomes of the others.
func (s *Session) Retired(ends bool) error {
	return s.conn.Send(wire.Retired, wire.Retirement{Ends: ends})
}

// Keep gives a pod to a holder that wants it, or changes what it says of one.
func (s *Session) Keep(h wire.Holding, files []*os.File) error {
	return s.conn.Send(wire.Keep, h, files...)
}

// Kept says that everything the holder wanted has been kept.
func (s *Session) Kept() error { return s.conn.Send(wire.End, nil) }

// Alive says that the agent's core turns; call it every wire.AliveEvery, from there.
func (s *Session) Alive() error { return s.conn.Send(wire.Alive, nil) }

// Hold hands over a pod that was found running: its sockets in the order of h.Sockets,
// then its namespace. The holder then brings it like any other, by Next. A pod that is
// held already is refused with wire.CodeHeld. It has a connection of its own.
func (s *Session) Hold(ctx context.Context, h wire.Holding, files []*os.File) error {
	h.Found = true
	_, err := Hold(ctx, s.path, h, files)
	return err
}

// Release says that a pod is not to be held any more. The other agents are told that
// it is gone, this one is not.
func (s *Session) Release(pod wire.Netns) error {
	return s.conn.Send(wire.Release, wire.Releasing{Netns: &pod})
}

// Close ends the session. The holder goes on holding.
func (s *Session) Close() error { return s.conn.Close() }
