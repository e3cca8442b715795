package proxy_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/heard"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// childEnv makes this test binary a proxy, so that its descriptors, memory and
// processor time are nobody else's.
const childEnv = "SLUICE_TEST_PROXY"

func TestMain(m *testing.M) {
	if setup := os.Getenv(childEnv); setup != "" {
		if err := beChild(setup); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

type childSetup struct {
	Files       uint64 // RLIMIT_NOFILE, 0 as it is
	Limits      proxy.Limits
	YAML        string
	Destination string
}

// holding is what a child has of everything that must not grow.
type holding struct {
	Goroutines, Descriptors int
	RSS, Heap               int           // KiB; Heap is what is in use
	CPU                     time.Duration // used so far
}

func beChild(text string) error {
	var setup childSetup
	if err := json.Unmarshal([]byte(text), &setup); err != nil {
		return err
	}
	if setup.Files > 0 {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: setup.Files, Max: setup.Files}); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	dst := netip.MustParseAddrPort(setup.Destination)
	server, err := proxy.New(proxy.Config{Listeners: []*net.TCPListener{l.(*net.TCPListener)}, Limits: setup.Limits,
		AccessLog: os.Stderr, OriginalDst: func(int, netip.AddrPort) (netip.AddrPort, error) { return dst, nil }})
	if err != nil {
		return err
	}
	resources, _ := mesh.Decode("test.yaml", []byte(setup.YAML), mesh.DecodeOptions{})
	snapshot, issues := mesh.Build(resources, mesh.Options{})
	if issues.HasErrors() {
		return issues
	}
	server.Update(snapshot)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx) }()
	fmt.Println(l.Addr())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if err := json.NewEncoder(os.Stdout).Encode(hold()); err != nil {
			return err
		}
	}
	stop()
	return <-ended
}

func hold() holding {
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	h := holding{Goroutines: runtime.NumGoroutine(), Heap: int(memory.HeapAlloc >> 10)}
	for fd := range 20_000 { // without opening a directory: there may be no descriptor left
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			h.Descriptors++
		}
	}
	var usage unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &usage)
	h.CPU = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	return h
}

// child is a proxy in a process of its own.
type child struct {
	t    *testing.T
	addr string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	log  *heard.Text // the access log, and what went wrong
}

func newChild(t *testing.T, setup childSetup) *child {
	t.Helper()
	text, err := json.Marshal(setup)
	if err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, cmd: exec.Command(os.Args[0]), log: &heard.Text{}}
	c.cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	c.cmd.Stderr = c.log
	c.in, _ = c.cmd.StdinPipe()
	out, _ := c.cmd.StdoutPipe()
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.in.Close()
		if err := c.cmd.Wait(); err != nil {
			t.Errorf("the proxy ended with %v:\n%s", err, c.log)
		}
	})
	line, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the proxy did not start: %v\n%s", err, c.log)
	}
	c.addr = strings.TrimSpace(line)
	return c
}

func (c *child) holds() (h holding) {
	c.t.Helper()
	io.WriteString(c.in, "\n")
	line, err := c.out.ReadString('\n')
	if err != nil {
		c.t.Fatalf("the proxy is gone: %v\n%s", err, c.log)
	}
	if err := json.Unmarshal([]byte(line), &h); err != nil {
		c.t.Fatal(err)
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			h.RSS, _ = strconv.Atoi(strings.Fields(rest)[0])
		}
	}
	return h
}

// returnsTo waits until the proxy holds no more than before, save for a few empty
// pipes, pooled buffers and idle upstream connections. (Memory that was freed may stay
// with Go for a while, so it is not the resident set that is compared.)
func (c *child) returnsTo(before holding) {
	c.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; {
		h := c.holds()
		if h.Goroutines <= before.Goroutines+2 && h.Descriptors <= before.Descriptors+16 && h.Heap < before.Heap+4<<10 {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("the proxy held %+v and holds %+v", before, h)
		}
		unix.Poll(nil, 50)
	}
}

func (c *child) dial() *net.TCPConn {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	return conn.(*net.TCPConn)
}
