// Package wire is how the plugin, the agents and the holder speak: frames of JSON over
// a unix stream socket, with descriptors attached.
//
// A frame is a header of twelve bytes and a payload:
//
//	 0      1      2      3      4      5      6             8                    12
//	┌──────┬──────┬──────┬──────┬──────┬──────┬─────────────┬────────────────────┬─────
//	│ 'S'  │ 'L'  │ 'U'  │ ver. │ kind │files │ 0 (reserved)│ length, big-endian │ JSON
//	└──────┴──────┴──────┴──────┴──────┴──────┴─────────────┴────────────────────┴─────
//
// Descriptors ride on the header (SCM_RIGHTS). Their number must be the header's:
// otherwise all of them are closed, and so is the connection. Fields of a payload that
// a reader does not know are ignored; a kind that it does not know is refused.
//
// The package knows sockets and nothing else: what a pod's document says is between
// the plugin and the agent.
package wire

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

const (
	// Version is the newest version of the protocol, and MinVersion the oldest, that
	// this build speaks.
	Version    = 1
	MinVersion = 1
	// MaxPayload is the longest payload, in bytes. A pod's annotations, which
	// Kubernetes bounds at 256 KiB together, fit with all that JSON adds to them.
	MaxPayload = 1 << 20
	// MaxFiles is how many descriptors one frame may bring.
	MaxFiles = 16
	// FrameTimeout is how long a frame may take from its first byte to its last.
	FrameTimeout = 5 * time.Second
	// AliveEvery is how often an agent says Alive, from its core's goroutine. Of an
	// agent that was silent for AliveLimit nothing more is expected.
	AliveEvery = 5 * time.Second
	AliveLimit = 20 * time.Second
)

// Kind is what a frame is. The numbers are the protocol's: they never change.
type Kind uint8

const (
	// Hold asks the holder to keep a pod's sockets and its namespace (Holding). The
	// answer is Held (HeldReply) or Refused (Refusal).
	Hold Kind = 1
	Held Kind = 2
	// Release tells the holder that a pod is gone (Releasing); the answer is Released,
	// whether anything was held or not. It comes once the agents have been told, or a
	// second later: who has it need not ask the next holder, should this one die.
	Release  Kind = 3
	Released Kind = 4
	// Refused answers what cannot be done (Refusal).
	Refused Kind = 5
	// Hello begins an agent's session (HelloRequest); the answer is Welcome
	// (WelcomeReply).
	Hello   Kind = 6
	Welcome Kind = 7
	// Pod brings one pod, with its files (Holding). The agent answers each with Ack
	// (Acknowledgement). End says that all that are there have been brought.
	Pod Kind = 8
	End Kind = 9
	Ack Kind = 10
	// Take: this agent serves every pod. The holder tells the one before to Retire,
	// which answers Retired when it accepts no more, and goes on until its connections
	// have ended (or stands by, until it is told to end). Resume takes a Retire back:
	// the successor is gone.
	Take    Kind = 11
	Retire  Kind = 12
	Retired Kind = 13
	Resume  Kind = 14
	// Gone tells agents that a pod is not held any more (Departure).
	Gone Kind = 15
	// Keep gives a pod back to a holder that lost it, with its files (Holding). Where the
	// holder has the same sockets it takes over what else the Holding says: an agent
	// changes a pod's policy so. It has no answer.
	Keep Kind = 16
	// Present tells agents who else is there (Roster). The agent answers Seen (Sight)
	// once its own actions know of it: a new agent's Welcome waits for that, 2 s at most,
	// since whoever writes an exemption without the new agent's id after the new one
	// wrote both would send its connections back to itself.
	Present Kind = 17
	Seen    Kind = 23
	// Alive says that an agent's core still turns. It has no answer.
	Alive Kind = 18
	// Succeed asks a holder for everything it has (SuccessionRequest). It answers Yield
	// (SuccessionReply) with its listening socket and its lock, then a Pod each and End;
	// from Took on it is the other's.
	Succeed Kind = 19
	Yield   Kind = 20
	Took    Kind = 21
	// Status asks a holder how it is; the answer is Status (HolderStatus).
	Status Kind = 22
)

var kindNames = map[Kind]string{
	Hold: "hold", Held: "held", Release: "release", Released: "released", Refused: "refused",
	Hello: "hello", Welcome: "welcome", Pod: "pod", End: "end", Ack: "ack",
	Take: "take", Retire: "retire", Retired: "retired", Resume: "resume", Gone: "gone",
	Keep: "keep", Present: "present", Seen: "seen", Alive: "alive",
	Succeed: "succeed", Yield: "yield", Took: "took", Status: "status",
}

func (k Kind) String() string {
	if name, known := kindNames[k]; known {
		return name
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Known says whether this version of the protocol has the kind.
func (k Kind) Known() bool { return kindNames[k] != "" }

// Message is one frame.
type Message struct {
	Kind    Kind
	Payload json.RawMessage
	// Files belong to the receiver, who closes them.
	Files []*os.File
}

// Into decodes the payload. Fields that v does not have are ignored: a newer sender
// may say more.
func (m Message) Into(v any) error {
	if len(m.Payload) == 0 {
		return nil
	}
	if err := json.Unmarshal(m.Payload, v); err != nil {
		return fmt.Errorf("%s: the payload is not what this version expects: %w", m.Kind, err)
	}
	return nil
}

// Close closes the message's files.
func (m Message) Close() {
	for _, f := range m.Files {
		f.Close()
	}
}
