package http2

import "encoding/binary"

// frameType is RFC 9113 §6.
type frameType uint8

const (
	frameData frameType = iota
	frameHeaders
	framePriority
	frameRSTStream
	frameSettings
	framePushPromise
	framePing
	frameGoAway
	frameWindowUpdate
	frameContinuation
)

// The flags; END_STREAM and ACK are the same bit.
const (
	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

const (
	frameHeaderLen = 9
	// maxFrame is the payload we accept and the least that a peer must: the
	// initial SETTINGS_MAX_FRAME_SIZE, which we leave as it is.
	maxFrame = 16 << 10
	// maxStreamID is the last identifier there is.
	maxStreamID = 1<<31 - 1
)

// Preface is what a client sends first (RFC 9113 §3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// frame is one frame taken apart: payload is a view without padding and priority.
type frame struct {
	kind    frameType
	flags   uint8
	stream  uint32
	payload []byte
	// length is what flow control counts: the payload with its padding.
	length int
}

func (f *frame) has(flag uint8) bool { return f.flags&flag != 0 }

// parseFrame reads a frame from the start of b and returns its whole length. Zero
// and a nil error ask for more bytes.
func parseFrame(b []byte) (frame, int, *ConnError) {
	if len(b) < frameHeaderLen {
		return frame{}, 0, nil
	}
	length := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	f := frame{kind: frameType(b[3]), flags: b[4], stream: binary.BigEndian.Uint32(b[5:]) & maxStreamID, length: length}
	if length > maxFrame {
		return f, 0, connError(FrameSizeError, "a frame larger than was agreed")
	}
	if err := f.checkHeader(); err != nil {
		return f, 0, err
	}
	if len(b) < frameHeaderLen+length {
		return f, 0, nil
	}
	f.payload = b[frameHeaderLen : frameHeaderLen+length : frameHeaderLen+length]
	return f, frameHeaderLen + length, f.unpad()
}

// checkHeader holds a frame to the lengths and identifiers of RFC 9113 §6, before
// its payload has come.
func (f *frame) checkHeader() *ConnError {
	switch f.kind {
	case frameData, frameHeaders, framePriority, frameRSTStream, framePushPromise, frameContinuation:
		if f.stream == 0 {
			return connError(ProtocolError, "a frame of a stream on the connection itself")
		}
	case frameSettings, framePing, frameGoAway:
		if f.stream != 0 {
			return connError(ProtocolError, "a frame of the connection on a stream")
		}
	}
	switch f.kind {
	case framePriority:
		return f.wants(f.length == 5)
	case frameRSTStream, frameWindowUpdate:
		return f.wants(f.length == 4)
	case frameSettings:
		return f.wants(f.length%6 == 0 && (f.length == 0 || !f.has(flagAck)))
	case framePing:
		return f.wants(f.length == 8)
	case frameGoAway:
		return f.wants(f.length >= 8)
	}
	return nil
}

func (f *frame) wants(good bool) *ConnError {
	if good {
		return nil
	}
	return connError(FrameSizeError, "a frame of a wrong size")
}

// unpad takes padding and the priority of old from the payload.
func (f *frame) unpad() *ConnError {
	padding := 0
	if f.has(flagPadded) && (f.kind == frameData || f.kind == frameHeaders) {
		if len(f.payload) == 0 {
			return connError(FrameSizeError, "a padded frame without a pad length")
		}
		padding, f.payload = int(f.payload[0]), f.payload[1:]
	}
	if f.kind == frameHeaders && f.has(flagPriority) {
		if len(f.payload) < 5 {
			return connError(FrameSizeError, "a frame of a wrong size")
		}
		f.payload = f.payload[5:]
	}
	if padding > len(f.payload) {
		return connError(ProtocolError, "more padding than payload")
	}
	f.payload = f.payload[:len(f.payload)-padding]
	return nil
}

func appendFrameHeader(b []byte, kind frameType, flags uint8, stream uint32, length int) []byte {
	b = append(b, byte(length>>16), byte(length>>8), byte(length), byte(kind), flags)
	return binary.BigEndian.AppendUint32(b, stream)
}

func appendWord(b []byte, kind frameType, stream, word uint32) []byte {
	return binary.BigEndian.AppendUint32(appendFrameHeader(b, kind, 0, stream, 4), word)
}

func appendGoAway(b []byte, last uint32, code ErrCode, why string) []byte {
	b = appendFrameHeader(b, frameGoAway, 0, 0, 8+len(why))
	b = binary.BigEndian.AppendUint32(b, last)
	b = binary.BigEndian.AppendUint32(b, uint32(code))
	return append(b, why...)
}

func appendPing(b []byte, flags uint8, data [8]byte) []byte {
	return append(appendFrameHeader(b, framePing, flags, 0, 8), data[:]...)
}

// appendHeaders writes a header block as HEADERS and as many CONTINUATIONs as it
// needs.
func appendHeaders(b []byte, stream uint32, block []byte, end bool, max int) []byte {
	kind, flags := frameHeaders, uint8(0)
	if end {
		flags = flagEndStream
	}
	for {
		part := block[:min(len(block), max)]
		block = block[len(part):]
		if len(block) == 0 {
			flags |= flagEndHeaders
		}
		b = append(appendFrameHeader(b, kind, flags, stream, len(part)), part...)
		if len(block) == 0 {
			return b
		}
		kind, flags = frameContinuation, 0
	}
}
