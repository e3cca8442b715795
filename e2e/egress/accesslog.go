package egress

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"time"
)

// Line is a line of the proxy's access log, by Istio's keys.
type Line struct {
	Method           string `json:"method"`
	Path             string `json:"path"`
	Protocol         string `json:"protocol"`
	Status           int    `json:"response_code"`
	Flags            string `json:"response_flags"`
	Details          string `json:"response_code_details"`
	Termination      string `json:"connection_termination_details"`
	TransportFailure string `json:"upstream_transport_failure_reason"`
	Received         int64  `json:"bytes_received"`
	Sent             int64  `json:"bytes_sent"`
	Duration         int64  `json:"duration"` // ms
	RequestID        string `json:"request_id"`
	Authority        string `json:"authority"`
	UpstreamHost     string `json:"upstream_host"`
	Cluster          string `json:"upstream_cluster"`
	Destination      string `json:"downstream_local_address"`
	Source           string `json:"downstream_remote_address"`
	ServerName       string `json:"requested_server_name"`
	Route            string `json:"route_name"`

	Text string `json:"-"` // the line as it was written
}

// accessLog keeps the lines that a proxy writes.
type accessLog struct {
	mu    sync.Mutex
	rest  []byte // a line that has not ended
	lines []Line
	bad   []string

	written count // of batches
}

func (l *accessLog) Write(b []byte) (int, error) {
	defer l.written.another()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, b...)
	for {
		text, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		line := Line{Text: string(text)}
		if err := json.Unmarshal(text, &line); err != nil {
			l.bad = append(l.bad, string(text))
		}
		l.lines = append(l.lines, line)
		l.rest = bytes.Clone(rest)
	}
}

// find waits for the line that is meant: lines are written in batches. Without one the
// test ends, with what the pod's logs have instead.
func (p *Pod) find(what string, meant func(Line) bool) Line {
	t, l := p.T, &p.access
	t.Helper()
	seen := 0
	deadline := time.After(patience)
	for {
		_, more := l.written.now()
		l.mu.Lock()
		fresh, bad := l.lines[seen:], l.bad
		seen = len(l.lines)
		l.mu.Unlock()
		for _, line := range fresh {
			if meant(line) {
				return line
			}
		}
		if len(bad) > 0 {
			t.Fatalf("lines of the access log that are no JSON: %q", bad)
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("%s: no line in the access log within %s, which has\n%s\nthe operator's log:\n%s", what, patience, l.text(), p.Log.String())
		}
	}
}

// text is the whole log.
func (l *accessLog) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out strings.Builder
	for _, line := range l.lines {
		out.WriteString(line.Text + "\n")
	}
	return out.String() + string(l.rest)
}

// Lines are those that were written until now.
func (p *Pod) Lines() []Line {
	p.access.mu.Lock()
	defer p.access.mu.Unlock()
	return append([]Line(nil), p.access.lines...)
}
