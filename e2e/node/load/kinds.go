package load

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/miekg/dns"
)

// dial opens a connection that ends with ctx.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if deadline, bounded := ctx.Deadline(); bounded {
		c.SetDeadline(deadline)
	}
	return c, nil
}

func overHTTP(ctx context.Context, t Target) error {
	c, err := dial(ctx, "tcp", t.Address)
	if err != nil {
		return err
	}
	defer c.Close()
	return ask(c, t.Name)
}

// ask makes one request on a connection, and wants its name back.
func ask(c net.Conn, name string) error {
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", name); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || string(body) != name {
		return fmt.Errorf("%w: %s %.80q", errWrong, resp.Status, body)
	}
	return nil
}

func overTLS(ctx context.Context, t Target) error {
	c, err := dial(ctx, "tcp", t.Address)
	if err != nil {
		return err
	}
	defer c.Close()
	// Whose certificate it is does not matter here: the name that comes back does.
	secure := tls.Client(c, &tls.Config{ServerName: t.Name, InsecureSkipVerify: true})
	if err := secure.HandshakeContext(ctx); err != nil {
		return err
	}
	return ask(secure, t.Name)
}

func overTCP(ctx context.Context, t Target) error {
	c, err := dial(ctx, "tcp", t.Address)
	if err != nil {
		return err
	}
	defer c.Close()
	return Echo(c, t.Name)
}

// Echo sends a line and wants it back.
func Echo(c net.Conn, line string) error {
	if _, err := fmt.Fprintf(c, "%s\n", line); err != nil {
		return err
	}
	got := make([]byte, len(line)+1)
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != line+"\n" {
		return fmt.Errorf("%w: %.80q", errWrong, got)
	}
	return nil
}

// attempt is how long a resolver waits for an answer before it asks again
// (resolv.conf(5), timeout).
const attempt = 5 * time.Second

func overDNS(ctx context.Context, t Target) (err error) {
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(t.Name), dns.TypeA)
	for range 2 {
		client := dns.Client{Timeout: attempt}
		var answer *dns.Msg
		answer, _, err = client.ExchangeContext(ctx, q, t.Address)
		if err != nil {
			continue
		}
		if answer.Rcode != dns.RcodeSuccess || len(answer.Answer) == 0 {
			return fmt.Errorf("%w: %s with %d records", errWrong, dns.RcodeToString[answer.Rcode], len(answer.Answer))
		}
		return nil
	}
	return err
}

// probe sends a request and waits for whatever comes.
func probe(ctx context.Context, t Target) error {
	c, err := dial(ctx, "tcp", t.Address)
	if err != nil {
		return nil
	}
	defer c.Close()
	ask(c, t.Name)
	return nil
}
