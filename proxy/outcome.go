package proxy

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
