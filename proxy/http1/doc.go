// Package http1 parses and writes HTTP/1.x messages (RFC 9112) without copying
// and without allocating. It is strict: whatever two parsers could read
// differently is an error, so that nothing can be smuggled past the proxy.
//
// It reads byte slices and touches no connection. Parsed values are views into
// the caller's buffer and live as long as that buffer stays untouched.
//
//	var r http1.Request
//	n, err := r.Parse(buf)   // n == 0 and err == nil: more bytes are needed
package http1

// Limits of a message head and of a trailer section; Envoy's defaults.
const (
	MaxHeadBytes  = 60 << 10 // start line and fields together
	MaxFields     = 100
	maxConnTokens = 9 // names listed in Connection; ten are refused
)
