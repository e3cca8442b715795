package dnsproxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-cni/sluice/internal/heard"
	"golang.org/x/sys/unix"
)

// A socket that nothing comes from any more ends the server with the reason, without
// taking a processor meanwhile.
func TestASocketThatFailsForASecondEndsTheServer(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		packets bool
		shut    func(t *testing.T, packets *net.UDPConn, streams *net.TCPListener)
		want    error
	}{
		"packets": {true, func(t *testing.T, packets *net.UDPConn, _ *net.TCPListener) { // nothing is received from such a one
			other, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			must(t, err)
			defer unix.Close(other)
			descriptor(t, packets, func(fd int) { must(t, unix.Dup3(other, fd, unix.O_CLOEXEC)) })
		}, unix.ENOTCONN},
		"streams": {false, func(t *testing.T, _ *net.UDPConn, streams *net.TCPListener) { // as ss -K does it
			descriptor(t, streams, func(fd int) { must(t, unix.Shutdown(fd, unix.SHUT_RDWR)) })
		}, unix.EINVAL},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			packets, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			must(t, err)
			streams, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
			must(t, err)
			tc.shut(t, packets, streams)
			cfg := Config{ResolvConf: os.DevNull, Streams: []*net.TCPListener{streams}}
			if tc.packets {
				defer streams.Close()
				cfg.Packets, cfg.Streams = []*net.UDPConn{packets}, nil
			} else {
				packets.Close()
			}
			server, err := New(cfg)
			must(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			begun := time.Now()
			err = server.Serve(ctx)
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), "failed 100 times in a row") {
				t.Errorf("%v, want %v", err, tc.want)
			}
			if took := time.Since(begun); took < (mostFailures-1)*betweenFailures {
				t.Errorf("after %v: it does not wait between tries", took)
			}
		})
	}
}

func descriptor(t *testing.T, c syscall.Conn, do func(fd int)) {
	t.Helper()
	raw, err := c.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) { do(int(fd)) }))
}

// What passes by itself is waited for, for as long as it takes, and said once a minute.
func TestASocketWaitsForDescriptorsForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &heard.Text{}
		s := &Server{log: slog.New(slog.NewTextHandler(log, nil))}
		var f failing
		for range mostFailures - 1 {
			must(t, f.again(t.Context(), s, "accepting connections", unix.ECONNRESET))
		}
		for range 90 * time.Second / betweenFailures {
			must(t, f.again(t.Context(), s, "accepting connections", unix.EMFILE))
		}
		must(t, f.again(t.Context(), s, "accepting connections", unix.ECONNRESET)) // the first in a row
		if n := strings.Count(log.String(), "accepting connections failed; it is tried again"); n != 2 || !strings.Contains(log.String(), "too many open files") {
			t.Errorf("said %d times in 90 s:\n%s", n, log)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		begun := time.Now()
		if err := f.again(ended, s, "accepting connections", unix.EMFILE); err != nil || time.Since(begun) > 0 {
			t.Errorf("%v after %v; a server that ends waits for nothing", err, time.Since(begun))
		}
	})
}
