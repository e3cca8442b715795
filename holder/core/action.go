package core

import "github.com/sluice-cni/sluice/holder/wire"

// Memory is what a holder leaves to the next beside the pods.
type Memory struct {
	// Exemption is what agents last said, for plugins.
	Exemption string `json:"exemption,omitempty"`
	// Agents that were connected.
	Agents []wire.AgentInfo `json:"agents,omitempty"`
	// Instances are the pods that agents ran in, from the oldest to the youngest; the last
	// maxInstances of them.
	Instances []string `json:"instances,omitempty"`
	// Holders that held, in the order in which each did first: the last is the newest.
	Holders []string `json:"holders,omitempty"`
}

// Action is something to do, in the order given.
type Action interface{ action() }

type (
	// Send queues a message, with the bundle's files unless it is zero. The edge adds
	// the listening socket and the lock to Yield. After are connections of which what was
	// queued before has to be written first, or a second to go by.
	Send struct {
		Conn    Conn
		Kind    wire.Kind
		Payload any
		Bundle  Bundle
		After   []Conn
	}
	// Close ends a connection once its queue is written. Why is for the log, empty when
	// all went well.
	Close struct {
		Conn Conn
		Why  string
	}
	// Save writes the pod's state file and watches its path. It comes before the Held
	// that promises it.
	Save struct{ Holding wire.Holding }
	// Forget removes the state file, and watches no more.
	Forget struct{ Netns wire.Netns }
	// Drop closes a bundle, once no queued Send needs it.
	Drop struct{ Bundle Bundle }
	// Refuse accepts and resets what comes to the bundle's listeners, and throws away
	// what comes to its DNS sockets, until Wait.
	Refuse struct{ Bundle Bundle }
	Wait   struct{ Bundle Bundle }
	// Reopen opens a pod's sockets anew in its namespace, which is in the bundle.
	// AnyPort: where a port is taken another will do.
	Reopen struct {
		Holding wire.Holding
		Bundle  Bundle
		AnyPort bool
	}
	// Remember keeps for the next holder what agents said, and who was there.
	Remember struct{ Memory }
	// Leave: everything is another holder's. Write the queues, and end.
	Leave struct{}
	// Log tells people; Level is info or warn.
	Log struct {
		Level, Text string
		Attributes  []any
	}
)

func (Send) action()     {}
func (Close) action()    {}
func (Save) action()     {}
func (Forget) action()   {}
func (Drop) action()     {}
func (Refuse) action()   {}
func (Wait) action()     {}
func (Reopen) action()   {}
func (Remember) action() {}
func (Leave) action()    {}
func (Log) action()      {}
