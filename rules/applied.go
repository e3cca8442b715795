package rules

import "time"

// Applied is what a namespace's rules were made from, as the record says that a backend
// keeps with them.
type Applied struct {
	Config   Config
	Hash     string        // Config.Hash
	Running  bool          // see Running
	Auto     bool          // see FromAuto
	Node     bool          // see NodeMode
	Disabled bool          // capture was ended, and connections were kept
	Gate     time.Duration // see Gated; 0 where no heartbeat is asked for
}

// Options are those of the plan that was applied, but for who is exempt.
func (a Applied) Options() []Option {
	var out []Option
	if a.Running {
		out = append(out, Running())
	}
	if a.Node {
		out = append(out, NodeMode())
	}
	if a.Auto {
		out = append(out, FromAuto())
	}
	if a.Gate > 0 {
		out = append(out, Gated(a.Gate))
	}
	return out
}
