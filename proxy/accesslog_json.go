package proxy

import (
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"
)

// Bounds of what a client may write into a line; what is cut ends in "…".
const (
	maxLogged     = 512  // bytes of one field
	maxLoggedPath = 2048 // bytes of the path
)

const timestamp = "2006-01-02T15:04:05.000Z"

// appendJSON writes a line with Istio's keys. As in Envoy what does not exist is
// null: every field of HTTP for a TCP connection.
func appendJSON(b []byte, e *entry, now time.Time) []byte {
	b = append(b, `{"start_time":"`...)
	b = e.start.UTC().AppendFormat(b, timestamp)
	b = append(b, '"')
	b = appendOptional(b, "method", e.method, maxLogged)
	b = appendOptional(b, "path", e.path, maxLoggedPath)
	b = appendOptional(b, "protocol", e.version, maxLogged)
	b = appendNumber(b, "response_code", int64(e.status))
	b = appendQuoted(appendKey(b, "response_flags"), orDash(e.flags), maxLogged)
	b = appendOptional(b, "response_code_details", e.details, maxLogged)
	b = appendOptional(b, "connection_termination_details", e.termination, maxLogged)
	b = appendOptional(b, "upstream_transport_failure_reason", e.transportFailure, maxLogged)
	b = appendNumber(b, "bytes_received", e.received)
	b = appendNumber(b, "bytes_sent", e.sent)
	b = appendNumber(b, "duration", now.Sub(e.start).Milliseconds())
	b = appendServiceTime(b, e)
	b = appendOptional(b, "x_forwarded_for", e.forwardedFor, maxLogged)
	b = appendOptional(b, "user_agent", e.userAgent, maxLogged)
	b = appendOptional(b, "request_id", e.requestID, maxLogged)
	b = appendOptional(b, "authority", e.authority, maxLogged)
	b = appendAddress(b, "upstream_host", e.upstreamHost)
	b = appendOptional(b, "upstream_cluster", e.clusterName(), maxLogged)
	b = appendAddress(b, "upstream_local_address", e.upstreamLocal)
	b = appendAddress(b, "downstream_local_address", e.destination)
	b = appendAddress(b, "downstream_remote_address", e.source)
	b = appendOptional(b, "requested_server_name", e.serverName, maxLogged)
	b = appendOptional(b, "route_name", e.route, maxLogged)
	if e.wouldRefuse != "" {
		b = appendQuoted(appendKey(b, "would_refuse"), string(e.wouldRefuse), maxLogged)
	}
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

// appendServiceTime writes a string: in Envoy it is a header's value.
func appendServiceTime(b []byte, e *entry) []byte {
	b = appendKey(b, "upstream_service_time")
	if !e.answered() {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = strconv.AppendInt(b, e.serviceTime.Milliseconds(), 10)
	return append(b, '"')
}

// answered says that an upstream's head came.
func (e *entry) answered() bool { return e.serviceTime > 0 }

func appendAddress(b []byte, key string, a netip.AddrPort) []byte {
	b = appendKey(b, key)
	if !a.IsValid() {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = a.AppendTo(b)
	return append(b, '"')
}

func appendOptional[T string | []byte](b []byte, key string, value T, limit int) []byte {
	b = appendKey(b, key)
	if len(value) == 0 {
		return append(b, "null"...)
	}
	return appendQuoted(b, value, limit)
}

// appendQuoted writes a JSON string (RFC 8259 §7). What a stranger sent may hold
// anything; bytes that are no UTF-8 become the replacement character.
func appendQuoted[T string | []byte](b []byte, value T, limit int) []byte {
	b = append(b, '"')
	for i := 0; i < len(value); {
		if i >= limit {
			b = append(b, "…"...)
			break
		}
		c := value[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
			i++
		case c < 0x20 || c == 0x7f:
			b = append(b, `\u00`...)
			b = append(b, hexDigits[c>>4], hexDigits[c&15])
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

const hexDigits = "0123456789abcdef"
