package core

// Kind is what a PodAction does, for its backoff, for metrics and for the log.
type Kind uint8

const (
	kindOpen Kind = iota
	kindKeep
	kindExempt
	kindStart
	kindFollow
	kindReadBack
	kindApply
	kindReplace
	kindBeat
	kindCheck
	kindDisable
	kindRemove
	kindStop
	kindRelease
	// Kinds is how many there are: they are the numbers below it.
	Kinds
)

var kindNames = [Kinds]string{
	"open", "keep", "exempt", "start", "follow", "read", "apply", "replace-sets", "beat", "check",
	"disable", "remove", "stop", "release",
}

// String is the kind in a word, as metrics have it.
func (k Kind) String() string { return kindNames[k] }

// kindWords go on from "cannot".
var kindWords = [Kinds]string{
	"open its sockets", "give it back to the holder", "exempt the agent", "serve it", "tell its proxy",
	"read its rules", "apply its rules", "change its ranges", "beat", "check its rules",
	"disable its rules", "remove its rules", "stop serving it", "release it",
}

// KindOf is an action's.
func KindOf(a PodAction) Kind {
	switch a.(type) {
	case OpenAndHold:
		return kindOpen
	case Keep:
		return kindKeep
	case Exempt:
		return kindExempt
	case Start:
		return kindStart
	case Follow:
		return kindFollow
	case ReadBack:
		return kindReadBack
	case Apply:
		return kindApply
	case ReplaceSets:
		return kindReplace
	case Beat:
		return kindBeat
	case Check:
		return kindCheck
	case Disable:
		return kindDisable
	case Remove:
		return kindRemove
	case Stop:
		return kindStop
	case Release:
		return kindRelease
	}
	panic("core: an action without a kind")
}
