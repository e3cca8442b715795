package dns

import (
	"slices"
	"sync"
	"time"
)

// ResolvConf is a resolv.conf that is read again when it has changed, or what stands for
// one.
type ResolvConf struct {
	mu    sync.Mutex
	file  watched[settings]
	fixed *settings // nil: what the file says
}

// NewResolvConf names the file; "" is /etc/resolv.conf.
func NewResolvConf(path string) *ResolvConf {
	if path == "" {
		path = "/etc/resolv.conf"
	}
	return &ResolvConf{file: watched[settings]{path: path, read: readSettings}}
}

// FixedResolvConf says the same as a resolv.conf of these nameservers (addresses), search
// domains and options ("timeout:2") and never changes. As there (resolv.conf(5)), only
// the first three servers count, one that is no address does not, and without any the
// server is 127.0.0.1.
func FixedResolvConf(servers, search, options []string) *ResolvConf {
	s := newSettings()
	for _, server := range servers {
		s.nameserver(server)
	}
	s.search = slices.Clone(search)
	s.options(options)
	s.complete()
	return &ResolvConf{fixed: &s}
}

// Setup is what a resolv.conf says.
type Setup struct {
	Servers []string      // host:port, at least one
	Search  []string      // domains, lower case, without trailing dot
	Timeout time.Duration // per try
}

// Setup is what it says now.
func (c *ResolvConf) Setup() Setup {
	conf := c.settings()
	s := Setup{Servers: conf.servers, Timeout: conf.timeout}
	for _, domain := range conf.search {
		if domain = canonical(domain); domain != "" {
			s.Search = append(s.Search, domain)
		}
	}
	return s
}

func (c *ResolvConf) settings() settings {
	if c.fixed != nil {
		return *c.fixed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.file.get(time.Now())
}
