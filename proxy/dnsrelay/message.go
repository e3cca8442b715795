package dnsrelay

import "encoding/binary"

// message is a DNS message as it was on the wire.
type message []byte

const headerLength = 12

// isQuery tells a question from an answer or noise. Only questions are relayed.
func (m message) isQuery() bool { return len(m) >= headerLength && m[2]&0x80 == 0 }

// answers reports whether m answers query: same id, and the answer bit is set.
func (m message) answers(query message) bool {
	return len(m) >= headerLength && m[2]&0x80 != 0 && m.id() == query.id()
}

func (m message) id() uint16 { return binary.BigEndian.Uint16(m) }

// isTransfer reports AXFR and IXFR, whose answer may be many messages.
func (m message) isTransfer() bool {
	end := m.questionEnd()
	if end < 0 {
		return false
	}
	qtype := binary.BigEndian.Uint16(m[end-4:])
	return qtype == 251 || qtype == 252
}

// questionEnd is where the single question ends, -1 when there is none. A
// question's name is never compressed: nothing stands before it.
func (m message) questionEnd() int {
	if len(m) < headerLength || binary.BigEndian.Uint16(m[4:]) != 1 {
		return -1
	}
	i := headerLength
	for i < len(m) && m[i] != 0 {
		if m[i] > 63 {
			return -1
		}
		i += int(m[i]) + 1
	}
	if i+5 > len(m) {
		return -1
	}
	return i + 5
}

// serverFailure is the SERVFAIL answer to m, with its question when it has one.
func (m message) serverFailure() message {
	end := m.questionEnd()
	if end < 0 {
		end = headerLength
	}
	answer := append(message(nil), m[:end]...)
	answer[2] = answer[2]&0x79 | 0x80 // keep opcode and RD, set QR
	answer[3] = 0x80 | 2              // RA, SERVFAIL
	clear(answer[4:headerLength])
	if end > headerLength {
		answer[5] = 1
	}
	return answer
}
