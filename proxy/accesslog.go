package proxy

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// entry is one line of the access log, and what is known of a request or
// connection while it lasts.
type entry struct {
	start    time.Time
	protocol string // http, tls or tcp

	method, path, authority []byte // reused from request to request
	serverName              string

	status           int
	flags, details   string
	transportFailure string
	received, sent   int64
	serviceTime      time.Duration

	source, destination         netip.AddrPort
	upstreamHost, upstreamLocal netip.AddrPort
	cluster, route              string
	failure                     error // what the operator should read, beyond the flags
}

// reset makes e ready for another request, keeping its memory.
func (e *entry) reset(protocol string, start time.Time, c *connection) {
	*e = entry{
		method: e.method[:0], path: e.path[:0], authority: e.authority[:0],
		protocol: protocol, start: start, source: c.src, destination: c.dst,
	}
}

// entry begins the line of a connection that carries opaque bytes.
func (c *connection) entry(protocol string) *entry {
	e := &entry{}
	e.reset(protocol, time.Now(), c)
	return e
}

// fail notes why no endpoint was reached.
func (e *entry) fail(err error) {
	e.failure = err
	e.flags, e.details = "UF", err.Error()
}

// record logs what an operator must see and writes the access log's line.
func (s *Server) record(e *entry) {
	if e.cluster == blackHole {
		s.log.Info("refused: not registered", "protocol", e.protocol, "host", e.host(), "destination", e.destination,
			"source", e.source, "hint", "register it with a ServiceEntry for this host and port, or set --outbound-policy ALLOW_ANY")
	}
	if errors.Is(e.failure, errNotItsName) {
		s.log.Info("refused: the destination is not an address of the registered name", "protocol", e.protocol,
			"host", e.host(), "cluster", e.cluster, "destination", e.destination, "source", e.source,
			"hint", "list the address under spec.addresses of the ServiceEntry if it belongs to the service")
	} else if e.failure != nil {
		s.log.Warn("upstream failed", "protocol", e.protocol, "host", e.host(), "cluster", e.cluster,
			"upstream", e.upstreamHost, "destination", e.destination, "error", e.failure)
	}
	if s.access != nil {
		s.access.write(e)
	}
}

func (e *entry) host() string {
	if e.serverName != "" {
		return e.serverName
	}
	return string(e.authority)
}

// accessLog collects lines and writes them out in batches.
type accessLog struct {
	out io.Writer

	mu  sync.Mutex
	buf []byte
}

const (
	accessFlushEvery = 100 * time.Millisecond
	accessFlushAt    = 64 << 10
)

func newAccessLog(out io.Writer) *accessLog { return &accessLog{out: out} }

func (l *accessLog) write(e *entry) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = appendEntry(l.buf, e, now)
	if len(l.buf) >= accessFlushAt {
		l.flushLocked()
	}
}

// flush writes what was collected, until ctx ends.
func (l *accessLog) flush(ctx context.Context) {
	tick := time.NewTicker(accessFlushEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		l.mu.Lock()
		l.flushLocked()
		l.mu.Unlock()
	}
}

func (l *accessLog) flushLocked() {
	if len(l.buf) > 0 {
		l.out.Write(l.buf) // a log that cannot be written must not stop traffic
		l.buf = l.buf[:0]
	}
}

// appendEntry writes the line: Istio's field names in snake case.
func appendEntry(b []byte, e *entry, now time.Time) []byte {
	b = append(b, `{"start_time":"`...)
	b = e.start.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	b = append(b, `","protocol":"`...)
	b = append(b, e.protocol...)
	b = append(b, '"')
	if e.protocol == "http" {
		b = appendText(b, "method", e.method)
		b = appendText(b, "path", e.path)
		b = appendText(b, "authority", e.authority)
	}
	b = appendNumber(b, "response_code", int64(e.status))
	b = appendWord(b, "response_flags", orDash(e.flags))
	b = appendWord(b, "response_code_details", orDash(e.details))
	b = appendWord(b, "upstream_transport_failure_reason", orDash(e.transportFailure))
	b = appendNumber(b, "bytes_received", e.received)
	b = appendNumber(b, "bytes_sent", e.sent)
	b = appendNumber(b, "duration", now.Sub(e.start).Milliseconds())
	b = appendNumber(b, "upstream_service_time", e.serviceTime.Milliseconds())
	b = appendAddress(b, "upstream_host", e.upstreamHost)
	b = appendWord(b, "upstream_cluster", orDash(e.cluster))
	b = appendAddress(b, "upstream_local_address", e.upstreamLocal)
	b = appendAddress(b, "downstream_local_address", e.destination)
	b = appendAddress(b, "downstream_remote_address", e.source)
	b = appendWord(b, "requested_server_name", orDash(e.serverName))
	b = appendWord(b, "route_name", orDash(e.route))
	return append(b, "}\n"...)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func appendKey(b []byte, key string) []byte {
	b = append(b, `,"`...)
	b = append(b, key...)
	return append(b, `":`...)
}

func appendNumber(b []byte, key string, n int64) []byte {
	return strconv.AppendInt(appendKey(b, key), n, 10)
}

func appendAddress(b []byte, key string, a netip.AddrPort) []byte {
	b = append(appendKey(b, key), '"')
	if a.IsValid() {
		b = a.AppendTo(b)
	} else {
		b = append(b, '-')
	}
	return append(b, '"')
}

func appendWord(b []byte, key, value string) []byte {
	return appendQuoted(appendKey(b, key), value)
}

func appendText(b []byte, key string, value []byte) []byte {
	return appendQuoted(appendKey(b, key), value)
}

// appendQuoted writes a JSON string (RFC 8259 §7). What a stranger sent may hold
// anything; bytes that are no UTF-8 become the replacement character.
func appendQuoted[T string | []byte](b []byte, value T) []byte {
	b = append(b, '"')
	for i := 0; i < len(value); {
		c := value[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
			i++
		case c < 0x20:
			const hex = "0123456789abcdef"
			b = append(b, `\u00`...)
			b = append(b, hex[c>>4], hex[c&15])
			i++
		case c < utf8.RuneSelf:
			b = append(b, c)
			i++
		default:
			r, size := utf8.DecodeRune([]byte(value[i:min(i+utf8.UTFMax, len(value))]))
			b = utf8.AppendRune(b, r)
			i += size
		}
	}
	return append(b, '"')
}
