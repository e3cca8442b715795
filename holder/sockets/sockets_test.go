package sockets_test

import (
	"errors"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/holder/sockets"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

func TestEverySocketIsThereInBothFamilies(t *testing.T) {
	all, files, err := sockets.Open(sockets.Wanted{DNS: true})
	if err != nil {
		t.Fatal(err)
	}
	defer sockets.Close(files)
	want := []wire.Socket{
		{Role: wire.RoleTCP, Network: "tcp4"}, {Role: wire.RoleDNSStream, Network: "tcp4"}, {Role: wire.RoleDNSPacket, Network: "udp4"},
		{Role: wire.RoleTCP, Network: "tcp6"}, {Role: wire.RoleDNSStream, Network: "tcp6"}, {Role: wire.RoleDNSPacket, Network: "udp6"},
	}
	if len(all) != len(want) || len(files) != len(want) {
		t.Fatal(all)
	}
	for i, s := range all {
		if s.Role != want[i].Role || s.Network != want[i].Network || s.Port == 0 || s.Port != all[i%3].Port {
			t.Errorf("socket %d is %+v", i, s)
		}
	}
	if all[1].Port != all[2].Port {
		t.Errorf("DNS has two ports: %+v", all)
	}
	l, err := net.FileListener(files[3])
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestATakenPortIsSaidAndNothingIsLeftOpen(t *testing.T) {
	taken, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := uint16(taken.LocalAddr().(*net.UDPAddr).Port)
	before := descriptors(t)
	if _, _, err := sockets.Open(sockets.Wanted{DNS: true, DNSPort: port}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("%v", err)
	}
	if now := descriptors(t); now != before {
		t.Errorf("%d descriptors are open, %d were", now, before)
	}
}

func TestAMachinesTrafficIsTakenOnEveryAddress(t *testing.T) {
	_, files, err := sockets.Open(sockets.Wanted{Everywhere: true})
	if err != nil {
		t.Fatal(err)
	}
	defer sockets.Close(files)
	l, err := net.FileListener(files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if at := l.Addr().(*net.TCPAddr); !at.IP.IsUnspecified() {
		t.Errorf("listens on %s", at)
	}
}

func TestAFamilyThatIsNotThereIsLeftOut(t *testing.T) {
	const off = "/proc/sys/net/ipv6/conf/lo/disable_ipv6"
	if err := os.WriteFile(off, []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile(off, []byte("0"), 0)
	all, files, err := sockets.Open(sockets.Wanted{DNS: true})
	if err != nil {
		t.Fatal(err)
	}
	defer sockets.Close(files)
	for _, s := range all {
		if s.Network[3] != '4' {
			t.Errorf("%+v", s)
		}
	}
	if len(all) != 3 {
		t.Error(all)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}
