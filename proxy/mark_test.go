package proxy

import (
	"net"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// However the proxy makes a socket, it carries the mark: one without would be sent
// back to the proxy.
func TestEverySocketOfAMarkCarriesIt(t *testing.T) {
	t.Parallel()
	const mark Mark = 0x539
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to := addrPort(l.Addr())
	for _, want := range []Mark{0, mark} {
		if err := want.Try(); err != nil {
			t.Fatal(err)
		}
		d := dialer{mark: want, own: new(ownConns)}
		tcp, err := d.polled(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		defer tcp.Close()
		udp, err := want.Dialer().DialUDP(t.Context(), "udp", netip.AddrPort{}, to)
		if err != nil {
			t.Fatal(err)
		}
		defer udp.Close()
		fd, _, err := d.raw(t.Context(), to, pooled{})
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		for how, c := range map[string]syscall.Conn{"polled": tcp, "for DNS": udp} {
			if got := Mark(option(t, c, unix.SO_MARK)); got != want {
				t.Errorf("%s: marked 0x%x, want 0x%x", how, got, want)
			}
		}
		if got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK); err != nil || Mark(got) != want {
			t.Errorf("raw: marked 0x%x (%v), want 0x%x", got, err, want)
		}
	}
}
