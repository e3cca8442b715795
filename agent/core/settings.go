package core

import "time"

// Settings are the core's; times that are zero are the defaults named here.
type Settings struct {
	// ByMark: cgroups cannot tell this agent's sockets from a pod's on this kernel. Every
	// pod's rules exempt Description.Mark instead, as those of iptables do everywhere.
	ByMark bool
	// Stays: something starts this process again whenever it ends, so it does not while it
	// is not told to (Retire.Ends): it stands by until Resume.
	Stays bool
	// FactsWait is how long a pod that has a name waits for a runtime or Kubernetes to
	// tell its labels, before it is served without. 0, the default: there is no such
	// source, nobody waits. The agent's is 10 s when it has one.
	FactsWait time.Duration
	// CommitWait is how long a plugin may take from hold to its rules. After it the
	// agent applies them itself, when there is a process in the namespace. 15 s.
	CommitWait time.Duration
	// DrainLimit bounds how long connections go on after un-enrolment or Retire. 10 min.
	DrainLimit time.Duration
	// AloneLimit bounds it when this process is told to end and nobody has taken over: a
	// DaemonSet makes a deleted pod's successor only when that is gone, and what is new
	// waits in the holder, by default for 30 s. 10 s, or DrainLimit if that is less.
	AloneLimit time.Duration
	// Linger is how long a pod is served on after its rules were disabled, for
	// connections that were redirected and not accepted yet. 1 s.
	Linger time.Duration
	// TakeLimit is how long pods that cannot be served keep this agent from taking
	// over those that can, from Listed on. 30 s.
	TakeLimit time.Duration
	// CheckEvery is how often each pod's rules are checked, CheckGap the time between
	// two checks, which makes 10 a second. 60 s, 100 ms.
	CheckEvery, CheckGap time.Duration
}

func (s Settings) withDefaults() Settings {
	for value, standard := range map[*time.Duration]time.Duration{
		&s.CommitWait: 15 * time.Second,
		&s.DrainLimit: 10 * time.Minute,
		&s.AloneLimit: 10 * time.Second,
		&s.Linger:     time.Second,
		&s.TakeLimit:  30 * time.Second,
		&s.CheckEvery: time.Minute,
		&s.CheckGap:   100 * time.Millisecond,
	} {
		if *value <= 0 {
			*value = standard
		}
	}
	s.AloneLimit = min(s.AloneLimit, s.DrainLimit)
	return s
}

// Backoff of one kind of action of one pod: 1, 2, 4 … 30 s.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// A plugin that has handed over its sockets commits its rules within some 10 ms:
// looked for after 25 ms, 50 ms and so on; each second at the end, and each 5 s
// once CommitWait is over.
const (
	firstPoll = 25 * time.Millisecond
	lastPoll  = time.Second
	idlePoll  = 5 * time.Second
)

// freshRead is how old what ReadBack said may be when a running pod is enrolled by
// it: an ADD could have come since.
const freshRead = 2 * time.Second

// sweepsMissed is how many complete sweeps in a row must not see a namespace without a
// path before it is gone: a runtime may be restarting.
const sweepsMissed = 2
