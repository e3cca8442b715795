package lab_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// The kernel finishes an IPv6 address by and by; a packet that came before was lost in
// one of four tries.
func TestAnAddressCanBeUsedAtOnce(t *testing.T) {
	t.Parallel()
	for i := range 20 {
		ns := labtest.New(t)
		to, err := ns.ListenPacket("udp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer to.Close()
		port := to.LocalAddr().(*net.UDPAddr).Port
		for _, address := range []string{fmt.Sprintf("192.0.2.%d/32", i), fmt.Sprintf("2001:db8::%d/128", i+1)} {
			own := netip.MustParsePrefix(address)
			if err := ns.Do(func() error { return lab.AddAddress("lo", own) }); err != nil {
				t.Fatal(err)
			}
			from, err := ns.Dial(t.Context(), "udp", netip.AddrPortFrom(own.Addr(), uint16(port)).String())
			if err != nil {
				t.Fatal(err)
			}
			defer from.Close()
			if _, err := from.Write([]byte(address)); err != nil {
				t.Fatal(err)
			}
			to.SetReadDeadline(time.Now().Add(await.Patience))
			b := make([]byte, 64)
			if n, _, err := to.ReadFrom(b); err != nil || string(b[:n]) != address {
				t.Fatalf("to %s: %q, %v", address, b[:n], err)
			}
		}
	}
}
