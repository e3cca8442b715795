package rules

import (
	"errors"
	"strings"
)

// What a backend may answer, whichever it is.
var (
	// ErrUnsupported reports a kernel, or programs, without a part of what the rules
	// need; the error that wraps it names the part.
	ErrUnsupported = errors.New("the kernel cannot do this")
	// ErrNotPermitted reports a caller without CAP_NET_ADMIN over the namespace.
	ErrNotPermitted = errors.New("needs root (CAP_NET_ADMIN over the network namespace)")
)

// Drift is what a backend's Check found to differ from the plan, one sentence each.
type Drift []string

func (d Drift) Error() string { return strings.Join(d, "; ") }
