package proxy

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// connectError is a connection that could not be made.
type connectError struct {
	err error
	tls bool // TCP stood, TLS failed
}

func (e *connectError) Error() string { return e.err.Error() }
func (e *connectError) Unwrap() error { return e.err }

// reason is Envoy's wording of the failure.
func (e *connectError) reason() string {
	if e.tls {
		return "remote connection failure, transport failure reason: " + tlsReason(e.err)
	}
	if errors.Is(e.err, context.DeadlineExceeded) || errors.Is(e.err, unix.ETIMEDOUT) || isTimeout(e.err) {
		return "connection timeout"
	}
	text := e.err.Error()
	var errno unix.Errno
	if errors.As(e.err, &errno) {
		text = errno.Error()
	}
	return "remote connection failure, transport failure reason: delayed connect error: " + upperFirst(text)
}

// kind is the failure as metrics name it.
func (e *connectError) kind() ConnectFailure {
	if errors.Is(e.err, context.Canceled) {
		return ConnectCanceled
	}
	if errors.Is(e.err, context.DeadlineExceeded) || errors.Is(e.err, unix.ETIMEDOUT) || isTimeout(e.err) {
		return ConnectTimeout
	}
	if !e.tls {
		return ConnectRefused
	}
	switch tlsKeyword(e.err) {
	case certificateKeyword:
		return TLSCertificate
	case versionKeyword:
		return TLSNotSpoken
	}
	return TLSHandshake
}

// failureOf is the kind of what may be another error than a connectError.
func failureOf(err error) ConnectFailure {
	var ce *connectError
	if errors.As(err, &ce) {
		return ce.kind()
	}
	return ConnectRefused
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
