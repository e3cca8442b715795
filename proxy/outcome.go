package proxy

import "net/netip"

// outcome is what became of one try at a host: the status of its answer (of a gRPC
// request's the one that its grpc-status stands for, where the head has it), or how it
// ended without one.
type outcome int

const (
	unreached outcome = iota // no connection could be made
	broken                   // the connection or stream ended
	overdue                  // its time, or the request's, was up
)

// report is told of each try, by goroutines and loops alike.
func (u *upstream) report(netip.AddrPort, outcome) {}

// mayRetry counts a retry, unless there are too many of this cluster's at once. It is
// over with retryEnded.
func (u *upstream) mayRetry() bool { return true }

func (u *upstream) retryEnded() {}
