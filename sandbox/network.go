package sandbox

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/proxy"
)

// The command's own addresses. No service is ever at either: the first is the
// dummy address of RFC 7600, the second is unique-local. An IPv6 source of that
// kind makes resolvers sort IPv4 destinations first (RFC 6724), which is right on
// machines that have no IPv6 of their own.
var (
	address4 = netip.MustParsePrefix("192.0.0.8/32")
	address6 = netip.MustParsePrefix("fd73:6c75:6963:65::1/128")
)

const cable, cablePeer = "sluice0", "sluice1"

// makeNetwork gives this process's new namespace an address and a default route
// of each family, through a cable to itself: programs see a network, and what
// the rules do not redirect goes nowhere.
func makeNetwork() error {
	here, err := lab.Current()
	if err != nil {
		return err
	}
	defer here.Close()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find loopback: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("raise loopback: %w", err)
	}
	addresses := []netip.Prefix{address4}
	if hasIPv6() {
		addresses = append(addresses, address6)
	}
	err = lab.Connect(lab.End{In: here, Name: cable, Addresses: addresses}, lab.End{In: here, Name: cablePeer})
	if err != nil {
		return err
	}
	for _, a := range addresses {
		everywhere := netip.PrefixFrom(a.Addr(), 0).Masked()
		if err := lab.AddRoute(cable, everywhere, netip.Addr{}); err != nil {
			return err
		}
	}
	return nil
}

// hasIPv6 is false where the kernel has none or the administrator switched it
// off for new namespaces (net.core.devconf_inherit_init_net): then IPv6 connects
// fail at once, as they do outside.
func hasIPv6() bool {
	for _, scope := range []string{"all", "default"} {
		disabled, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + scope + "/disable_ipv6")
		if err != nil || strings.TrimSpace(string(disabled)) != "0" {
			return false
		}
	}
	return true
}

// listenerSet holds the sockets while they are inside. Each is bound to a
// loopback address: a redirected packet arrives there, and only so does an answer
// leave from where the query went.
type listenerSet struct {
	tcp, streams []*net.TCPListener
	packets      []*net.UDPConn
	proxyPort    uint16
	dnsPort      uint16
}

func openListeners() (*listenerSet, error) {
	hosts := []string{"127.0.0.1"}
	if hasIPv6() {
		hosts = append(hosts, "::1")
	}
	const attempts = 20 // a port may be free in one family only
	var err error
	for range attempts {
		s := &listenerSet{}
		if err = s.open(hosts); err == nil {
			return s, nil
		}
		s.close()
		if !errors.Is(err, unix.EADDRINUSE) {
			break
		}
	}
	return nil, err
}

func (s *listenerSet) open(hosts []string) error {
	for _, host := range hosts {
		l, err := listenTCP(host, &s.proxyPort)
		if err != nil {
			return err
		}
		s.tcp = append(s.tcp, l)
		if l, err = listenTCP(host, &s.dnsPort); err != nil {
			return err
		}
		s.streams = append(s.streams, l)
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(host), Port: int(s.dnsPort)})
		if err != nil {
			return err
		}
		s.packets = append(s.packets, c)
	}
	return nil
}

// listenTCP listens on *port, or on any and notes which.
func listenTCP(host string, port *uint16) (*net.TCPListener, error) {
	l, err := proxy.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(int(*port))))
	if err != nil {
		return nil, err
	}
	*port = uint16(l.Addr().(*net.TCPAddr).Port)
	return l, nil
}

// files duplicates every socket, in the order that reply counts them.
func (s *listenerSet) files() ([]*os.File, error) {
	type filer interface{ File() (*os.File, error) }
	var all []filer
	for _, l := range s.tcp {
		all = append(all, l)
	}
	for _, c := range s.packets {
		all = append(all, c)
	}
	for _, l := range s.streams {
		all = append(all, l)
	}
	var files []*os.File
	for _, f := range all {
		file, err := f.File()
		if err != nil {
			return files, err
		}
		files = append(files, file)
	}
	return files, nil
}

func (s *listenerSet) close() {
	for _, l := range append(s.tcp, s.streams...) {
		l.Close()
	}
	for _, c := range s.packets {
		c.Close()
	}
}
