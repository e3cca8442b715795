package proxy

import (
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/proxy/http2"
)

// Limits bound what a server, and so a pod, may hold at once. A zero field is its
// default. Over a limit HTTP is answered 503 with the flag UO and
// x-envoy-overloaded, everything else is reset; below it all goes on by itself.
type Limits struct {
	// Connections from the application. Default: half of the descriptors that this
	// process may open, less a reserve (512, or a quarter), at most 10 000; a
	// connection and its way upstream need two.
	Connections int
	// Idle are connections to servers that wait for another request; default a quarter of
	// Connections. They are also to be no more than what those in use leave of
	// Connections. The longest idle are closed.
	Idle int
	// Connects are upstream connections being made; default 1024. A black hole keeps
	// each for the connect timeout.
	Connects int
	// Memory is what buffers may take beyond the first 4 KiB of each connection, in
	// bytes; default 64 MiB. Only heads and ClientHellos larger than that need it.
	Memory int64
	// Streams are HTTP/2 requests under way; default as many as Connections. Each may
	// need a connection upstream of its own.
	Streams int
	// Bodies is what bodies may take, in bytes; default 128 MiB. One half is for what
	// has come over HTTP/2, either way, and cannot go on: a stream that finds no room is
	// reset. The other is for what is kept of requests, in either version, to be sent
	// again if need be: one that finds no room is not sent again.
	Bodies int64
	// Share is what the server has of what several have together; nil: it is alone.
	// Then the defaults are those of one pod among many: 2000 Connections, 256 Connects,
	// 8 MiB of Memory, 16 MiB of Bodies.
	Share *Share
}

const (
	maxConnections    = 10_000
	reserve           = 512
	defaultConnects   = 1024
	defaultMemory     = 64 << 20
	defaultBodies     = 128 << 20
	descriptorsEach   = 2
	unknownDescriptor = 1024 // POSIX's customary soft limit

	sharedConnections = 2000
	sharedConnects    = 256
	sharedMemory      = 8 << 20
	sharedBodies      = 16 << 20
)

func (l Limits) withDefaults() Limits {
	connections, connects, memory, bodies := maxConnections, defaultConnects, int64(defaultMemory), int64(defaultBodies)
	if l.Share != nil {
		connections, connects, memory, bodies = sharedConnections, sharedConnects, sharedMemory, sharedBodies
	}
	if l.Connections == 0 {
		n := descriptorLimit()
		l.Connections = min(connections, max(1, (n-min(reserve, n/4))/descriptorsEach))
	}
	if l.Idle == 0 {
		l.Idle = max(1, l.Connections/4)
	}
	if l.Connects == 0 {
		l.Connects = connects
	}
	if l.Memory == 0 {
		l.Memory = memory
	}
	if l.Streams == 0 {
		l.Streams = l.Connections
	}
	if l.Bodies == 0 {
		l.Bodies = bodies
	}
	return l
}

func descriptorLimit() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return unknownDescriptor
	}
	return int(min(r.Cur, 1<<30))
}

// budget is an amount that many connections share.
type budget struct {
	left atomic.Int64
	claim
}

// take reports false, and takes nothing, where less than n is left.
func (b *budget) take(n int64) bool {
	if b.left.Add(-n) >= 0 && b.claim.take(n) {
		return true
	}
	b.left.Add(n)
	return false
}

func (b *budget) giveBack(n int64) {
	b.claim.giveBack(n)
	b.left.Add(n)
}

// overload is a limit that was reached; nobody upstream is to blame.
type overload struct{ what string }

func (o *overload) Error() string { return o.what }

var (
	tooManyConnections = &overload{"as many connections as are allowed are open (--max-connections)"}
	noShare            = &overload{"this workload has more than its share of the node's connections, and no more are to be had"}
	tooManyConnects    = &overload{"as many upstream connections as are allowed are being made; is an upstream a black hole?"}
	noDescriptors      = &overload{"no descriptor is left for an upstream connection; raise the limit of open files"}
	tooManyStreams     = &overload{"as many HTTP/2 requests as are allowed are under way"}
	noMemory           = &overload{"the memory for large heads is used up"}
	noBodies           = &overload{"the memory for HTTP/2 bodies that cannot go on is used up; is there a server that does not read, or a client?"}
)

func isOverload(err error) bool {
	var o *overload
	return errors.As(err, &o)
}

// noneLeft reports that descriptors ran out, the process's or the machine's.
func noneLeft(err error) bool { return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) }

// overflow is the reply over a limit, in the words of Envoy's circuit breakers.
func overflow() *localReply {
	return &localReply{status: 503, flags: "UO", body: resetBody + "reset reason: overflow",
		details: "upstream_reset_before_response_started{overflow}",
		extra:   http2.Field{Name: "x-envoy-overloaded", Value: "true"}}
}

// overflowBytes is the same for a connection that is not even read properly.
func overflowBytes() []byte {
	r := overflow()
	head := fmt.Sprintf("HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n", len(r.body))
	return append(appendDate(appendField1([]byte(head), &r.extra)), "server: envoy\r\nconnection: close\r\n\r\n"+r.body...)
}
