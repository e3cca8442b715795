package sandbox

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/rules/nft"
)

// probe is a command that runs inside the sandbox: it tries one thing and prints
// a line for each that went wrong. The exit code is the number of lines.
func probe(name string) int {
	var complaints []string
	complain := func(format string, args ...any) { complaints = append(complaints, fmt.Sprintf(format, args...)) }
	switch name {
	case "tcp":
		for _, address := range []string{"192.0.2.1:80", "10.0.0.1:443", "[2001:db8::1]:5432", "203.0.113.9:25"} {
			probeStream(address, "tcp", complain)
		}
	case "dns":
		for _, address := range []string{"127.0.0.53:53", "192.0.2.53:53", "[2001:db8::53]:53", "[::1]:53"} {
			probeStream(address, "dns", complain)
			probePacket(address, complain)
		}
	case "udp":
		for _, address := range []string{"192.0.2.1:443", "[2001:db8::1]:443", "192.0.2.1:123"} {
			probeRefusal(address, complain)
		}
	case "escape":
		probeEscape(complain)
	case "get":
		fmt.Println(fetch(os.Args[1], os.Args[2:]...))
	case "change":
		probeChange(complain)
	case "wait":
		fmt.Println("waiting")
		time.Sleep(time.Hour)
	case "shout":
		probeShout(complain)
	case "timers":
		probeTimers(complain)
	default:
		complain("no such probe")
	}
	for _, c := range complaints {
		fmt.Println(c)
	}
	return len(complaints)
}

const quick = time.Second

func probeStream(address, want string, complain func(string, ...any)) {
	began := time.Now()
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		complain("%s: %v", address, err)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if got, _ := io.ReadAll(c); string(got) != want {
		complain("%s: answered by %q, want %q", address, got, want)
	}
	if took := time.Since(began); took > quick {
		complain("%s: took %v", address, took)
	}
}

func probePacket(address string, complain func(string, ...any)) {
	c, err := net.Dial("udp", address)
	if err != nil {
		complain("%s: %v", address, err)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	io.WriteString(c, "question")
	buf := make([]byte, 100)
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != "dns question" {
		complain("%s: got %q, %v", address, buf[:n], err)
	}
}

func probeRefusal(address string, complain func(string, ...any)) {
	began := time.Now()
	c, err := net.Dial("udp", address)
	if err == nil {
		defer c.Close()
		c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err = io.WriteString(c, "x"); err == nil {
			_, err = c.Read(make([]byte, 1))
		}
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) > quick {
		complain("udp %s: %v after %v, want a refusal at once", address, err, time.Since(began))
	}
}

// probeEscape tries what a command might do to get around the rules.
func probeEscape(complain func(string, ...any)) {
	here, err := lab.Current()
	if err != nil {
		complain("%v", err)
		return
	}
	if err := nft.Remove(here.FD()); err == nil {
		complain("the rules could be removed")
	}
	if outside, err := lab.Open("/proc/1/ns/net"); err == nil {
		if outside.Do(func() error { return nil }) == nil {
			complain("the machine's namespace could be entered")
		}
	}
	for _, protocol := range []int{unix.SOCK_RAW, unix.SOCK_DGRAM} {
		if fd, err := unix.Socket(unix.AF_PACKET, protocol, 0); err == nil {
			unix.Close(fd)
			complain("a packet socket could be made")
		}
	}
	if fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err == nil {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, 1) == nil {
			complain("a mark could be set")
		}
		unix.Close(fd)
	}
}

// fetch gets a URL, perhaps under another host, and returns status and body.
func fetch(url string, host ...string) string {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	if len(host) > 0 {
		request.Host = host[0]
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s", response.StatusCode, body)
}

// probeChange tells that it runs by a request that is not governed, upon which
// the test registers a name; then it asks for that name until it is reached.
func probeChange(complain func(string, ...any)) {
	if before := fetch("http://192.0.2.77/", "web.example"); !strings.HasPrefix(before, "502 ") {
		complain("before the change: %s", before)
	}
	fetch("http://198.51.100.10/")
	began := time.Now()
	for {
		got := fetch("http://192.0.2.77/", "web.example")
		took := time.Since(began)
		switch {
		case strings.HasPrefix(got, "200 ") && took <= time.Second:
			return
		case took > 5*time.Second || strings.HasPrefix(got, "200 "):
			complain("after %v: %s", took, got)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

var shout = strings.Repeat("the last words ", 10_000)

func probeShout(complain func(string, ...any)) {
	c, err := net.Dial("tcp", "203.0.113.10:9")
	if err == nil {
		_, err = io.WriteString(c, shout)
	}
	if err != nil {
		complain("%v", err)
	}
	// The end of the process closes the connection.
}

// probeTimers keeps a connection after an answer and looks for keep-alive timers on
// the sockets of the namespace, among them the proxy's end of it.
func probeTimers(complain func(string, ...any)) {
	d := net.Dialer{KeepAlive: -1}
	c, err := d.Dial("tcp", "203.0.113.10:80")
	if err == nil {
		defer c.Close()
		_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: web.example\r\n\r\n")
	}
	if err == nil {
		_, err = c.Read(make([]byte, 1<<10))
	}
	if err != nil {
		complain("%v", err)
		return
	}
	var proxys, probing int
	var others []string
	settled := func() bool { // no acknowledgement is under way
		proxys, others, probing = establishedTimers()
		return proxys > 0 && len(others) == 0
	}
	if !await.Within(10*time.Second, settled) {
		complain("%d sockets of the proxy's, timers %v", proxys, others)
	} else if probing > 0 {
		complain("%d sockets have keep-alive probes on", probing)
	}
}

// establishedTimers reads /proc/net/tcp (proc_net_tcp.txt in the kernel's documentation):
// how many connections end at the proxy, which timers run, and how many of them are
// for keep-alive.
func establishedTimers() (proxys int, others []string, probing int) {
	const established, none, keepAlive, loopback = "01", "00", "02", "0100007F:"
	table, _ := os.ReadFile("/proc/self/net/tcp")
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 6 || f[3] != established {
			continue
		}
		if strings.HasPrefix(f[1], loopback) {
			proxys++
		}
		switch timer, _, _ := strings.Cut(f[5], ":"); timer {
		case none:
		case keepAlive:
			probing++
		default:
			others = append(others, timer)
		}
	}
	return proxys, others, probing
}
