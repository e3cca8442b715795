package proxy

import (
	"context"
	"errors"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/http1"
	"github.com/sluice-cni/sluice/proxy/http2"
)

// connectFailure is the reply to a request that reached no endpoint.
func connectFailure(e *entry, err error, ctx context.Context) *localReply {
	e.failure = err
	var ce *connectError
	switch {
	case ctx.Err() != nil:
		return routeTimeout()
	case err == errLeft:
		e.failure = nil
		return abandoned()
	case errors.As(err, &ce):
		e.transportFailure = ce.reason()
		return &localReply{status: 503, reason: ce.reason(), flags: "UF", failure: mesh.NoConnection,
			details: "upstream_reset_before_response_started{connection_failure}"}
	case isOverload(err):
		e.refusal = Overloaded
		return overflow()
	case errors.Is(err, errNotItsName):
		return &localReply{status: 502, flags: "-", details: "destination_not_of_name"}
	case errors.Is(err, errUnsafe):
		return &localReply{status: 502, flags: "-", details: "name_leads_to_unsafe_address"}
	}
	if all, is := err.(*ejection); is && e.transportFailure == "" {
		e.transportFailure = all.transport
	}
	return &localReply{status: 503, body: "no healthy upstream", flags: "UH", details: "no_healthy_upstream"}
}

const resetBody = "upstream connect error or disconnect/reset before headers. "

func routeTimeout() *localReply {
	return &localReply{status: 504, body: "upstream request timeout", flags: "UT", details: "upstream_response_timeout"}
}

// tryTimeout is the reply to a request of which one try has taken too long.
func tryTimeout() *localReply {
	return &localReply{status: 504, body: "upstream request timeout", flags: "UT", details: "upstream_per_try_timeout", failure: mesh.Reset}
}

func upstreamClosed() *localReply {
	return &localReply{status: 503, reason: "connection termination", flags: "UC", failure: mesh.Reset,
		details: "upstream_reset_before_response_started{connection_termination}"}
}

// upstreamFailure is the reply to a request whose answer never began, by the
// upstream's doing; idle is the one for nothing having moved.
func upstreamFailure(e *entry, err error, idle *localReply) *localReply {
	var bad *http1.Error
	var stream *http2.StreamError
	var conn *http2.ConnError
	switch {
	case errors.Is(err, http2.ErrUnprocessed):
		return &localReply{status: 503, reason: "remote refused stream reset", flags: "UR", failure: mesh.RefusedStream,
			details: "upstream_reset_before_response_started{remote_refused_stream_reset}"}
	case errors.Is(err, http2.ErrNoMemory):
		return overflow()
	case errors.As(err, &stream) && stream.Remote:
		return &localReply{status: 503, reason: "remote reset", flags: "UR", failure: mesh.Reset,
			details: "upstream_reset_before_response_started{remote_reset}"}
	case errors.As(err, &stream):
		return protocolError(stream.Detail)
	case errors.As(err, &conn):
		return protocolError("http2." + detail(conn.Code))
	case errors.As(err, &bad):
		return protocolError(bad.Detail)
	case isTimeout(err), errors.Is(err, http2.ErrIdle):
		return idle
	}
	if r := alerted(e, err); r != nil {
		return r
	}
	return upstreamClosed()
}

func protocolError(detail string) *localReply {
	return &localReply{status: 502, reason: "protocol error", flags: "UPE", failure: mesh.Reset,
		details: "upstream_reset_before_response_started{protocol_error:" + detail + "}"}
}
