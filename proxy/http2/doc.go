// Package http2 carries HTTP/2 connections (RFC 9113), as the server towards an
// application and as the client towards an upstream, for a proxy that stands
// between them: heads, data and trailers pass as they come, and whatever two
// implementations could read differently is refused.
//
// A Conn owns one connection and one goroutine that reads it; a Stream is one
// request on it. What a peer may hold of our memory is bounded: by a window for
// each stream, by the number of streams, and by limits on frames that carry
// nothing. One stream's slow reader holds up that stream alone.
//
// It knows no routes and answers no request by itself. Frames are taken apart
// here, since a proxy forwards them by the hundred thousand; header compression
// is golang.org/x/net/http2/hpack.
package http2
