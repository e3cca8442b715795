package http1

import "strconv"

// AppendRequestLine writes the line that goes upstream, always HTTP/1.1.
func AppendRequestLine(dst, method, path []byte) []byte {
	dst = append(dst, method...)
	dst = append(dst, ' ')
	dst = append(dst, path...)
	return append(dst, " HTTP/1.1\r\n"...)
}

// AppendStatusLine writes a status line. An empty reason is filled in where the
// status has a usual one.
func AppendStatusLine(dst []byte, status int, reason []byte) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, reason...)
	return append(dst, "\r\n"...)
}

// AppendField writes one field.
func AppendField(dst []byte, name string, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// Append writes the field as it was received.
func (f *Field) Append(dst []byte) []byte {
	dst = append(dst, f.Name...)
	dst = append(dst, ": "...)
	dst = append(dst, f.Value...)
	return append(dst, "\r\n"...)
}

// AppendChunkHead writes the size line of a chunk of n bytes.
func AppendChunkHead(dst []byte, n int) []byte {
	dst = strconv.AppendInt(dst, int64(n), 16)
	return append(dst, "\r\n"...)
}

// AppendLastChunk writes the last chunk, the trailers that may go on, and the end.
func AppendLastChunk(dst []byte, trailers []Field) []byte {
	dst = append(dst, "0\r\n"...)
	for i := range trailers {
		if !trailers[i].Hop {
			dst = trailers[i].Append(dst)
		}
	}
	return append(dst, "\r\n"...)
}
