package proxy

import (
	"net/netip"
	"strconv"
	"time"
)

// appendTextLine writes Istio's default line: the fields of the JSON in the same
// order, without their names, "-" for what does not exist.
func appendTextLine(b []byte, e *entry, now time.Time) []byte {
	b = append(b, '[')
	b = e.start.UTC().AppendFormat(b, timestamp)
	b = append(b, `] "`...)
	b = appendPlain(b, e.method, maxLogged)
	b = append(b, ' ')
	b = appendPlain(b, e.path, maxLoggedPath)
	b = append(b, ' ')
	b = appendPlain(b, e.version, maxLogged)
	b = append(b, `" `...)
	b = strconv.AppendInt(b, int64(e.status), 10)
	b = appendPlain(append(b, ' '), e.flags, maxLogged)
	b = appendWord(append(b, ' '), e.details)
	b = appendWord(append(b, ' '), e.termination)
	b = appendInQuotes(b, e.transportFailure)
	for _, n := range []int64{e.received, e.sent, now.Sub(e.start).Milliseconds()} {
		b = strconv.AppendInt(append(b, ' '), n, 10)
	}
	b = append(b, ' ')
	if e.answered() {
		b = strconv.AppendInt(b, e.serviceTime.Milliseconds(), 10)
	} else {
		b = append(b, '-')
	}
	for _, value := range [][]byte{e.forwardedFor, e.userAgent, e.requestID, e.authority} {
		b = appendInQuotes(b, value)
	}
	b = appendPlainAddress(append(b, ` "`...), e.upstreamHost)
	b = append(b, `" `...)
	b = appendWord(b, e.clusterName())
	for _, a := range []netip.AddrPort{e.upstreamLocal, e.destination, e.source} {
		b = appendPlainAddress(append(b, ' '), a)
	}
	b = appendWord(append(b, ' '), e.serverName)
	b = appendWord(append(b, ' '), e.route)
	if e.wouldRefuse != "" {
		b = appendWord(append(b, " would_refuse="...), string(e.wouldRefuse))
	}
	return append(b, '\n')
}

func appendInQuotes[T string | []byte](b []byte, value T) []byte {
	b = appendPlain(append(b, ` "`...), value, maxLogged)
	return append(b, '"')
}

func appendPlainAddress(b []byte, a netip.AddrPort) []byte {
	if !a.IsValid() {
		return append(b, '-')
	}
	return a.AppendTo(b)
}

// appendPlain writes a value between quotes that are there already. What would
// end them, or the line, is written as \xNN.
func appendPlain[T string | []byte](b []byte, value T, limit int) []byte {
	if len(value) == 0 {
		return append(b, '-')
	}
	for i := 0; i < len(value); i++ {
		if i >= limit {
			return append(b, "..."...)
		}
		if c := value[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			b = append(b, `\x`...)
			b = append(b, hexDigits[c>>4], hexDigits[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}

// appendWord writes a value that stands without quotes: Envoy puts _ for a space.
func appendWord(b []byte, value string) []byte {
	at := len(b)
	b = appendPlain(b, value, maxLogged)
	for i := at; i < len(b); i++ {
		if b[i] == ' ' {
			b[i] = '_'
		}
	}
	return b
}
