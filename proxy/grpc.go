package proxy

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/http1"
	"github.com/sluice-cni/sluice/proxy/http2"
)

// messageCount counts gRPC messages as they pass: each is one byte of flags, four of
// length, and that many more. Of other bodies its number means nothing.
type messageCount struct {
	n      int64
	prefix [5]byte
	have   int   // bytes of prefix
	left   int64 // of the message
}

func (c *messageCount) add(data []byte) {
	for len(data) > 0 {
		if c.left > 0 {
			skip := min(c.left, int64(len(data)))
			data, c.left = data[skip:], c.left-skip
			continue
		}
		k := copy(c.prefix[c.have:], data)
		c.have, data = c.have+k, data[k:]
		if c.have == len(c.prefix) {
			c.n, c.have = c.n+1, 0
			c.left = int64(binary.BigEndian.Uint32(c.prefix[1:]))
		}
	}
}

// isGRPC knows a gRPC request by its content type, application/grpc or
// application/grpc+something, in whatever version of HTTP it comes, as Envoy does.
func isGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(contentType, "application/grpc")
	return ok && (rest == "" || rest[0] == '+')
}

// grpcFields are a local reply in gRPC's form but for its :status, which is 200: an
// answer that is nothing but its head ("Trailers-Only"; gRPC over HTTP/2,
// "Responses").
func grpcFields(l localReply, isHead bool) []http2.Field {
	fields := []http2.Field{{Name: "content-type", Value: "application/grpc"}, {Name: "grpc-status", Value: strconv.Itoa(grpcStatus(l))}}
	if l.body != "" && !isHead {
		fields = append(fields, http2.Field{Name: "grpc-message", Value: percentEncode(l.body)})
	}
	return fields
}

// grpcStatus maps a reply's status as gRPC's own table and Envoy do; a route's
// timeout is DEADLINE_EXCEEDED (Envoy since 2026), which is not worth a retry.
func grpcStatus(l localReply) int {
	if l.grpc > 0 {
		return l.grpc - 1
	}
	if strings.HasPrefix(l.flags, "UT") {
		return 4
	}
	switch l.status {
	case 400:
		return 13 // INTERNAL
	case 401:
		return 16 // UNAUTHENTICATED
	case 403:
		return 7 // PERMISSION_DENIED
	case 404:
		return 12 // UNIMPLEMENTED
	case 429, 502, 503, 504:
		return 14 // UNAVAILABLE
	}
	return 2 // UNKNOWN
}

// percentEncode writes a grpc-message (gRPC over HTTP/2, "Responses").
func percentEncode(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '%' {
			const hex = "0123456789ABCDEF"
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// keepStatus notes the grpc-status of an answer's trailers, or of its head where it
// is nothing else.
func (e *entry) keepStatus(fields []http2.Field) {
	if !e.grpc {
		return
	}
	for i := range fields {
		if fields[i].Name == "grpc-status" {
			e.keepCode(fields[i].Value)
		}
	}
}

// keepStatus1 is keepStatus for an answer in HTTP/1.
func (e *entry) keepStatus1(fields []http1.Field) {
	if !e.grpc {
		return
	}
	for i := range fields {
		if f := &fields[i]; http1.EqualFold(f.Name, "grpc-status") {
			e.keepCode(string(f.Value))
		}
	}
}

func (e *entry) keepCode(text string) {
	if code := grpcCode(text); code != mesh.NoStatus {
		e.grpcStatus = code
	}
}

// grpcCode reads a grpc-status; NoStatus is none that gRPC knows.
func grpcCode(text string) int {
	if n, err := strconv.ParseUint(text, 10, 16); err == nil && n <= 16 {
		return int(n)
	}
	return mesh.NoStatus
}
