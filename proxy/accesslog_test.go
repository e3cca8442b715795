package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	l := NewAccessLog(out, AccessLogJSON, slog.New(slog.DiscardHandler))
	p := l.join(false, func(n int64) { lost.Add(n) })
	ctx, stop := context.WithCancel(context.Background())
	var writer sync.WaitGroup
	writer.Go(func() { l.Run(ctx) })
	const lines = 50_000 // of 600 bytes: far more than is kept
	e := fullEntry()
	for range lines {
		p.write(e, e.start, nil)
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
	l := NewAccessLog(out, AccessLogJSON, slog.New(slog.DiscardHandler))
	l.join(false, func(int64) {}).write(fullEntry(), time.Now(), nil)
	ctx, stop := context.WithCancel(context.Background())
	stop()
	begun := time.Now()
	l.Run(ctx)
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
	l := NewAccessLog(out, AccessLogJSON, slog.New(slog.NewTextHandler(&log, nil)))
	p := l.join(false, func(n int64) { lost += n })
	for range 3 {
		for range 2 {
			p.write(e, e.start, nil)
		}
		l.flush()
	}
	out.room = 1 << 20
	p.write(e, e.start, nil)
	l.flush()
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

// One pod writes without end while nobody reads; another's lines are all there, and what
// is lost is told to whom it was.
func TestAFloodOfLinesCostsItsOwnPodsLines(t *testing.T) {
	t.Parallel()
	e := fullEntry()
	for format, isLine := range map[AccessLogFormat]string{
		AccessLogJSON: `"route_name":"default","pod_namespace":"%s","pod_name":"%s"}`, AccessLogText: " - default %s %s",
	} {
		out := &disk{room: 64 << 20}
		l := NewAccessLog(out, format, slog.New(slog.DiscardHandler))
		var lost [100]int64
		floods := make([]*accessPart, len(lost))
		for i := range floods {
			floods[i] = l.join(true, func(n int64) { lost[i] += n })
		}
		var quietLost int64
		quiet := l.join(true, func(n int64) { quietLost += n })
		loud, still := &mesh.Workload{Namespace: "noise", Pod: "loud-1"}, &mesh.Workload{Namespace: "shop", Pod: "web-1"}
		const lines, few = 400, 20
		for range lines {
			for _, p := range floods {
				p.write(e, e.start, loud)
			}
		}
		for range few {
			quiet.write(e, e.start, still)
		}
		if most := accessKeep + len(lost)*(accessSure+1024) + accessSure; len(l.buf) > most {
			t.Errorf("%d bytes are kept, more than %d", len(l.buf), most)
		}
		l.flush()
		if got := strings.Count(out.String(), fmt.Sprintf(isLine+"\n", "shop", "web-1")); got != few || quietLost != 0 {
			t.Errorf("%d lines of %d, %d lost", got, few, quietLost)
		}
		var all int64
		for i, n := range lost {
			if all += n; n == 0 {
				t.Errorf("flood %d lost nothing", i)
			}
		}
		if got := strings.Count(out.String(), fmt.Sprintf(isLine+"\n", "noise", "loud-1")); int64(got)+all != int64(lines*len(lost)) {
			t.Errorf("%d written and %d lost of %d", got, all, lines*len(lost))
		}
		if format == AccessLogJSON {
			for line := range strings.Lines(out.String()) {
				if !json.Valid([]byte(line)) {
					t.Fatal(line)
				}
			}
		}
		// A disk that is full: who wrote what is lost is told.
		out.room = 0
		before := lost[0]
		floods[0].write(e, e.start, loud)
		quiet.write(e, e.start, still)
		quiet.write(e, e.start, still)
		l.flush()
		if lost[0] != before+1 || quietLost != 2 {
			t.Errorf("%d and %d were told lost, of 1 and 2", lost[0]-before, quietLost)
		}
	}
}

// While nobody writes nothing runs; the first line is out soon.
func TestALineOfASharedLogIsWrittenSoon(t *testing.T) {
	t.Parallel()
	read, write := io.Pipe()
	l := NewAccessLog(write, AccessLogText, nil)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { l.Run(ctx) })
	p := l.join(true, func(int64) {})
	lines := bufio.NewScanner(read)
	for i := range 3 {
		p.write(fullEntry(), time.Now(), &mesh.Workload{Namespace: "a", Pod: fmt.Sprint("p", i)})
		if !lines.Scan() || !strings.HasSuffix(lines.Text(), fmt.Sprintf(" a p%d", i)) {
			t.Errorf("%q, %v", lines.Text(), lines.Err())
		}
	}
	stop()
	running.Wait()
}
