package core

import (
	"encoding/json"

	"github.com/sluice-cni/sluice/holder/wire"
)

// Conn numbers a connection; a later one has a higher number.
type Conn uint64

// Bundle numbers a pod's descriptors: its sockets, then its namespace. They are at the
// edge; the core only says what becomes of them.
type Bundle uint64

// Event is something that happened.
type Event interface{ event() }

type (
	// Began is the first event. Fresh: there was no holder before this one, or it died:
	// what it held is lost but for what Inherited brings.
	Began struct {
		Fresh bool
		Memory
	}
	// Inherited is a pod of the holder before, from its hands or from its state files.
	// Broken: only the namespace is there, the sockets have to be opened again.
	Inherited struct {
		Holding wire.Holding
		Bundle  Bundle
		Broken  bool
	}
	// Frame is a message without files, and with a Hello who sends it.
	Frame struct {
		Conn    Conn
		Kind    wire.Kind
		Payload json.RawMessage
		Process wire.Process
	}
	// Offered is a Hold or a Keep with its files. Problem is what is wrong with them,
	// for people; Full says that nothing is, but that there is no room for them.
	Offered struct {
		Conn    Conn
		Kind    wire.Kind
		Holding wire.Holding // with Cookie and Watched as the edge found them
		Bundle  Bundle
		Problem string
		Full    bool
		// PathGone: the namespace is not at Holding.Path (any more).
		PathGone bool
	}
	// Closed ends a connection from the other side.
	Closed struct{ Conn Conn }
	// Died: an agent of Memory is not alive any more.
	Died struct{ Process wire.Process }
	// Left: a pod's namespace is not at its path any more.
	Left struct {
		Netns wire.Netns
		Why   string
	}
	// Reopened answers Reopen: with a new bundle and what its sockets are, or a Problem.
	Reopened struct {
		Netns   wire.Netns
		Bundle  Bundle
		Sockets []wire.Socket
		Cookie  uint64
		Problem string
	}
	// Emptied: what was saved and remembered is gone from the disk.
	Emptied struct{}
	// Tick is the time that Next asked for.
	Tick struct{}
)

func (Began) event()     {}
func (Inherited) event() {}
func (Frame) event()     {}
func (Offered) event()   {}
func (Closed) event()    {}
func (Died) event()      {}
func (Left) event()      {}
func (Reopened) event()  {}
func (Emptied) event()   {}
func (Tick) event()      {}
