package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/dns"
	"github.com/sluice-cni/sluice/proxy/dnsproxy"
	"github.com/sluice-cni/sluice/vip/ledger"
)

// dnsPolicyFlags are how unregistered names are treated, wherever a command
// answers DNS.
func dnsPolicyFlags(c *cobra.Command) {
	c.Flags().String("dns-policy", "forward", "`POLICY`: what happens to names that no resource registers, where the outbound policy is REGISTRY_ONLY: forward asks the resolvers, registry-only says that they do not exist")
	c.Flags().StringSlice("dns-allow", nil, "`LIST` of names, each with all below it, that --dns-policy registry-only lets through; the cluster's own are anyway")
}

// dnsConfig reads the flags of dnsPolicyFlags; every error at once.
func dnsConfig(c *cobra.Command) (dnsproxy.Config, error) {
	var cfg dnsproxy.Config
	var errs []error
	switch policy := flagValue(c, "dns-policy"); policy {
	case "forward":
	case "registry-only":
		cfg.Policy = dnsproxy.RegistryOnly
	default:
		errs = append(errs, fmt.Errorf("--dns-policy %q: not a policy; use forward or registry-only", policy))
	}
	names, err := c.Flags().GetStringSlice("dns-allow")
	errs = append(errs, err)
	if len(names) > 0 && cfg.Policy != dnsproxy.RegistryOnly {
		errs = append(errs, fmt.Errorf("--dns-allow %q: has no effect when --dns-policy is forward; remove it, or set registry-only", strings.Join(names, ",")))
	}
	for i, name := range names {
		domain, err := allowedDomain(name)
		if err != nil {
			errs = append(errs, fmt.Errorf("--dns-allow element %d %q: %w", i+1, name, err))
		}
		cfg.Allow = append(cfg.Allow, domain)
	}
	return cfg, errors.Join(errs...)
}

func allowedDomain(text string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(strings.TrimSpace(text), "."))
	if below, wildcard := strings.CutPrefix(name, "*."); wildcard {
		return "", fmt.Errorf("a wildcard; write %s, which stands for all below it too", below)
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return "", errors.New("an address; write names")
	}
	if complaint := mesh.HostComplaint(name); complaint != "" {
		return "", errors.New(complaint)
	}
	return name, nil
}

// dnsListenFlags are those of a command that opens its own sockets for DNS.
func dnsListenFlags(c *cobra.Command) {
	c.Flags().String("dns-listen", "off", "`PORT` to answer captured DNS on, on loopback, UDP and TCP (the rules' dnsPort, 15053); *:PORT is every address, for rerouteInterfaces; off leaves DNS alone")
	c.Flags().String("state-dir", "", "`DIR` of this proxy's own that keeps which name has which virtual address over a restart; without it two names that hash to the same one may change places")
	dnsPolicyFlags(c)
}

// answering is what a command's flags say about DNS.
type answering struct {
	listen   dnsListen
	stateDir string
	config   dnsproxy.Config
}

// readAnswering reads the flags of dnsListenFlags; every error at once.
func readAnswering(c *cobra.Command) (answering, error) {
	listen, listenErr := parseDNSListen(flagValue(c, "dns-listen"))
	cfg, err := dnsConfig(c)
	errs := []error{listenErr, err}
	if listenErr == nil && !listen.on {
		for _, name := range []string{"state-dir", "dns-policy", "dns-allow"} {
			if f := c.Flags().Lookup(name); f.Changed {
				errs = append(errs, fmt.Errorf("--%s %q: has no effect without --dns-listen; add that or remove this", name, f.Value))
			}
		}
	}
	return answering{listen, flagValue(c, "state-dir"), cfg}, errors.Join(errs...)
}

// open opens the sockets of a DNS server; nil when there is to be none.
func (a answering) open(w mesh.Workload, exchange dns.Exchange, log *slog.Logger) (*dnsproxy.Server, error) {
	if !a.listen.on {
		return nil, nil
	}
	cfg := a.config
	cfg.Workload, cfg.Exchange, cfg.Log = w, exchange, log
	var err error
	if cfg.Packets, cfg.Streams, err = a.listen.open(log); err != nil {
		return nil, err
	}
	return dnsproxy.New(cfg)
}

// dnsListen is where captured DNS is received.
type dnsListen struct {
	on       bool
	everyone bool // on every address, not on loopback alone
	port     int
}

// parseDNSListen reads PORT, or *:PORT for every address; "" is off.
func parseDNSListen(text string) (dnsListen, error) {
	if text == "" || text == "off" {
		return dnsListen{}, nil
	}
	number, everyone := strings.CutPrefix(text, "*:")
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return dnsListen{}, fmt.Errorf("--dns-listen %q: not a port; use 1 to 65535, *:PORT for every address, or 0 for any free one", text)
	}
	return dnsListen{true, everyone, int(n)}, nil
}

// open opens sockets for UDP and TCP in both families. Redirected queries arrive on
// loopback, and on loopback nobody else can ask; those of rerouteInterfaces arrive
// on the interface's address.
func (l dnsListen) open(log *slog.Logger) ([]*net.UDPConn, []*net.TCPListener, error) {
	hosts := map[string]net.IP{"4": net.IPv4(127, 0, 0, 1), "6": net.IPv6loopback}
	if l.everyone {
		hosts = map[string]net.IP{"4": net.IPv4zero, "6": net.IPv6unspecified}
	}
	var packets []*net.UDPConn
	var streams []*net.TCPListener
	port := l.port
	for _, family := range []string{"4", "6"} {
		stream, err := proxy.Listen("tcp"+family, net.JoinHostPort(hosts[family].String(), strconv.Itoa(port)))
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) {
			log.Warn("this machine lacks an address family; answering DNS on the other", "missing", "IPv"+family)
			continue
		}
		if err == nil {
			streams = append(streams, stream)
			port = stream.Addr().(*net.TCPAddr).Port
			var packet *net.UDPConn
			if packet, err = net.ListenUDP("udp"+family, &net.UDPAddr{IP: hosts[family], Port: port}); err == nil {
				packets = append(packets, packet)
				log.Info("answering DNS", "address", packet.LocalAddr())
			}
		}
		if err != nil {
			closeAll(packets, streams)
			return nil, nil, hinted(fmt.Errorf("listen for DNS on port %d: %w", port, err), "--dns-listen names another port; the rules' dnsPort must be the same")
		}
	}
	if len(packets) == 0 {
		return nil, nil, fmt.Errorf("listen for DNS on port %d: this machine has neither IPv4 nor IPv6", port)
	}
	return packets, streams, nil
}

func closeAll(packets []*net.UDPConn, streams []*net.TCPListener) {
	for _, p := range packets {
		p.Close()
	}
	for _, s := range streams {
		s.Close()
	}
}

// openLedger opens the memory of virtual addresses; without DNS there is none.
func openLedger(dir string, on bool, log *slog.Logger) (*ledger.Ledger, error) {
	if !on {
		return nil, nil
	}
	l, err := ledger.Open(dir, log)
	if err != nil {
		return nil, hinted(err, "--state-dir names a directory of this proxy's own that it may write to")
	}
	return l, nil
}

// virtual is the part of a ledger that snapshots are built with.
func virtual(l *ledger.Ledger, o mesh.Options) mesh.Options {
	if l != nil {
		o.Virtual = l.Assign
	}
	return o
}
