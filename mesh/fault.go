package mesh

import (
	"math"
	"time"

	networking "istio.io/api/networking/v1alpha3"
)

// Fault is what is done to a share of a rule's requests on purpose (http[].fault): they
// are held back, or answered as if they had failed. The two are drawn one by one. It is
// immutable.
type Fault struct {
	Delay       time.Duration // 0: none are held back
	DelayShare  uint32        // of a million
	AbortStatus int           // 0: none are answered
	AbortGRPC   int           // the answer's grpc-status to gRPC; -1: that which stands for AbortStatus
	AbortShare  uint32        // of a million
}

// Million is what shares are parts of, as Istio has it: 0.0001 % is the least.
const Million = 1_000_000

// AbortsAll says that no request goes on; a nil fault lets all.
func (f *Fault) AbortsAll() bool { return f != nil && f.AbortShare == Million }

// grpcStatuses are the names that abort.grpcStatus may have, in the order of their codes.
var grpcStatuses = []string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
	"UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

func grpcCode(name string) int {
	for code, known := range grpcStatuses {
		if known == name {
			return code
		}
	}
	return -1
}

// compileFault is nil where there is none that could happen. never says that a percent
// of 0 was written out, which the message does not tell from none.
func compileFault(in *networking.HTTPFaultInjection, never bool) *Fault {
	f := &Fault{AbortGRPC: -1}
	if delay := in.GetDelay(); delay.GetFixedDelay().AsDuration() > 0 {
		f.Delay, f.DelayShare = delay.GetFixedDelay().AsDuration(), share(delay.Percentage)
		//lint:ignore SA1019 it is followed as long as Istio follows it
		if old := delay.Percent; delay.Percentage == nil && (old > 0 || never) {
			f.DelayShare = uint32(old) * (Million / 100)
		}
	}
	switch abort := in.GetAbort(); kind := abort.GetErrorType().(type) {
	case *networking.HTTPFaultInjection_Abort_HttpStatus:
		f.AbortStatus, f.AbortShare = int(kind.HttpStatus), share(abort.Percentage)
	case *networking.HTTPFaultInjection_Abort_GrpcStatus:
		f.AbortStatus, f.AbortGRPC, f.AbortShare = 200, grpcCode(kind.GrpcStatus), share(abort.Percentage)
	}
	if f.DelayShare == 0 && f.AbortShare == 0 {
		return nil
	}
	return f
}

// share is a percentage's part of a million; all where none is written.
func share(p *networking.Percent) uint32 {
	if p == nil {
		return Million
	}
	return uint32(math.Round(p.Value * (Million / 100)))
}
