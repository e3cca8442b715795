package pages

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
)

// The blog's "Consuming External MongoDB Services".

func TestEgressControlForTCP(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	p.Net.TCP("ratings.example", 27017, answerMongo)
	p.Net.TCP("stranger.example", 27017, answerMongo)
	p.Say("ratings.example:27017", question).Want("reset") // "Ratings service is currently unavailable"
	p.Apply(fixture(t, "mongo-tcp"))
	p.Say("ratings.example:27017", question).Want("pong").WantLine("-", "outbound|27017||ratings.tcp.svc")
	p.Say("stranger.example:27017", question).Want("reset")
}

// question begins with its length, as MongoDB's messages do.
const question = "\x08\x00\x00\x00ping"

func answerMongo(c net.Conn) {
	b := make([]byte, len(question))
	if _, err := io.ReadFull(c, b); err == nil && string(b) == question {
		io.WriteString(c, "pong")
	}
}

func TestEgressControlForTLS(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	for _, host := range []string{"ratings.example", "one.clusters.example", "stranger.example"} {
		p.Net.WebTLS(host, 27017, nil)
	}
	p.Apply(fixture(t, "mongo-tls"))
	for _, host := range []string{"ratings.example", "one.clusters.example"} {
		p.Handshake(host+":27017", host).Want(host)
	}
	p.Handshake("stranger.example:27017", "stranger.example").Want("reset")
}

// The task "Using an External HTTPS Proxy".
func TestAnExternalHTTPSProxy(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	p.Net.TCP("proxy.company.example", 3128, func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err == nil && r.Method == http.MethodConnect {
			fmt.Fprintf(c, "HTTP/1.1 200 Connection established\r\n\r\nthrough to %s", r.Host)
		}
	})
	const connect = "CONNECT en.dictionary.example:443 HTTP/1.1\r\nHost: en.dictionary.example:443\r\n\r\n"
	// Before the entry is there the proxy is a stranger, and CONNECT finds no route.
	if got := p.Say("proxy.company.example:3128", strings.TrimSuffix(connect, "\r\n")+"Connection: close\r\n\r\n"); !strings.HasPrefix(got.Body, "HTTP/1.1 404 ") {
		t.Errorf("before: %q %v", got.Body, got.Err)
	}
	p.Apply(fixture(t, "company-proxy"))
	p.Say("proxy.company.example:3128", connect).Want("HTTP/1.1 200 Connection established\r\n\r\nthrough to en.dictionary.example:443").
		WantLine("-", "outbound|3128||proxy.company.example")
}

// The reference of DestinationRule, tunnel: the application knows nothing of the proxy.
func TestATunnelThroughACompanysProxy(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	p.Net.WebTLS("files.example", 443, nil)
	asked := make(chan string, 10)
	p.Net.TCP("proxy.company.example", 3128, func(c net.Conn) {
		in := bufio.NewReader(c)
		r, err := http.ReadRequest(in)
		if err != nil || r.Method != http.MethodConnect {
			return
		}
		asked <- r.Host
		var out net.Conn
		if p.Net.NS.Do(func() error {
			out, err = net.Dial("tcp", net.JoinHostPort(p.Net.Lookup("files.example", "IPv4"), "443"))
			return err
		}) != nil {
			return
		}
		defer out.Close()
		io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
		go io.Copy(out, in)
		io.Copy(c, out)
	})
	p.Apply(fixture(t, "tunnel"))
	for _, v := range egress.Versions {
		p.Ask(egress.Request{URL: "https://files.example/report", Version: v}).Want("200 files.example")
		if got := <-asked; got != "files.example:443" {
			t.Errorf("%s: the proxy was asked for %q", v, got)
		}
	}
	if n := p.Net.Seen("files.example"); len(n) != 2 {
		t.Errorf("%v", n)
	}
}
