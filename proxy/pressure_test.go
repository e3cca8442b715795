package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

const simpleRequest = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"

// outcome is what became of a request: its status, or how it failed.
func outcome(c net.Conn) (*http.Response, string) {
	if _, err := io.WriteString(c, simpleRequest); err != nil {
		return nil, "reset"
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	switch {
	case err == nil:
		io.Copy(io.Discard, resp.Body)
		return resp, fmt.Sprint(resp.StatusCode)
	case isReset(err), err == io.ErrUnexpectedEOF, err == io.EOF:
		return nil, "reset"
	}
	return nil, err.Error()
}

func isOverflow(resp *http.Response) bool {
	return resp != nil && resp.StatusCode == 503 && resp.Header.Get("X-Envoy-Overloaded") == "true" && resp.Header.Get("Server") == "envoy"
}

func limited(l proxy.Limits) func(*proxy.Config) { return func(cfg *proxy.Config) { cfg.Limits = l } }

func TestConnectionsOverTheLimitAreShedAndTheNextAreServed(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, serve(t, echo)), limited(proxy.Limits{Connections: 4}))
	var held []*net.TCPConn
	for range 4 {
		c := r.dial()
		if _, got := outcome(c); got != "200" {
			t.Fatalf("within the limit: %s", got)
		}
		held = append(held, c)
	}
	if resp, got := outcome(r.dial()); !isOverflow(resp) {
		t.Errorf("over the limit: %s, %v", got, resp)
	}
	for name, text := range map[string]string{"nothing": "", "half a head": "GET / HTTP/1.1\r\nHost:", "TLS": "\x16\x03\x01\x02\x00", "other bytes": "\x00\x01"} {
		c := r.dial()
		io.WriteString(c, text)
		if _, err := io.ReadAll(c); !isReset(err) {
			t.Errorf("%s over the limit: %v, want a reset", name, err)
		}
	}
	held[0].Close()
	for end := time.Now().Add(10 * time.Second); ; {
		_, got := outcome(r.dial())
		if got == "200" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("with a place free: %s", got)
		}
	}
	shed := 0 // lines of different connections come in any order
	log := r.finish()
	for _, line := range log {
		if line["response_flags"] == "UO" && line["response_code"] == 503.0 {
			shed++
		}
	}
	if len(log) < 6 || shed == 0 {
		t.Errorf("%d answers of 503 UO logged: %v", shed, log)
	}
}

// blackHole is an address that answers no SYN: its queue of connections is full.
func blackHole(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	unix.Listen(fd, 0)
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", at.(*unix.SockaddrInet4).Port)
	for {
		c, err := net.DialTimeout("tcp", addr, 300*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { c.Close() })
	}
}

func TestABlackHoleIsBoundedAndEndsWithTheConnectTimeout(t *testing.T) {
	t.Parallel()
	yaml := static("hole", "hole.test", "HTTP", 80, blackHole(t)) + static("a", "a.test", "HTTP", 80, serve(t, echo)) + `
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: hole}
spec:
  host: hole.test
  trafficPolicy: {connectionPool: {tcp: {connectTimeout: 1s}}}
`
	r := newRig(t, mesh.RegistryOnly, yaml, limited(proxy.Limits{Connects: 3}))
	type answer struct {
		status int
		body   string
		over   bool
	}
	answers := make(chan answer, 10)
	var all sync.WaitGroup
	for range cap(answers) {
		all.Go(func() {
			resp, body := r.get("http://hole.test/")
			answers <- answer{resp.StatusCode, body, isOverflow(resp)}
		})
	}
	all.Wait()
	close(answers)
	over, timeouts := 0, 0
	for a := range answers {
		switch {
		case a.over:
			over++
		case a.status == 503 && strings.Contains(a.body, "connection timeout"):
			timeouts++
		default:
			t.Errorf("answered %+v", a)
		}
	}
	if over == 0 || timeouts == 0 {
		t.Errorf("%d over the limit, %d timeouts", over, timeouts)
	}
	if resp, _ := r.get("http://a.test/"); resp.StatusCode != 200 {
		t.Errorf("afterwards: %d", resp.StatusCode)
	}
}

// Heads that come byte by byte hold little memory, and what they hold is bounded.
func TestLargeHeadsOverTheMemoryAreShed(t *testing.T) {
	t.Parallel()
	t.Run("goroutines", func(t *testing.T) {
		t.Parallel()
		shedLargeHeads(t, newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, serve(t, echo)), limited(proxy.Limits{Memory: 64 << 10})))
	})
	t.Run("lanes", func(t *testing.T) {
		t.Parallel()
		shedLargeHeads(t, laneRig(t, static("a", "a.test", "HTTP", 80, serve(t, echo)), limited(proxy.Limits{Memory: 64 << 10})))
	})
}

func shedLargeHeads(t *testing.T, r *rig) {
	begin := "GET / HTTP/1.1\r\nHost: a.test\r\nX: " + strings.Repeat("x", 5000) // needs 16 KiB
	for round := range 2 {
		var held []*net.TCPConn
		var shed atomic.Int32
		var all sync.WaitGroup
		for range 10 {
			c := r.dial()
			io.WriteString(c, begin)
			held = append(held, c)
			all.Go(func() {
				in := bufio.NewReader(c)
				if resp, err := http.ReadResponse(in, nil); err == nil && isOverflow(resp) {
					shed.Add(1)
				}
				io.Copy(io.Discard, in) // until the proxy has let go of it
			})
		}
		await.True(t, "six of ten are shed", func() bool { return shed.Load() >= 6 })
		if _, got := outcome(r.dial()); got != "200" {
			t.Errorf("a small request meanwhile: %s", got)
		}
		for _, c := range held {
			c.CloseWrite()
		}
		if all.Wait(); shed.Load() != 6 {
			t.Errorf("round %d: %d of 10 were shed, want 6", round, shed.Load())
		}
	}
}

// Where the connections themselves have taken all descriptors, none is left for what
// their requests need: they are told so, like others over a limit.
func TestRequestsForWhichNoDescriptorIsLeftAreAnswered(t *testing.T) {
	t.Parallel()
	c := newChild(t, childSetup{Files: 48, Limits: proxy.Limits{Connections: 10_000},
		YAML: static("a", "a.test", "HTTP", 80, answerer(t, smallAnswer)), Destination: "203.0.113.1:80"})
	var held []*net.TCPConn
	for range 80 {
		if conn, err := net.Dial("tcp", c.addr); err == nil { // else it was reset before connect returned
			held = append(held, conn.(*net.TCPConn))
			defer conn.Close()
		}
	}
	told := 0
	for _, conn := range held {
		conn.SetDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := conn.Read(make([]byte, 1)); err == nil || !os.IsTimeout(err) {
			continue // turned away as a connection
		}
		conn.SetDeadline(time.Now().Add(time.Minute))
		resp, got := outcome(conn)
		switch {
		case isOverflow(resp):
			told++
		case got != "200":
			t.Errorf("a request for which no descriptor is left: %s", got)
		}
	}
	if told == 0 {
		t.Error("descriptors did not run out")
	}
	await.True(t, "the access log has it", func() bool { return strings.Contains(c.log.String(), `"response_flags":"UO"`) })
}

func TestDescriptorsRunOutAndAllRecovers(t *testing.T) {
	t.Parallel()
	up := answerer(t, smallAnswer)
	c := newChild(t, childSetup{Files: 96, Limits: proxy.Limits{Connections: 10_000},
		YAML: static("a", "a.test", "HTTP", 80, up), Destination: "203.0.113.1:80"})
	if _, got := outcome(c.dial()); got != "200" {
		t.Fatal(got)
	}
	before := c.holds()
	var held []*net.TCPConn
	counts := map[string]int{}
	for range 200 {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil { // reset before connect returned
			counts["reset"]++
			continue
		}
		conn.SetDeadline(time.Now().Add(time.Minute))
		resp, got := outcome(conn)
		if got == "503" && !isOverflow(resp) {
			t.Errorf("a 503 that is no overflow: %v", resp)
		}
		counts[got]++
		held = append(held, conn.(*net.TCPConn))
	}
	shed := counts["503"] + counts["reset"] // some were answered, and closed afterwards
	if counts["200"] < 20 || shed < 20 || shed != 200-counts["200"] {
		t.Errorf("outcomes: %v", counts)
	}
	spent := c.holds()
	unix.Poll(nil, 1000)
	if cpu := c.holds().CPU - spent.CPU; cpu > 300*time.Millisecond {
		t.Errorf("out of descriptors the proxy used %v of a second", cpu)
	}
	for _, conn := range held {
		conn.Close()
	}
	for end := time.Now().Add(10 * time.Second); ; {
		got := "reset"
		if conn, err := net.Dial("tcp", c.addr); err == nil {
			_, got = outcome(conn)
			conn.Close()
		}
		if got == "200" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("with descriptors free: %s", got)
		}
	}
	c.returnsTo(before)
}

func TestAResetStormLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	up := answerer(t, smallAnswer)
	yaml := static("a", "a.test", "HTTP", 80, up) + static("b", "b.test", "TCP", 80, up)
	c := newChild(t, childSetup{YAML: yaml, Destination: "203.0.113.1:80"})
	if _, got := outcome(c.dial()); got != "200" {
		t.Fatal(got)
	}
	opaque := c.dial() // begins the relay engine, which stays
	io.WriteString(opaque, "\x00\r\n\r\n")
	io.ReadFull(opaque, make([]byte, len(smallAnswer)))
	opaque.Close()
	before := c.holds()
	var all sync.WaitGroup
	texts := []string{"", "G", "GET / HTTP/1.1\r\n", simpleRequest, "\x16\x03\x01", "\x00", simpleRequest + simpleRequest + "GET"}
	for worker := range 8 {
		all.Go(func() {
			for i := range 250 {
				conn, err := net.Dial("tcp", c.addr)
				if err != nil {
					t.Error(err)
					return
				}
				io.WriteString(conn, texts[(i+worker)%len(texts)])
				conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
			}
		})
	}
	all.Wait()
	if _, got := outcome(c.dial()); got != "200" {
		t.Errorf("afterwards: %s", got)
	}
	c.returnsTo(before)
}

func TestSlowReadersHoldOnlyThemselvesUp(t *testing.T) {
	t.Parallel()
	block := bytes.Repeat([]byte("x"), 1<<20)
	up := tcpServer(t, func(c *net.TCPConn) {
		c.SetWriteBuffer(64 << 10) // the machine's memory for TCP is not what is tested
		for {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	})
	c := newChild(t, childSetup{YAML: static("a", "a.test", "TCP", 5000, up), Destination: "203.0.113.1:5000"})
	first := c.dial() // begins the relay engine, which stays
	io.CopyN(io.Discard, first, 10<<20)
	first.Close()
	before := c.holds()
	var held []*net.TCPConn
	for range 80 { // more than there are pipes
		conn := c.dial()
		conn.SetReadBuffer(16 << 10)
		io.ReadFull(conn, make([]byte, 1000)) // and no more
		held = append(held, conn)
	}
	h := c.holds()
	if h.Goroutines > before.Goroutines+10 || h.Descriptors > before.Descriptors+2*len(held)+2*64+16 || h.RSS > before.RSS+64<<10 {
		t.Errorf("80 slow readers: the proxy held %+v and holds %+v", before, h)
	}
	if n, err := io.CopyN(io.Discard, c.dial(), 64<<20); err != nil {
		t.Errorf("a quick reader meanwhile got %d bytes, %v", n, err)
	}
	for _, conn := range held {
		conn.Close()
	}
	c.returnsTo(before)
}

func TestTenThousandIdleConnectionsAreHeldInLittleMemory(t *testing.T) {
	var limit unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	n := min(10_000, int(min(limit.Cur, 1<<20))*2/3)
	up := answerer(t, smallAnswer)
	c := newChild(t, childSetup{YAML: static("a", "a.test", "HTTP", 80, up), Destination: "203.0.113.1:80",
		Limits: proxy.Limits{Connections: n + 1}})
	if _, got := outcome(c.dial()); got != "200" {
		t.Fatal(got)
	}
	before := c.holds()
	held := make([]net.Conn, n)
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := worker; i < n; i += 8 {
				conn, err := net.Dial("tcp", c.addr)
				if err != nil {
					t.Error(err)
					return
				}
				held[i] = conn
				if _, got := outcome(conn); got != "200" {
					t.Errorf("connection %d: %s", i, got)
				}
			}
		})
	}
	all.Wait()
	h := c.holds()
	if each := (h.RSS - before.RSS) / n; each > 16 {
		t.Errorf("%d KB for each of %d idle connections", each, n)
	}
	t.Logf("%d idle connections: %.2f KB each", n, float64(h.RSS-before.RSS)/float64(n))
	for _, conn := range held {
		if conn != nil {
			conn.Close()
		}
	}
	// A few idle upstream connections stay pooled.
	for end := time.Now().Add(30 * time.Second); c.holds().Descriptors > before.Descriptors+16; unix.Poll(nil, 50) {
		if time.Now().After(end) {
			t.Fatalf("the proxy held %+v and holds %+v", before, c.holds())
		}
	}
}
