package proxy

import (
	"context"
	"errors"
	"net"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/http2"
)

// alerted is the reply to a request where the server ended TLS by an alert in place of
// an answer, nil where it did not. With TLS 1.3 that is how a client's certificate is
// refused: the handshake is over for the client by then.
func alerted(e *entry, err error) *localReply {
	var closed *http2.ClosedError
	if errors.As(err, &closed) {
		err = closed.Cause
	}
	if !isAlert(err) {
		return nil
	}
	r := connectFailure(e, &connectError{err: err, tls: true}, context.Background())
	r.failure = mesh.Reset // the request was sent
	return r
}

// isAlert reports what the server has said; crypto/tls has no type for it.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}
