package http2

import "encoding/binary"

// The settings we look at (RFC 9113 §6.5.2).
const (
	settingHeaderTableSize   = 0x1
	settingEnablePush        = 0x2
	settingMaxStreams        = 0x3
	settingInitialWindowSize = 0x4
	settingMaxFrameSize      = 0x5
	settingMaxHeaderListSize = 0x6
)

const (
	defaultWindow = 65535
	maxWindow     = 1<<31 - 1
	// tableSize is the compression table's, ours and the most we use of a peer's.
	tableSize = 4 << 10
)

// settings are what the peer said of itself.
type settings struct {
	table      uint32
	maxStreams uint32
	window     int64 // of a new stream
	maxFrame   int
}

// initialSettings hold until the peer's arrive. It is taken to allow as many
// streams as nearly every peer does: what is refused is sent again elsewhere.
var initialSettings = settings{table: tableSize, maxStreams: 100, window: defaultWindow, maxFrame: maxFrame}

// apply reads a SETTINGS payload; one it does not know is ignored.
func (s *settings) apply(payload []byte) *ConnError {
	for ; len(payload) >= 6; payload = payload[6:] {
		v := binary.BigEndian.Uint32(payload[2:])
		switch binary.BigEndian.Uint16(payload) {
		case settingHeaderTableSize:
			s.table = v
		case settingEnablePush:
			if v > 1 {
				return connError(ProtocolError, "a wrong SETTINGS_ENABLE_PUSH")
			}
		case settingMaxStreams:
			s.maxStreams = v
		case settingInitialWindowSize:
			if v > maxWindow {
				return connError(FlowControlError, "a wrong SETTINGS_INITIAL_WINDOW_SIZE")
			}
			s.window = int64(v)
		case settingMaxFrameSize:
			if v < maxFrame || v > 1<<24-1 {
				return connError(ProtocolError, "a wrong SETTINGS_MAX_FRAME_SIZE")
			}
			s.maxFrame = int(v)
		}
	}
	return nil
}

func appendSetting(b []byte, id uint16, v uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, id), v)
}
