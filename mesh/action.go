package mesh

import (
	"time"

	networking "istio.io/api/networking/v1alpha3"
)

// HTTPAction is what a rule says is done to a request besides where it goes. It is
// compiled once for each rule of a VirtualService and shared by all its hosts and by
// all views. It is immutable.
type HTTPAction struct {
	// Timeout is how long the answer may take from the end of the request on; 0 is
	// none, the default (http[].timeout).
	Timeout time.Duration
	// Retry is never nil: where nothing is written it is DefaultRetry (http[].retries).
	Retry *RetryPolicy
	// Fault is what goes wrong on purpose; nil: nothing.
	Fault *Fault
	// Answer is given without asking any server; nil: there are destinations.
	Answer *Answer
	// Path changes where at the server a request goes; nil: nowhere else.
	Path *PathRewrite
	// Edits are the rule's own, for answers that no destination gives. A destination
	// has them too, together with its own. nil: none.
	Edits *Edits
}

// plainAction is that of a host without rules.
var plainAction = &HTTPAction{Retry: DefaultRetry}

func compileAction(route *networking.HTTPRoute) *HTTPAction {
	timeout := route.GetTimeout().AsDuration()
	return &HTTPAction{
		Timeout: timeout,
		Retry:   compileRetries(route.GetRetries(), timeout),
		Answer:  compileAnswer(route),
		Path:    compileRewrite(route.Rewrite),
		Edits:   compileEdits(route, nil),
	}
}
