package proxy

import (
	"io"
	"net/netip"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/http2"
)

// exchange is one request on an upstream connection, and its answer, whatever
// version of HTTP that connection speaks. One goroutine may write the request
// while another reads the answer.
type exchange interface {
	// write sends a part of the body; end says that it is the last and that no
	// trailers follow. It may keep the part until flush.
	write(data []byte, end bool) error
	// writeTrailers ends the request with fields after its body.
	writeTrailers(fields []http2.Field) error
	// flush sends what write kept.
	flush() error
	// answer waits for the next head: interim ones, then the final one.
	answer() (http2.Head, error)
	// over says, after the final head, that neither body nor trailers follow.
	over() bool
	// take returns the next part of the body, which is the caller's until the next
	// take, and whether it is the last; io.EOF ends a body whose last part did not
	// say so.
	take() (data []byte, last bool, err error)
	// trailers are the fields after a body that ended with io.EOF.
	trailers() []http2.Field
	// consumed tells that n bytes of the body have gone on.
	consumed(n int)
	// ready says that take would not wait.
	ready() bool
	// cancel gives the exchange up; any goroutine may call it.
	cancel()
	// finish ends the use of the exchange. whole says that both messages ended.
	finish(whole bool)
	// fresh says that the request may be sent again after err: nothing of it was
	// processed, or its connection, used before, ended at that very moment and what
	// might have been processed does no harm twice.
	fresh(err error) bool
	// untouched says that no byte of the request has gone.
	untouched() bool
	// ends are the upstream's address and ours.
	ends() (host, local netip.AddrPort)
}

// speaksHTTP2 says which version a cluster's connections speak: the one that the
// port declares, else the application's own.
func speaksHTTP2(c *mesh.Cluster, application bool) bool {
	return c.Protocol == mesh.HTTP2 || c.Protocol == mesh.Unset && application
}

// idempotent methods may be sent twice (RFC 9110 §9.2.2).
func idempotent[T string | []byte](method T) bool {
	switch string(method) {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}

// lengthless answers carry no Content-Length (RFC 9110 §8.6): clients that wait for
// that many bytes take the next answer's for them.
func lengthless(status int) bool { return status < 200 || status == 204 }

// outgoing is a request's head as it goes upstream.
type outgoing struct {
	method, authority, path string
	fields                  []http2.Field // no pseudo-header and no hop-by-hop field
	length                  int64         // of the body; -1: not known
	body                    []byte        // what is here of it
	end                     bool          // and that this is all, without trailers
}

// bare says that the request is its head alone.
func (o *outgoing) bare() bool { return o.end && len(o.body) == 0 }

// drain uses up an answer that nobody wants, and says whether all of it was here.
func drain(x exchange) (whole bool) {
	last := x.over()
	for !last && x.ready() {
		data, end, err := x.take()
		if err != nil {
			return err == io.EOF
		}
		x.consumed(len(data))
		last = end
	}
	return last
}
