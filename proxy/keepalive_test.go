package proxy

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/mesh"
)

// Both ways to connect set what the rule says, and leave the rest to the kernel.
func TestProbesAreSetOnEveryUpstreamSocket(t *testing.T) {
	t.Parallel()
	s, server := besideServer(t)
	for name, keep := range map[string]*mesh.KeepAlive{
		"none": nil, "the kernel's": {}, "all": {Probes: 4, Time: 33 * time.Second, Interval: 5 * time.Second}, "one": {Time: 7 * time.Second},
	} {
		for _, raw := range []bool{true, false} {
			u := &upstream{server: s, cluster: &mesh.Cluster{PoolSettings: mesh.PoolSettings{KeepAlive: keep}}}
			key := poolKey{addr: addrPort(server.Addr())}
			connect := func() (*upstreamConn, error) { return u.connect(t.Context(), key, nil) }
			if raw {
				connect = func() (*upstreamConn, error) { return u.connectOpaque(t.Context(), key, pooled{}) }
			}
			up, err := connect()
			if err != nil {
				t.Fatal(err)
			}
			var got [4]int
			read := func(fd uintptr) {
				for i, option := range [][2]int{{unix.SOL_SOCKET, unix.SO_KEEPALIVE}, {unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
					{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}} {
					got[i], _ = unix.GetsockoptInt(int(fd), option[0], option[1])
				}
			}
			if up.tcp == nil {
				read(uintptr(up.fd))
			} else {
				up.raw.Control(read)
			}
			up.close()
			want := kernelProbes(t)
			if keep != nil {
				want[0] = 1
				for i, v := range []int{keep.Probes, int(keep.Time / time.Second), int(keep.Interval / time.Second)} {
					if v > 0 {
						want[i+1] = v
					}
				}
			}
			if got != want {
				t.Errorf("%s, raw %v: %v, want %v", name, raw, got, want)
			}
		}
	}
}

// kernelProbes is what a new socket has.
func kernelProbes(t *testing.T) (out [4]int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for i, option := range []int{unix.TCP_KEEPCNT, unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL} {
		if out[i+1], err = unix.GetsockoptInt(fd, unix.IPPROTO_TCP, option); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
