package mesh

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	networking "istio.io/api/networking/v1alpha3"
)

// RetryPolicy says when a request that failed is sent again (http[].retries), and how.
// It is immutable.
type RetryPolicy struct {
	// Attempts is how many more tries than the first there may be; 0 is none.
	Attempts uint32
	// On is what is worth another try.
	On RetryOn
	// Statuses are those of an answer that are, in order; none is below 200.
	Statuses []uint16
	// PerTry is how long one try may wait for its answer's head, from the end of the
	// request and from the moment it has a connection on; 0 is no limit of its own.
	PerTry time.Duration
	// Base is Envoy's base interval: before its n-th retry a request waits a random
	// time below Base × (2ⁿ − 1), and below ten times Base.
	Base time.Duration
	// AnyHost says that a retry may go to an endpoint that was tried before as soon as
	// to any other.
	AnyHost bool
}

// RetryOn is a set of conditions.
type RetryOn uint16

// Envoy's conditions (x-envoy-retry-on and x-envoy-retry-grpc-on). What is not here
// cannot occur: sluice speaks no HTTP/3, and Istio has no field for retriable headers.
const (
	RetryOn5xx            RetryOn = 1 << iota // any 5xx, and no answer at all
	RetryOnGatewayError                       // 502, 503, 504, and no answer at all
	RetryOnReset                              // no answer at all: the connection ended, the stream was reset, a try's time is up
	RetryOnResetUnsent                        // the same, before a byte of the request was sent
	RetryOnConnectFailure                     // no connection could be made
	RetryOnRefusedStream                      // the server did not look at the stream
	RetryOnRetriable4xx                       // 409
	RetryOnRateLimited                        // an answer with x-envoy-ratelimited; no other condition holds for one
	RetryOnCancelled                          // grpc-status 1 in an answer's head
	RetryOnDeadlineExceeded
	RetryOnInternal
	RetryOnResourceExhausted
	RetryOnUnavailable
)

// RetryOnGRPC are the conditions about grpc-status.
const RetryOnGRPC = RetryOnCancelled | RetryOnDeadlineExceeded | RetryOnInternal | RetryOnResourceExhausted | RetryOnUnavailable

// retryOn has the conditions as Istio writes them. Some have no effect:
// retriable-status-codes, since Istio means by it the statuses written beside it, and
// noSuchRetry.
var retryOn = map[string]RetryOn{
	"5xx": RetryOn5xx, "gateway-error": RetryOnGatewayError,
	"reset": RetryOnReset, "reset-before-request": RetryOnResetUnsent,
	"connect-failure": RetryOnConnectFailure, "refused-stream": RetryOnRefusedStream,
	"retriable-4xx": RetryOnRetriable4xx, "envoy-ratelimited": RetryOnRateLimited,
	"cancelled": RetryOnCancelled, "deadline-exceeded": RetryOnDeadlineExceeded, "internal": RetryOnInternal,
	"resource-exhausted": RetryOnResourceExhausted, "unavailable": RetryOnUnavailable,
	"retriable-status-codes": 0, "retriable-headers": 0, "http3-post-connect-failure": 0,
}

// retryConditions are the words of retryOn in the order of their bits; those without
// effect come last.
var retryConditions = slices.SortedFunc(maps.Keys(retryOn), func(a, b string) int {
	return cmp.Or(cmp.Compare(retryOn[a]-1, retryOn[b]-1), strings.Compare(a, b)) // 0-1 is the largest
})

// noSuchRetry are conditions that never hold, and why.
var noSuchRetry = map[string]string{
	"retriable-headers":          "Istio has no field that names the headers",
	"http3-post-connect-failure": "no server is spoken to in HTTP/3",
}

const (
	defaultRetryBase = 25 * time.Millisecond // Envoy's
	maxRetryBase     = 365 * 24 * time.Hour  // ten times as much is a time.Duration still
)

// DefaultRetry is Istio's policy where none is written.
var DefaultRetry = &RetryPolicy{
	Attempts: 2, Base: defaultRetryBase,
	On: RetryOnConnectFailure | RetryOnRefusedStream | RetryOnUnavailable | RetryOnCancelled,
}

// noRetry is the policy of attempts 0.
var noRetry = &RetryPolicy{Base: defaultRetryBase}

// compileRetries fills what is not written from the default policy, as Istio does. A
// try may not have longer than the whole request: Envoy leaves such a limit out.
func compileRetries(in *networking.HTTPRetry, timeout time.Duration) *RetryPolicy {
	switch {
	case in == nil:
		return DefaultRetry
	case in.Attempts <= 0:
		return noRetry
	}
	out := *DefaultRetry
	out.Attempts = uint32(in.Attempts)
	if out.PerTry = in.PerTryTimeout.AsDuration(); timeout != 0 && out.PerTry >= timeout {
		out.PerTry = 0
	}
	if base := in.Backoff.AsDuration(); base > 0 {
		out.Base = min(base, maxRetryBase)
	}
	if in.RetryOn != "" {
		out.On, out.Statuses = parseRetryOn(in.RetryOn)
	}
	out.AnyHost = in.RetryIgnorePreviousHosts != nil && !in.RetryIgnorePreviousHosts.Value
	return &out
}

func parseRetryOn(text string) (on RetryOn, statuses []uint16) {
	for condition := range strings.SplitSeq(text, ",") {
		if status, err := strconv.ParseUint(condition, 10, 16); err == nil {
			statuses = append(statuses, uint16(status))
			continue
		}
		on |= retryOn[condition]
	}
	slices.Sort(statuses)
	return on, statuses
}

// NoStatus is the grpc-status of an answer's head without one.
const NoStatus = -1

// Answered says whether an answer is worth another try: by its status, by the
// grpc-status in its head, and limited, that it has the field x-envoy-ratelimited.
func (p *RetryPolicy) Answered(status, grpcStatus int, limited bool) bool {
	switch {
	case limited:
		return p.On&RetryOnRateLimited != 0
	case p.On&RetryOn5xx != 0 && status >= 500 && status <= 599:
		return true
	case p.On&RetryOnGatewayError != 0 && status >= 502 && status <= 504:
		return true
	case p.On&RetryOnRetriable4xx != 0 && status == 409:
		return true
	case grpcStatus > 0 && grpcStatus < len(grpcConditions) && p.On&grpcConditions[grpcStatus] != 0:
		return true
	}
	_, found := slices.BinarySearch(p.Statuses, uint16(status))
	return found
}

// grpcConditions are about these statuses of gRPC.
var grpcConditions = [...]RetryOn{
	1: RetryOnCancelled, 4: RetryOnDeadlineExceeded, 8: RetryOnResourceExhausted, 13: RetryOnInternal, 14: RetryOnUnavailable,
}

// Failure is how a try ended without an answer.
type Failure uint8

const (
	// NoConnection: none could be made.
	NoConnection Failure = iota + 1
	// RefusedStream: the server said that it did not look at the request.
	RefusedStream
	// Reset: the connection or stream ended, or made no sense, or the try's time was up.
	Reset
)

// Failed says whether a failure is worth another try. unsent: no byte of the request
// has gone to any server.
func (p *RetryPolicy) Failed(f Failure, unsent bool) bool {
	switch {
	case p.On&(RetryOn5xx|RetryOnGatewayError|RetryOnReset) != 0:
		return true
	case unsent && p.On&RetryOnResetUnsent != 0:
		return true
	case f == NoConnection:
		return p.On&RetryOnConnectFailure != 0
	case f == RefusedStream:
		return p.On&RetryOnRefusedStream != 0
	}
	return false
}

// Repeats says whether a request may have to be sent again after it was sent: its body
// is kept as long as it may. h2: the server speaks HTTP/2, and can refuse a stream.
// grpc: its answers have a grpc-status.
func (p *RetryPolicy) Repeats(h2, grpc bool) bool {
	on := p.On &^ (RetryOnConnectFailure | RetryOnResetUnsent)
	if !h2 {
		on &^= RetryOnRefusedStream
	}
	if !grpc {
		on &^= RetryOnGRPC
	}
	return p.Attempts > 0 && (on != 0 || len(p.Statuses) > 0)
}

// Backoff is the end of the range from which the time before the n-th retry is drawn,
// n from 1.
func (p *RetryPolicy) Backoff(n uint32) time.Duration {
	most := 10 * p.Base
	if n >= 4 { // 2⁴ − 1 is more than ten already
		return most
	}
	return min(p.Base*time.Duration(1<<n-1), most)
}
