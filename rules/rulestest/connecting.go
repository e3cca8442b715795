package rulestest

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/lab"
)

// turns are configurations that take each other's place. Two ports of a server are
// connected to meanwhile. The first is captured by some of them and not by others: excluded,
// or not included. The second always is, by its port or by a range; nobody listens there,
// so that a connection that goes out is refused.
var turns = [][]string{
	{"includeIPRanges=192.0.2.1", "includeOutboundPorts=9"},
	{"includeIPRanges=10.50.0.1,fd50::1"},
	{"includeIPRanges=10.50.0.0/16,fd50::/32,192.0.2.1", "outboundPort=15101"},
	{"dnsCapture=true", "excludeOutboundPorts=1024-65535"},
}

// ConnectionsBeginAsRulesChange holds a backend to this: a connection that begins while
// one configuration takes another's place is made, by the one's way or the other's, and
// what both capture does not go out. All the turns are made so many times.
func ConnectionsBeginAsRulesChange(t *testing.T, apply Apply, rounds int) {
	if *pairs >= longRun {
		rounds *= 20
	}
	p := NewPair(t)
	for _, port := range outboundPorts {
		Echo(t, p.Pod, ":"+strconv.Itoa(int(port)), "proxy")
	}
	port := Echo(t, p.Server, ":32000", "there")
	must(t, apply(p.Pod.FD(), Plan(t, turns[0]...)))
	Connecting(t, p.Pod, []string{"10.50.0.1:" + port, "[fd50::1]:" + port, "10.50.0.1:9", "[fd50::1]:9"}, func() {
		for i := range rounds * len(turns) {
			if err := apply(p.Pod.FD(), Plan(t, turns[(i+1)%len(turns)]...)); err != nil {
				t.Error(err)
			}
		}
	})
}

// Connecting does something while somebody connects to each address all the time. No
// connection may be refused.
func Connecting(t testing.TB, in *lab.Namespace, addresses []string, do func()) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	made, refused := make([]int, len(addresses)), make([]int, len(addresses))
	var clients sync.WaitGroup
	for i, address := range addresses {
		clients.Go(func() { // ends with the context
			err := in.Do(func() error {
				for ctx.Err() == nil {
					err := connectAndReset(netip.MustParseAddrPort(address))
					if errors.Is(err, unix.ECONNREFUSED) {
						refused[i]++
					} else if err != nil {
						return err
					}
					made[i]++
				}
				return nil
			})
			if err != nil {
				t.Errorf("%s: %v", address, err)
			}
		})
	}
	do()
	stop()
	clients.Wait()
	for i, address := range addresses {
		if refused[i] > 0 {
			t.Errorf("%s: %d of %d connections were refused", address, refused[i], made[i])
		}
	}
	t.Logf("%v connections", made)
}

// connectAndReset makes a connection and resets it, in the thread's namespace. It waits for
// an answer, whatever that is: a server whose queue is full drops first packets, and one
// that is sent again after its address is captured is refused (AnAttemptFromBefore).
func connectAndReset(to netip.AddrPort) error {
	fd, err := stream(to.Addr(), 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	limit := unix.NsecToTimeval(answerTime.Nanoseconds())
	if err := errors.Join(
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
	); err != nil {
		return err
	}
	if err := connect(fd, sockaddr(to.Addr(), to.Port())); err != nil {
		return err
	}
	unix.Write(fd, []byte("?"))
	readRetrying(fd, make([]byte, 1))
	return nil
}
