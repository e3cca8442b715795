// Command attempts makes, inside a container, every attempt that package escape knows to
// reach a captured address past the proxy. It judges none: whoever watches the other end
// of the pod's cable does, and knows by a numbered datagram to the excluded port where
// one attempt ends and the next begins. It prints the attempts' names in that order.
//
//	attempts --interface eth0 --to 10.1.0.9 --to6 fd01::9 --via 02:00:00:00:00:01 \
//	         --nobody 10.1.0.77 --nobody6 fd01::77 --excluded 9999
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/sluice-cni/sluice/rules/escape"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run() error {
	name := flag.String("interface", "eth0", "the pod's interface")
	via := flag.String("via", "", "hardware address of the next hop")
	excluded := flag.Uint("excluded", 9999, "port that is not captured")
	to, to6 := address("to", "captured IPv4 address"), address("to6", "captured IPv6 address; none: no attempt over IPv6")
	nobody, nobody6 := address("nobody", "captured IPv4 address that nobody has"), address("nobody6", "captured IPv6 address that nobody has")
	flag.Parse()
	place, err := escape.Here(*name)
	if err != nil {
		return err
	}
	hop, err := net.ParseMAC(*via)
	if err != nil {
		return fmt.Errorf("--via %q: %w", *via, err)
	}
	if !to.IsValid() || !nobody.IsValid() || to6.IsValid() != nobody6.IsValid() {
		return errors.New("--to and --nobody are needed, and --to6 goes with --nobody6")
	}
	place.NextHop, place.Excluded = hop, uint16(*excluded)
	place.To4, place.To6, place.Nobody4, place.Nobody6 = *to, *to6, *nobody, *nobody6
	return makeAll(place)
}

// address is a flag that is one.
func address(name, usage string) *netip.Addr {
	a := new(netip.Addr)
	flag.TextVar(a, name, netip.Addr{}, usage)
	return a
}

func makeAll(place escape.Place) error {
	out := bufio.NewWriter(os.Stdout)
	for i, a := range place.Attempts() {
		done := make(chan struct{})
		go func() {
			runtime.LockOSThread() // never unlocked: an attempt may change what its thread may do
			a.Send()
			close(done)
		}()
		<-done
		if err := escape.Sentinel(place.To4, place.Excluded, uint16(i+1)); err != nil {
			return fmt.Errorf("say that %q is over: %w", a.Name, err)
		}
		fmt.Fprintln(out, a.Name)
	}
	return out.Flush()
}
