package observed

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/vip"
)

// Log is what an access log in JSON says of what REGISTRY_ONLY would refuse
// (docs/observability.md has its keys).
type Log struct {
	Rows  []Row // without Register, in no order
	Lines int   // of the access log, whatever they are about
	// Other are lines that are none: of the agent's own log, cut ones.
	Other int
	// Text are those of Other that are of an access log in text and would be refused:
	// their fields cannot be told apart safely.
	Text int
}

// maxLine is the longest line that is read, in bytes; the proxy's are shorter.
const maxLine = 1 << 20

// logLine is what counts of a line.
type logLine struct {
	Start       time.Time `json:"start_time"`
	Protocol    string    `json:"protocol"`
	Authority   string    `json:"authority"`
	Destination string    `json:"downstream_local_address"`
	ServerName  string    `json:"requested_server_name"`
	WouldRefuse string    `json:"would_refuse"`
	Flags       string    `json:"response_flags"`
	Namespace   string    `json:"pod_namespace"`
}

// textLine begins a line of an access log in text, behind a prefix of kubectl's or none.
// What a pod chose to ask for stands in other lines too, the agent's own, but never there.
var textLine = regexp.MustCompile(`^(\[pod/[^] ]*\] )?\[\d{4}-\d\d-\d\dT[0-9:.]+Z\] "`)

// ReadLog reads an access log to its end. A prefix before a line's "{", as kubectl writes
// them, is passed over.
func ReadLog(r io.Reader) (Log, error) {
	var l Log
	rows := map[What]*Row{}
	in := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
			l.Other++
		} else if len(bytes.TrimSpace(line)) > 0 {
			l.read(line, rows)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return l, err
		}
	}
	for _, row := range rows {
		l.Rows = append(l.Rows, *row)
	}
	return l, nil
}

func (l *Log) read(line []byte, rows map[What]*Row) {
	from := max(bytes.IndexByte(line, '{'), 0)
	var in logLine
	if err := json.Unmarshal(line[from:], &in); err != nil || in.Start.IsZero() || in.Destination == "" {
		l.Other++
		if textLine.Match(line) && bytes.Contains(line, []byte(" would_refuse=unregistered")) {
			l.Text++
		}
		return
	}
	l.Lines++
	w, ok := in.what()
	if !ok {
		return
	}
	row := rows[w]
	if row == nil {
		row = &Row{What: w, First: in.Start, Last: in.Start}
		rows[w] = row
	}
	row.Count++
	if slices.Contains(strings.Split(in.Flags, ","), "UF") {
		row.Unreached++
	}
	row.First, row.Last = earlier(row.First, in.Start), later(row.Last, in.Start)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// what is the destination of a line that REGISTRY_ONLY would refuse since nobody registers
// it; false: it is about something else.
func (in logLine) what() (What, bool) {
	to, err := netip.ParseAddrPort(in.Destination)
	if in.WouldRefuse != "unregistered" || err != nil {
		return What{}, false
	}
	name := strings.ToLower(cmp.Or(in.ServerName, hostOf(in.Authority)))
	if name == "" && vip.Contains(to.Addr()) { // which is nobody's any more
		return What{}, false
	}
	protocol := mesh.TCP
	switch {
	case in.Protocol == "HTTP/2":
		protocol = mesh.HTTP2
	case in.Protocol != "":
		protocol = mesh.HTTP
	case in.ServerName != "":
		protocol = mesh.TLS
	}
	return what(in.Namespace, name, to.Addr(), to.Port(), protocol), true
}

// hostOf is an authority without its port and the last dot.
func hostOf(authority string) string {
	i := strings.LastIndexByte(authority, ':')
	if i >= 0 && !strings.Contains(authority[i:], "]") && strings.Trim(authority[i+1:], "0123456789") == "" {
		authority = authority[:i]
	}
	return strings.TrimSuffix(authority, ".")
}
