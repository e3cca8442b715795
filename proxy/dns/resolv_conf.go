package dns

import (
	"sync"
	"time"
)

// ResolvConf is a resolv.conf that is read again when it has changed.
type ResolvConf struct {
	mu   sync.Mutex
	file watched[settings]
}

// NewResolvConf names the file; "" is /etc/resolv.conf.
func NewResolvConf(path string) *ResolvConf {
	if path == "" {
		path = "/etc/resolv.conf"
	}
	return &ResolvConf{file: watched[settings]{path: path, read: readSettings}}
}

// Setup is what a resolv.conf says.
type Setup struct {
	Servers []string      // host:port, at least one
	Search  []string      // domains, lower case, without trailing dot
	Timeout time.Duration // per try
}

// Setup is what the file says now.
func (c *ResolvConf) Setup() Setup {
	c.mu.Lock()
	defer c.mu.Unlock()
	conf := c.file.get(time.Now())
	s := Setup{Servers: conf.servers, Timeout: conf.timeout}
	for _, domain := range conf.search {
		if domain = canonical(domain); domain != "" {
			s.Search = append(s.Search, domain)
		}
	}
	return s
}
