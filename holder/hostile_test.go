package holder

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/holder/client"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

// header is a frame's, as bytes.
func header(kind wire.Kind, files byte, length uint32) []byte {
	h := []byte{'S', 'L', 'U', wire.Version, byte(kind), files, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(h[8:], length)
	return h
}

// Whatever one peer does, it is refused and told in the log, and others are served.
func TestPeersThatSpeakWrongAreRefusedAndOthersServed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, SocketName)
	holder := startProcess(t, dir, 0)
	holder.ready(t)
	p := newPod(t)
	p.hold(t, path)
	before := holder.descriptors(t, "")
	for _, test := range []struct {
		name string
		do   func(c *net.UnixConn)
		want string // what the refusal says; "" is none
	}{
		{"another protocol", func(c *net.UnixConn) { c.Write([]byte("GET / HTTP/1.1\r\n\r\n")) }, "not a frame"},
		{"zeros", func(c *net.UnixConn) { c.Write(make([]byte, 4096)) }, "not a frame"},
		{"an unknown version", func(c *net.UnixConn) { c.Write([]byte("SLU\x09\x01\x00\x00\x00\x00\x00\x00\x00")) }, "version"},
		{"a long payload", func(c *net.UnixConn) { c.Write(header(wire.Hold, 0, wire.MaxPayload+1)) }, "more than"},
		{"the longest payload, of garbage", func(c *net.UnixConn) {
			c.Write(append(header(wire.Hold, 0, wire.MaxPayload), bytes.Repeat([]byte("["), wire.MaxPayload)...))
		}, "hold: "},
		{"half a header, then the end", func(c *net.UnixConn) { c.Write(header(wire.Hold, 0, 5)[:7]); c.CloseWrite() }, "EOF"},
		{"half a payload, then the end", func(c *net.UnixConn) { c.Write(append(header(wire.Hold, 0, 50), '{')); c.CloseWrite() }, "EOF"},
		{"no JSON", func(c *net.UnixConn) { c.Write(append(header(wire.Release, 0, 3), "{{{"...)) }, "release: "},
		{"a hold of null", func(c *net.UnixConn) { c.Write(append(header(wire.Hold, 0, 4), "null"...)) }, "files: 0"},
		{"an unknown kind", func(c *net.UnixConn) { c.Write(header(99, 0, 0)) }, "kind 99"},
		{"an answer", func(c *net.UnixConn) { c.Write(header(wire.Held, 0, 0)) }, "held: nothing"},
		{"files promised and not sent", func(c *net.UnixConn) { c.Write(header(wire.Hold, 3, 0)) }, "0 instead of 3"},
		{"more files than promised", func(c *net.UnixConn) {
			c.WriteMsgUnix(header(wire.Hold, 1, 0), unix.UnixRights(0, 1, 2), nil)
		}, "3 instead of 1"},
		{"more files than any frame has", func(c *net.UnixConn) {
			c.WriteMsgUnix(header(wire.Hold, 200, 0), unix.UnixRights(make([]int, 200)...), nil)
		}, "lost on the way"},
		{"files with what has none", func(c *net.UnixConn) {
			c.WriteMsgUnix(header(wire.Status, 2, 0), unix.UnixRights(0, 1), nil)
		}, ""},
		{"take without hello", func(c *net.UnixConn) { c.Write(header(wire.Take, 0, 0)) }, "say hello first"},
		{"took without succeed", func(c *net.UnixConn) { c.Write(header(wire.Took, 0, 0)) }, "say succeed first"},
		{"nothing at all", func(c *net.UnixConn) { c.Close() }, ""},
	} {
		c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		test.do(c)
		refused := ""
		m, err := wire.NewConn(c).Receive(time.Now().Add(await.Patience))
		if err == nil && m.Kind == wire.Refused {
			var refusal wire.Refusal
			if err := m.Into(&refusal); err != nil {
				t.Error(err)
			}
			refused = refusal.Text
		}
		if !strings.Contains(refused, test.want) || test.want == "" && refused != "" {
			t.Errorf("%s: refused with %q (%v), want %q", test.name, refused, err, test.want)
		}
		if _, err := wire.NewConn(c).Receive(time.Now().Add(await.Patience)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection is still open", test.name)
		}
		c.Close()
		if held := status(t, path).Pods; len(held) != 1 {
			t.Fatalf("%s: held are %v", test.name, held)
		}
	}
	if !strings.Contains(holder.log.String(), "peer refused") {
		t.Error("nothing of it is in the log")
	}
	await.True(t, "no descriptor is left over", func() bool { return holder.descriptors(t, "") <= before })
}

func TestASlowPeerIsRefusedAndHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	path, log := startHere(t, Options{})
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	frame := append(header(wire.Status, 0, 1000), bytes.Repeat([]byte(" "), 1000)...)
	ended := make(chan time.Duration, 1)
	began := time.Now()
	go func() { // a byte every 50 ms: the frame would take 50 s
		for _, b := range frame {
			if _, err := c.Write([]byte{b}); err != nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		ended <- time.Since(began)
	}()
	for range 20 {
		status(t, path)
	}
	if took := <-ended; took < wire.FrameTimeout/2 || took > 3*wire.FrameTimeout {
		t.Errorf("was cut off after %s", took)
	}
	if !strings.Contains(log.String(), "timeout") {
		t.Errorf("the log does not say so:\n%s", log)
	}
}

func TestTooManyPeersAreToldToTryAgain(t *testing.T) {
	t.Parallel()
	path, log := startHere(t, Options{})
	var peers []net.Conn
	for range maxPeers {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		peers = append(peers, c)
	}
	ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
	defer cancel()
	var refusal *wire.Refusal
	await.True(t, "the 65th is refused", func() bool {
		_, err := client.Status(ctx, path)
		return errors.As(err, &refusal) && refusal.Code == wire.CodeBusy
	})
	if !strings.Contains(log.String(), "64 peers") {
		t.Errorf("the log does not say so:\n%s", log)
	}
	p := newPod(t)
	held := make(chan error, 1)
	go func() {
		_, err := client.Hold(ctx, path, p.Holding, p.files)
		held <- err
	}()
	peers[7].Close()
	if err := <-held; err != nil {
		t.Errorf("one left, and the hold failed: %v", err)
	}
}

// stranger as first argument makes the test binary say Status to the socket named.
const stranger = "run-stranger"

func runStranger(path string) int {
	ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
	defer cancel()
	_, err := client.Status(ctx, path)
	fmt.Println(err)
	return 0
}

func TestOnlyRootIsAnswered(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	path, log := startHere(t, Options{})
	ask := func() string {
		cmd := exec.Command("/proc/self/exe", stranger, path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatal(err, string(out))
		}
		return string(out)
	}
	if got := ask(); !strings.Contains(got, "permission denied") {
		t.Errorf("a stranger connects: %s", got)
	}
	// Were the modes wrong, the kernel's word on who it is remains.
	for dir := filepath.Dir(path); dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o001 == 0 {
			if err := os.Chmod(dir, info.Mode().Perm()|0o055); err != nil {
				t.Fatal(err)
			}
			defer os.Chmod(dir, info.Mode().Perm())
		}
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if got := ask(); !strings.Contains(got, "only root") {
		t.Errorf("a stranger is answered: %s", got)
	}
	if !strings.Contains(log.String(), "uid=65534") {
		t.Errorf("the log does not say so:\n%s", log)
	}
}

func TestAHoldWithTheWrongFilesSaysWhich(t *testing.T) {
	t.Parallel()
	path, _ := startHere(t, Options{})
	p, other := newPod(t), newPod(t)
	plain, err := os.Create(filepath.Join(t.TempDir(), "plain"))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	deaf, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	deafFile := os.NewFile(uintptr(deaf), "deaf")
	defer deafFile.Close()
	replaced := func(i int, f *os.File) []*os.File {
		files := append([]*os.File{}, p.files...)
		files[i] = f
		return files
	}
	last := len(p.files) - 1
	ownNetns, err := identityAt("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		change func(h *wire.Holding)
		files  []*os.File
		want   string
	}{
		{"one file too few", nil, p.files[1:], "files: 6 for 6 sockets"},
		{"no sockets", func(h *wire.Holding) { h.Sockets = nil }, p.files[last:], "files: 1 for 0 sockets"},
		{"a file for a socket", nil, replaced(0, plain), "sockets[0]: is no socket"},
		{"a namespace for a socket", nil, replaced(2, p.files[last]), "sockets[2]: is no socket"},
		{"a socket that does not listen", nil, replaced(0, deafFile), "sockets[0]: tcp4: does not listen"},
		{"another family", nil, replaced(0, p.files[3]), "sockets[0]: is no tcp4 socket"},
		{"another pod's socket", nil, replaced(0, other.files[0]), "sockets[0]: "},
		{"another port", func(h *wire.Holding) { h.Sockets = append([]wire.Socket{}, h.Sockets...); h.Sockets[1].Port = 7 }, p.files, "sockets[1]: port 7: is bound to"},
		{"an unknown role", func(h *wire.Holding) { h.Sockets = append([]wire.Socket{}, h.Sockets...); h.Sockets[1].Role = "x" }, p.files, `role "x"`},
		{"an unknown network", func(h *wire.Holding) { h.Sockets = append([]wire.Socket{}, h.Sockets...); h.Sockets[1].Network = "x" }, p.files, `network "x"`},
		{"a file for the namespace", nil, replaced(last, plain), "is no network namespace"},
		{"another namespace", nil, replaced(last, other.files[last]), "the file is"},
		{"the host's namespace", func(h *wire.Holding) { h.Netns = ownNetns }, replaced(last, own), "the host's own"},
		{"an unknown policy", func(h *wire.Holding) { h.Policy = "hope" }, p.files, `policy "hope"`},
	} {
		h := p.Holding
		if test.change != nil {
			test.change(&h)
		}
		ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
		_, err := client.Hold(ctx, path, h, test.files)
		cancel()
		var refusal *wire.Refusal
		if !errors.As(err, &refusal) || refusal.Code != wire.CodeInvalid || !strings.Contains(refusal.Text, test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	if held := status(t, path).Pods; len(held) > 0 {
		t.Errorf("held are %v", held)
	}
	p.hold(t, path) // nothing of it stands in the way
}

// A peer that never reads costs its own connection.
func TestAPeerThatDoesNotReadHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	path, _ := startHere(t, Options{})
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn := wire.NewConn(c.(*net.UnixConn))
	if err := conn.Send(wire.Hello, wire.HelloRequest{Versions: wire.Spoken, Build: strings.Repeat("x", 1<<19)}); err != nil {
		t.Fatal(err)
	}
	for conn.Send(wire.Status, nil) == nil { // until its answers fill the socket and the holder ends it
		status(t, path)
	}
	status(t, path)
}
