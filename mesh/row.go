package mesh

import "slices"

// Stance is what sluice does about a field of Istio's API.
type Stance uint8

const (
	// Supported fields do what Istio's documentation says.
	Supported Stance = iota
	// Differs is for fields that are followed, but not to the letter.
	Differs
	// Reported fields are accepted with a warning: they have no effect, and change
	// neither where a request goes nor how it is protected.
	Reported
	// Refused fields are an error.
	Refused
)

var stanceNames = [...]string{"supported", "differs", "reported", "refused"}

func (s Stance) String() string { return stanceNames[s] }

// Row is what sluice does about some fields of Istio's API. Rows decide what
// Decode says about a field and are what docs/istio-compatibility.md is made of.
type Row struct {
	// ID is unique: the kind's short name and the field, SE.hosts.
	ID   string
	Kind string
	// Fields below spec. Words in braces are alternatives; [] is any item of a
	// list or mapping. A field that holds others stands for all of them.
	Fields []string
	// Value is set when the row is about one value of the field only, not about
	// the field; such a row is applied where the value is validated.
	Value string
	// Priority is P0 (needed by everybody) to P2 (later), or N/A for what an egress
	// proxy without a mesh cannot have.
	Priority string
	Stance   Stance
	// Says is how the field differs, what happens instead of it, or why it is
	// refused; it may be empty for the others.
	Says string
	// Instead is what to do in place of a refused field, beyond removing it.
	Instead string
}

// Rows cover every field of the kinds that sluice follows. Whatever they do not
// mention is refused, so that a field which a later Istio adds is never ignored in
// silence.
var Rows = slices.Concat(serviceRows, virtualRows, ruleRows, sidecarRows)
