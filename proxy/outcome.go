package proxy

import (
	"net/netip"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/http2"
)

// outcome is what became of one try at a host: the status of its answer (of a gRPC
// request's the one that its grpc-status stands for, where the head has it), or how it
// ended without one.
type outcome int

const (
	unreached   outcome = iota // no connection could be made
	broken                     // the connection or stream ended
	overdue                    // its time, or the request's, was up
	hostReached                // a connection for opaque bytes was made
)

// reportFailure tells of a try without an answer, whose reply is r.
func (u *upstream) reportFailure(e *entry, r *localReply, late overdueBy) {
	why := e.failure
	if why == nil {
		why = r
	}
	switch {
	case late != inTime:
		u.report(e.upstreamHost, overdue, why)
	case r.failure != 0:
		u.report(e.upstreamHost, broken, why)
	}
}

// reportAnswer tells of an answer's head.
func (u *upstream) reportAnswer(host netip.AddrPort, head *http2.Head, grpc bool) {
	status := head.Status
	if grpc {
		if code, _ := inHead(head.Fields); code != mesh.NoStatus {
			status = grpcOutcome(code)
		}
	}
	u.report(host, outcome(status), nil)
}

// grpcOutcome is the HTTP status that a grpc-status stands for, as Envoy maps them.
func grpcOutcome(grpc int) int {
	if grpc < 0 || grpc >= len(grpcOutcomes) {
		return 500
	}
	return grpcOutcomes[grpc]
}

var grpcOutcomes = [...]int{200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401}
