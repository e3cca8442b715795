package http1

import "bytes"

// maxChunkLine bounds a chunk-size line with its extensions.
const maxChunkLine = 4 << 10

// ChunkReader takes a chunked body apart (RFC 9112 §7.1). The zero value stands
// at the first chunk. Extensions are read and dropped.
type ChunkReader struct {
	state     chunkState
	remaining int64
	// Trailers are the fields after the last chunk, valid once Next reports done
	// and until its buffer is touched.
	Trailers []Field
}

type chunkState uint8

const (
	atSize chunkState = iota
	inData
	atDataEnd
	atTrailers
)

// Next takes what it can from b: it returns the next run of body bytes (a view,
// perhaps empty) and how many bytes of b it consumed. Zero consumed and not done
// asks for more bytes. After done the body has ended.
func (c *ChunkReader) Next(b []byte) (data []byte, consumed int, done bool, err *Error) {
	for {
		rest := b[consumed:]
		switch c.state {
		case atSize:
			n, err := c.size(rest)
			if err != nil || n == 0 {
				return nil, consumed, false, err
			}
			consumed += n
		case inData:
			if len(rest) == 0 {
				return nil, consumed, false, nil
			}
			data = rest
			if int64(len(data)) > c.remaining {
				data = data[:c.remaining]
			}
			c.remaining -= int64(len(data))
			if c.remaining == 0 {
				c.state = atDataEnd
			}
			return data, consumed + len(data), false, nil
		case atDataEnd:
			if len(rest) < 2 {
				if len(rest) == 1 && rest[0] != '\r' {
					return nil, consumed, false, errChunkEnd
				}
				return nil, consumed, false, nil
			}
			if rest[0] != '\r' || rest[1] != '\n' {
				return nil, consumed, false, errChunkEnd
			}
			consumed += 2
			c.state = atSize
		case atTrailers:
			n, err := c.trailers(rest)
			return nil, consumed + n, n > 0, err
		}
	}
}

func (c *ChunkReader) size(b []byte) (int, *Error) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		if len(b) > maxChunkLine {
			return 0, errChunkSize
		}
		return 0, nil
	}
	if i > maxChunkLine {
		return 0, errChunkSize
	}
	line, _, err := cutLine(b[:i+1])
	if err != nil {
		return 0, err
	}
	size, digits := int64(0), 0
	for digits < len(line) {
		v := hexValue(line[digits])
		if v < 0 {
			break
		}
		if digits == 15 {
			return 0, errChunkSize
		}
		size, digits = size<<4|int64(v), digits+1
	}
	if digits == 0 || !extension(line[digits:]) {
		return 0, errChunkSize
	}
	c.remaining = size
	c.state = inData
	if size == 0 {
		c.state = atTrailers
	}
	return i + 1, nil
}

// extension accepts nothing, or a semicolon and no control after it. White space
// before the semicolon, which RFC 9112 tolerates, some parsers refuse.
func extension(b []byte) bool {
	return len(b) == 0 || b[0] == ';' && goodValue(b)
}

// trailers reads the trailer section, which must be in b as a whole.
func (c *ChunkReader) trailers(b []byte) (int, *Error) {
	if len(b) >= 2 && b[0] == '\r' && b[1] == '\n' {
		c.Trailers = c.Trailers[:0]
		return 2, nil
	}
	end, err := headEnd(b)
	if err != nil || end == 0 {
		return 0, err
	}
	c.Trailers, err = parseFields(b[:end], c.Trailers[:0])
	if err != nil {
		return 0, err
	}
	for i := range c.Trailers { // RFC 9110 §6.5.1: never framing or routing
		switch c.Trailers[i].ID {
		case Other, Server, Date:
		default:
			c.Trailers[i].Hop = true
		}
	}
	return end, nil
}

// Reset makes c ready for another body.
func (c *ChunkReader) Reset() { *c = ChunkReader{Trailers: c.Trailers[:0]} }

func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
