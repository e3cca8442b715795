package nft_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

// A connection's first packet may have gone by the redirects just before they are in force,
// and come to the second layer just after: a running pod's is not refused for that.
func TestAConnectionThatBeginsAsTheRulesComeIsNotRefused(t *testing.T) {
	t.Parallel()
	p := rulestest.NewPair(t)
	port, err := strconv.Atoi(rulestest.Echo(t, p.Server, ":0", "there"))
	if err != nil {
		t.Fatal(err)
	}
	server := unix.SockaddrInet4{Port: port, Addr: [4]byte{10, 50, 0, 1}}
	rulestest.Echo(t, p.Pod, ":15001", "proxy")
	plan := running(t)
	ctx, stop := context.WithCancel(context.Background())
	var made, refused atomic.Int64
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			if err := p.Pod.Do(func() error {
				for ctx.Err() == nil {
					switch err := connect(server); {
					case errors.Is(err, unix.ECONNREFUSED):
						refused.Add(1)
					case err != nil:
						return err
					}
					made.Add(1)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	for range 150 {
		apply(t, p.Pod, plan)
		if err := nft.Disable(p.Pod.FD()); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	clients.Wait()
	if refused.Load() > 0 {
		t.Errorf("%d of %d connections were refused", refused.Load(), made.Load())
	}
}

// connect makes a connection and resets it, in the thread's namespace.
func connect(to unix.SockaddrInet4) error { // a copy: to connect is to write into it
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return err
	}
	for {
		// Interrupted by the runtime's signals a connect goes on: then it is waited for again.
		switch err := unix.Connect(fd, &to); err {
		case unix.EINTR, unix.EALREADY:
		case unix.EISCONN:
			return nil
		default:
			return err
		}
	}
}
