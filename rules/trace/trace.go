// Package trace says what the rules in a network namespace do with a packet that
// nobody sends: it reads back what the kernel has, whoever changed it, and walks the
// first packet of a flow through it. It changes nothing and trusts no plan, so it is
// a second opinion beside rules.Decide.
package trace

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sluice-cni/sluice/rules"
)

// Fate is what becomes of the packet.
type Fate string

const (
	Passes     Fate = "passes"
	Redirected Fate = "redirected"
	Refused    Fate = "refused" // the sender hears of it
	Dropped    Fate = "dropped" // it does not
)

// Step is a rule that the packet met and that matched it.
type Step struct {
	Chain  string `json:"chain"`
	Rule   string `json:"rule"` // its comment, else its place
	Handle uint64 `json:"handle,omitempty"`
	Action string `json:"action"`
}

func (s Step) String() string { return fmt.Sprintf("chain %s: rule %q: %s", s.Chain, s.Rule, s.Action) }

// Result is the fate of a packet and how it came to it.
type Result struct {
	Fate    Fate
	Port    uint16 // it is redirected to
	Decided *Step  // the rule that decided; nil where none matched
	Steps   []Step
	// Others are chains of others that the packet passes as well. They are not walked.
	Others []string
}

// ErrUnreadable reports a rule that this package does not understand: somebody put
// something into the table that sluice never does.
var ErrUnreadable = errors.New("cannot be followed")

// decide notes the outcome of a chain. A redirect is the fate unless the packet is
// refused later; that a chain lets it pass counts only if nothing else decides.
func (r *Result) decide(fate Fate, port uint16, by *Step) {
	switch {
	case fate == Passes && (by == nil || r.Decided != nil):
		return
	case fate == Passes:
		r.Decided = by
	default:
		r.Fate, r.Port, r.Decided = fate, port, by
	}
}

// stop decides by an end that lets the packet go no further as it is.
func (r *Result) stop(e end, by *Step, p *packet) {
	switch e.kind {
	case endRedirect:
		r.decide(Redirected, e.port, by)
		p.redirect(e.port)
	case endReject:
		r.decide(Refused, 0, by)
	case endDrop:
		r.decide(Dropped, 0, by)
	}
}

func (r Result) ended() bool { return r.Fate == Refused || r.Fate == Dropped }

// Verdict is the fate in the words of rules.Decide, for a configuration that says
// which port is whose; false when the packet goes to a port that is nobody's.
func (r Result) Verdict(c rules.Config, f rules.Flow) (rules.Verdict, bool) {
	switch r.Fate {
	case Refused, Dropped:
		return rules.Refused, true
	case Passes:
		return rules.Direct, true
	}
	arrives := f.InInterface != "" && !slices.Contains(c.RerouteInterfaces, f.InInterface)
	switch {
	case arrives && r.Port == c.InboundPort:
		return rules.ToInbound, true
	case c.DNSCapture && r.Port == c.DNSPort:
		return rules.ToDNS, true
	case r.Port == c.OutboundPort:
		return rules.ToProxy, true
	}
	return rules.ToProxy, false
}

func (r Result) String() string {
	switch {
	case r.Fate == Redirected:
		return fmt.Sprintf("redirected to port %d", r.Port)
	case r.Fate == Passes && r.Decided == nil:
		return "passes: no rule matches"
	}
	return string(r.Fate)
}
