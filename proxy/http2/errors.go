package http2

import (
	"errors"
	"fmt"
	"strconv"
)

// ErrCode is the reason in RST_STREAM and GOAWAY (RFC 9113 §7).
type ErrCode uint32

// The codes.
const (
	NoError ErrCode = iota
	ProtocolError
	InternalError
	FlowControlError
	SettingsTimeout
	StreamClosed
	FrameSizeError
	RefusedStream
	Cancel
	CompressionError
	ConnectError
	EnhanceYourCalm
	InadequateSecurity
	HTTP11Required
)

var codeNames = [...]string{"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
	"STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR",
	"ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"}

func (c ErrCode) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return "error code " + strconv.FormatUint(uint64(c), 10)
}

// ConnError ends a connection and every stream on it.
type ConnError struct {
	Code   ErrCode
	Detail string
}

func (e *ConnError) Error() string { return "HTTP/2: " + e.Detail + " (" + e.Code.String() + ")" }

func connError(code ErrCode, detail string) *ConnError { return &ConnError{code, detail} }

// StreamError ends one stream.
type StreamError struct {
	Code ErrCode
	// Remote says that the peer ended it.
	Remote bool
	// Detail says what was wrong, where we ended it.
	Detail string
}

func (e *StreamError) Error() string {
	if e.Remote {
		return "the stream was reset by the peer: " + e.Code.String()
	}
	return "stream reset: " + e.Detail + " (" + e.Code.String() + ")"
}

// ClosedError is ErrClosed where it is known what ended the connection.
type ClosedError struct{ Cause error }

func (e *ClosedError) Error() string { return ErrClosed.Error() + ": " + e.Cause.Error() }

// Is makes it an ErrClosed. It is nothing of what its cause is: a write that was not
// taken in time is no stream on which nothing moves.
func (e *ClosedError) Is(target error) bool { return target == ErrClosed }

// Why a stream ended other than by a reset.
var (
	// ErrClosed is a connection that ended under the stream.
	ErrClosed = errors.New("the HTTP/2 connection was closed")
	// ErrUnprocessed is a stream that the peer has not looked at: it may be sent
	// again (GOAWAY with a lower identifier, REFUSED_STREAM, a connection that
	// takes no more streams).
	ErrUnprocessed = errors.New("the peer did not process the stream")
	// ErrRefused is an ErrUnprocessed with REFUSED_STREAM from a peer that had told us
	// its limits.
	ErrRefused = fmt.Errorf("%w: it refused it", ErrUnprocessed)
	// ErrIdle is a stream on which nothing moved for Config.StreamIdle.
	ErrIdle = errors.New("nothing moved on the stream for too long")
	// ErrNoMemory is a stream whose data Config.Take refused.
	ErrNoMemory = &StreamError{Code: EnhanceYourCalm, Detail: "no memory for its data"}
	// ErrInterrupted is returned by Stream.Take after Stream.Interrupt.
	ErrInterrupted = errors.New("interrupted")
)
