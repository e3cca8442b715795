package proxy

import (
	"encoding/binary"
	"strconv"

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

// keepStatus notes the grpc-status of an answer's trailers, or of its head where it
// is nothing else.
func (e *entry) keepStatus(fields []http2.Field) {
	if !e.grpc {
		return
	}
	for i := range fields {
		if fields[i].Name == "grpc-status" {
			if n, err := strconv.ParseUint(fields[i].Value, 10, 16); err == nil && n <= 16 {
				e.grpcStatus = int(n)
			}
		}
	}
}
