package dnsrelay

import (
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// ResolvConf is a resolver configuration file, read again whenever it changes.
type ResolvConf struct {
	Path string

	mu      sync.Mutex
	read    stamp
	servers []netip.AddrPort
}

type stamp struct {
	size     int64
	modified time.Time
}

// maxServers is how many name servers the C library asks.
const maxServers = 3

// Servers lists the file's name servers. As in the C library, a file that is
// missing or names none means a resolver on this machine.
func (c *ResolvConf) Servers() []netip.AddrPort {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := os.Stat(c.Path)
	if err != nil {
		return localServer()
	}
	now := stamp{info.Size(), info.ModTime()}
	if c.servers != nil && now == c.read {
		return c.servers
	}
	data, err := os.ReadFile(c.Path)
	if err != nil {
		return localServer()
	}
	c.read, c.servers = now, parseServers(string(data))
	return c.servers
}

func localServer() []netip.AddrPort {
	return []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}
}

func parseServers(text string) []netip.AddrPort {
	var servers []netip.AddrPort
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" || len(servers) == maxServers {
			continue
		}
		if addr, err := netip.ParseAddr(fields[1]); err == nil {
			servers = append(servers, netip.AddrPortFrom(addr, 53))
		}
	}
	if len(servers) == 0 {
		return localServer()
	}
	return servers
}
