package dns

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// settings is what resolv.conf says (resolv.conf(5)).
type settings struct {
	servers  []string // host:port
	search   []string
	timeout  time.Duration // per try
	attempts int
}

// maxTimeout bounds the timeout option, as in the C library.
const maxTimeout = 30 * time.Second

// readSettings reads a resolv.conf. Like the C library it never fails: without a
// usable file the server is 127.0.0.1, with a 5 s timeout and 2 attempts.
func readSettings(path string) settings {
	s := newSettings()
	if data, err := os.ReadFile(path); err == nil {
		s.parse(string(data))
	}
	s.complete()
	return s
}

func newSettings() settings { return settings{timeout: 5 * time.Second, attempts: 2} }

// complete has the server that there is where none is named.
func (s *settings) complete() {
	if len(s.servers) == 0 {
		s.servers = []string{"127.0.0.1:53"}
	}
}

// nameserver takes one more server, the first three of them.
func (s *settings) nameserver(address string) {
	if a, err := netip.ParseAddr(address); err == nil && len(s.servers) < 3 {
		s.servers = append(s.servers, net.JoinHostPort(a.String(), "53"))
	}
}

func (s *settings) parse(text string) {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			s.nameserver(words[1])
		case "search", "domain":
			s.search = words[1:]
		case "options":
			s.options(words[1:])
		}
	}
}

func (s *settings) options(words []string) {
	for _, w := range words {
		name, value, _ := strings.Cut(w, ":")
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			continue
		}
		switch name {
		case "timeout":
			s.timeout = time.Second * time.Duration(min(n, int(maxTimeout/time.Second)))
		case "attempts":
			s.attempts = min(n, 5)
		}
	}
}

// hosts is what /etc/hosts says (hosts(5)).
type hosts map[string][]netip.Addr

func readHosts(path string) hosts {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	h := hosts{}
	lines := bufio.NewScanner(strings.NewReader(string(data)))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(words[0])
		if err != nil {
			continue
		}
		for _, name := range words[1:] {
			name = canonical(name)
			h[name] = append(h[name], addr.WithZone(""))
		}
	}
	return h
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// files are the two that a lookup reads, with a lock of their own: a slow disk must
// not hold up those who need none of them.
type files struct {
	mu       sync.Mutex
	settings watched[settings]
	hosts    watched[hosts]
}

// get returns the settings and what the hosts file says of a name.
func (f *files) get(name string) (settings, []netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	return f.settings.get(now), f.hosts.get(now)[name]
}

// watched is a file's parsed content, read again when the file has changed. The
// look is at most once a second: it is on the path of a cache miss only.
type watched[T any] struct {
	path    string
	read    func(string) T
	value   T
	checked time.Time
	modTime time.Time
	size    int64
	loaded  bool
}

func (w *watched[T]) get(now time.Time) T {
	if w.loaded && now.Sub(w.checked) < time.Second {
		return w.value
	}
	w.checked = now
	var modTime time.Time
	var size int64 = -1
	if info, err := os.Stat(w.path); err == nil {
		modTime, size = info.ModTime(), info.Size()
	}
	if !w.loaded || !modTime.Equal(w.modTime) || size != w.size {
		w.value, w.modTime, w.size, w.loaded = w.read(w.path), modTime, size, true
	}
	return w.value
}
