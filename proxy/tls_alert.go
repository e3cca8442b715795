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
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" { // crypto/tls has no type for it
		return nil
	}
	r := connectFailure(e, &connectError{err: err, tls: true}, context.Background())
	r.failure = mesh.Reset // the request was sent
	return r
}
