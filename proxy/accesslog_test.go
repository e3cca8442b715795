package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

func fullEntry() *entry {
	return &entry{
		start: time.Date(2026, 11, 25, 1, 2, 3, 4_000_000, time.UTC), protocol: "http", version: "HTTP/1.1",
		method: []byte("GET"), path: []byte("/a?b=c"), authority: []byte("a.test"), userAgent: []byte("curl/8"),
		forwardedFor: []byte("10.0.0.1"), requestID: []byte("id-1"), status: 200, details: "via_upstream",
		received: 1, sent: 2, serviceTime: 5 * time.Millisecond,
		source: netip.MustParseAddrPort("10.0.0.9:1234"), destination: netip.MustParseAddrPort("203.0.113.1:80"),
		upstreamHost: netip.MustParseAddrPort("192.0.2.1:443"), upstreamLocal: netip.MustParseAddrPort("10.0.0.9:4321"),
		cluster: &mesh.Cluster{Name: "outbound|80||a.test"}, route: "default",
	}
}

func TestAccessLogLinesAreWrittenAsIstioDoes(t *testing.T) {
	t.Parallel()
	e := fullEntry()
	end := e.start.Add(7 * time.Millisecond)
	tcp := &entry{start: e.start, protocol: "tcp", source: e.source, destination: e.destination, flags: "UH", cluster: blackHole}
	for _, x := range []struct {
		got, want string
	}{
		{string(appendJSON(nil, e, end)), `{"start_time":"2026-11-25T01:02:03.004Z","method":"GET","path":"/a?b=c","protocol":"HTTP/1.1","response_code":200,"response_flags":"-","response_code_details":"via_upstream","connection_termination_details":null,"upstream_transport_failure_reason":null,"bytes_received":1,"bytes_sent":2,"duration":7,"upstream_service_time":"5","x_forwarded_for":"10.0.0.1","user_agent":"curl/8","request_id":"id-1","authority":"a.test","upstream_host":"192.0.2.1:443","upstream_cluster":"outbound|80||a.test","upstream_local_address":"10.0.0.9:4321","downstream_local_address":"203.0.113.1:80","downstream_remote_address":"10.0.0.9:1234","requested_server_name":null,"route_name":"default"}` + "\n"},
		{string(appendTextLine(nil, e, end)), `[2026-11-25T01:02:03.004Z] "GET /a?b=c HTTP/1.1" 200 - via_upstream - "-" 1 2 7 5 "10.0.0.1" "curl/8" "id-1" "a.test" "192.0.2.1:443" outbound|80||a.test 10.0.0.9:4321 203.0.113.1:80 10.0.0.9:1234 - default` + "\n"},
		{string(appendTextLine(nil, tcp, end)), `[2026-11-25T01:02:03.004Z] "- - -" 0 UH - - "-" 0 0 7 - "-" "-" "-" "-" "-" BlackHoleCluster - 203.0.113.1:80 10.0.0.9:1234 - -` + "\n"},
	} {
		if x.got != x.want {
			t.Errorf("\n got %s\nwant %s", x.got, x.want)
		}
	}
	var fields map[string]any
	if err := json.Unmarshal(appendJSON(nil, tcp, end), &fields); err != nil || fields["protocol"] != nil || fields["method"] != nil {
		t.Errorf("%v %v", fields, err)
	}
}

func TestWhatAClientSendsCannotForgeOrFillTheAccessLog(t *testing.T) {
	t.Parallel()
	for _, hostile := range []string{
		"a\"b", "a\\", "\n{\"start_time\":\"\"}", "\x00\x1b[31m\x7f", "\xff\xfe", "\xe2\x80", strings.Repeat("x", 60<<10), strings.Repeat("é", 30<<10), strings.Repeat("\x01", 60<<10),
	} {
		e := fullEntry()
		e.method, e.path, e.authority, e.userAgent = []byte(hostile), []byte(hostile), []byte(hostile), []byte(hostile)
		e.forwardedFor, e.requestID, e.serverName = []byte(hostile), []byte(hostile), hostile
		line := appendJSON(nil, e, e.start)
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil || bytes.Count(line, []byte("\n")) != 1 || len(fields) != 24 {
			t.Errorf("%.20q: %v, %d fields", hostile, err, len(fields))
		}
		text := appendTextLine(nil, e, e.start)
		if bytes.Count(text, []byte("\n")) != 1 || bytes.Count(text, []byte(`"`)) != 14 {
			t.Errorf("%.20q: %s", hostile, text)
		}
		if limit := 64 << 10; len(line) > limit || len(text) > limit {
			t.Errorf("%.20q: %d and %d bytes", hostile, len(line), len(text))
		}
	}
}

// stuck is a reader that does not read, until freed.
type stuck struct {
	free    chan struct{}
	written atomic.Int64
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.free
	s.written.Add(int64(bytes.Count(p, []byte("\n"))))
	return len(p), nil
}

func TestAReaderThatDoesNotReadCostsLinesNotTime(t *testing.T) {
	t.Parallel()
	out := &stuck{free: make(chan struct{})}
	var lost atomic.Int64
	l := newAccessLog(out, AccessLogJSON, slog.New(slog.DiscardHandler), func(n int64) { lost.Add(n) })
	ctx, stop := context.WithCancel(context.Background())
	var writer sync.WaitGroup
	writer.Go(func() { l.flush(ctx) })
	const lines = 50_000 // of 600 bytes: far more than is kept
	e := fullEntry()
	for range lines {
		l.write(e, e.start)
	}
	l.mu.Lock()
	if len(l.buf) > accessKeep+4096 {
		t.Errorf("%d bytes are kept", len(l.buf))
	}
	l.mu.Unlock()
	close(out.free)
	stop()
	writer.Wait()
	if got := out.written.Load() + lost.Load(); got != lines || lost.Load() == 0 {
		t.Errorf("%d written, %d lost, of %d", out.written.Load(), lost.Load(), lines)
	}
}

func TestServingEndsAlthoughTheAccessLogIsStuck(t *testing.T) {
	t.Parallel()
	out := &stuck{free: make(chan struct{})}
	defer close(out.free)
	l := newAccessLog(out, AccessLogJSON, slog.New(slog.DiscardHandler), func(int64) {})
	l.write(fullEntry(), time.Now())
	ctx, stop := context.WithCancel(context.Background())
	stop()
	begun := time.Now()
	l.flush(ctx)
	if took := time.Since(begun); took > 10*accessGrace {
		t.Errorf("it took %v", took)
	}
}

// disk is full after so many bytes, until it is not.
type disk struct {
	bytes.Buffer
	room int
}

func (d *disk) Write(p []byte) (int, error) {
	n := min(d.room, len(p))
	d.room -= n
	d.Buffer.Write(p[:n])
	if n < len(p) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

func TestAFullDiskSpoilsOneLineAndTheRestIsCounted(t *testing.T) {
	t.Parallel()
	e := fullEntry()
	size := len(appendJSON(nil, e, e.start))
	out := &disk{room: size + size/2}
	var lost int64
	var log bytes.Buffer
	l := newAccessLog(out, AccessLogJSON, slog.New(slog.NewTextHandler(&log, nil)), func(n int64) { lost += n })
	for range 3 {
		for range 2 {
			l.write(e, e.start)
		}
		l.batch()
	}
	out.room = 1 << 20
	l.write(e, e.start)
	l.batch()
	whole, spoiled := 0, 0
	for line := range strings.Lines(out.String()) {
		if json.Valid([]byte(line)) {
			whole++
		} else {
			spoiled++
		}
	}
	if whole != 2 || spoiled != 1 || lost != 5 {
		t.Errorf("%d whole, %d spoiled, %d lost", whole, spoiled, lost)
	}
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("the log has %d lines:\n%s", n, &log)
	}
}
