package proxy

import (
	"github.com/sluice-cni/sluice/proxy/http2"
)

// serveHTTP2 answers the requests of a connection that began with the preface of
// HTTP/2, each on a goroutine of its own and each routed by its own :authority.
func (c *connection) serveHTTP2() {
	if c.bePolled() != nil {
		return
	}
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		return
	}
	h := http2.Server(c.tcp, c.in.bytes(), http2.Config{
		Handle:     c.serveStream,
		Malformed:  c.malformedStream,
		Fault:      c.streamFailed,
		Take:       c.server.bodies.take,
		GiveBack:   c.server.bodies.giveBack,
		Try:        func(b []byte) (int, error) { return tryWrite(raw.Write, b) },
		StreamIdle: c.server.cfg.StreamIdleTimeout, Idle: idleTimeout, HeadTimeout: headTimeout,
	})
	c.in.release()
	c.h2.Store(h)
	if c.server.draining.Load() { // which may have looked before
		h.Shutdown()
	}
	bad, _ := h.Serve().(*http2.ConnError)
	if bad != nil {
		c.malformedConnection(bad)
		c.closeGently()
	}
}

// malformedConnection records the end of a connection whose peer broke the rules.
func (c *connection) malformedConnection(bad *http2.ConnError) {
	c.malformedStream(&http2.StreamError{Detail: "http2." + detail(bad.Code) + ": " + bad.Detail})
}

// malformedStream records a request that was refused before it had a head.
func (c *connection) malformedStream(bad *http2.StreamError) {
	e := c.entry("http")
	e.version, e.refusal = "HTTP/2", Malformed
	e.flags, e.details = "DPE", bad.Detail
	c.server.record(e)
}

// streamFailed reports a fault of ours in one request; its stream is reset, and
// the others go on.
func (c *connection) streamFailed(fault any) {
	c.server.log.Error("a request failed inside the proxy; it was reset, others go on",
		"source", c.src, "destination", c.dst, "fault", fault, "stack", stack())
}

// detail is an error code as a response code detail.
func detail(code http2.ErrCode) string {
	switch code {
	case http2.EnhanceYourCalm:
		return "flood"
	case http2.FlowControlError:
		return "flow_control"
	case http2.CompressionError:
		return "compression_error"
	case http2.FrameSizeError:
		return "frame_size"
	}
	return "protocol_error"
}
