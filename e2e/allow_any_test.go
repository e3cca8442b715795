package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
)

// beside is a database without addresses on a port where HTTP is registered too, and
// on one of its own.
const beside = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db}
spec:
  hosts: [db.example.com]
  ports: [{number: 5432, name: db, protocol: TCP}, {number: 443, name: more, protocol: TCP}]
  resolution: %s
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web}
spec:
  hosts: [httpbin.org]
  ports: [{number: 443, name: http, protocol: HTTP}, {number: 80, name: plain, protocol: HTTP}]
  resolution: DNS
`

var besides = map[string]string{
	"NONE": "NONE", "DNS": "DNS",
	"STATIC": "STATIC\n  endpoints: [{address: 203.0.113.30}]", // db.example.com's, but for the IPv6 one
}

// newBeside is a pod in which beside is in force, and a database on 443 as well.
func newBeside(t *testing.T, policy mesh.OutboundPolicy, resolution string) *pod {
	t.Helper()
	p := newPod(t, policy, nil)
	for _, at := range names["db.example.com"] {
		p.net.serveDatabase(net.JoinHostPort(at, "443"))
	}
	p.Write("a.yaml", fmt.Sprintf(beside, resolution))
	await.True(t, "the entries are in force", func() bool {
		p.status("http://httpbin.org/")
		return slices.ContainsFunc(p.Lines(), func(l egress.Line) bool { return l.Cluster == "outbound|80||httpbin.org" })
	})
	return p
}

// handshake opens TLS under a server name.
func (p *pod) handshake(address, name string) error {
	ctx, cancel := context.WithTimeout(p.T.Context(), await.Patience)
	defer cancel()
	c, err := p.NS.Dial(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(await.Patience))
	return tls.Client(c, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake()
}

func TestUnderAllowAnyARegisteredDatabaseTakesNoStrangersConnection(t *testing.T) {
	t.Parallel()
	for name, resolution := range besides {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newBeside(t, mesh.AllowAny, resolution)
			for _, family := range []string{"IPv4", "IPv6"} {
				stranger := net.JoinHostPort(p.net.Lookup("elsewhere.net", family), "5432")
				if got, err := p.read(stranger); got != "welcome to "+stranger {
					t.Errorf("%s, a stranger's database: %q %v", family, got, err)
				}
				own := net.JoinHostPort(p.net.Lookup("db.example.com", family), "5432")
				if got, err := p.read(own); !strings.HasPrefix(got, "welcome to ") || !inFamilies(got, "db.example.com") {
					t.Errorf("%s, the registered database: %q %v", family, got, err)
				}
				// TLS to a server that nobody registers, on a port of HTTP and TCP.
				google := net.JoinHostPort(p.net.Lookup("www.google.com", family), "443")
				if err := p.handshake(google, "www.google.com"); err != nil {
					t.Errorf("%s, TLS to a stranger: %v", family, err)
				}
			}
			for _, at := range names["db.example.com"] {
				if n := p.net.Reached(at); n > 2 {
					t.Errorf("%s was reached %d times", at, n)
				}
			}
		})
	}
}

// With resolution NONE; package proxy has the others, where a client that a busy machine
// keeps silent for 100 ms cannot be told from one that waits for the database to speak.
func TestUnderRegistryOnlyAnUnknownServerNameReachesNobody(t *testing.T) {
	t.Parallel()
	p := newBeside(t, mesh.RegistryOnly, "NONE")
	for _, family := range []string{"IPv4", "IPv6"} {
		for _, host := range []string{"www.google.com", "elsewhere.net"} {
			address := net.JoinHostPort(p.net.Lookup(host, family), "443")
			if err := p.handshake(address, "www.google.com"); !isRefused(err) {
				t.Errorf("%s, TLS to %s: %v", family, host, err)
			}
		}
	}
	for _, host := range []string{"www.google.com", "elsewhere.net", "db.example.com"} {
		for _, at := range names[host] {
			if n := p.net.Reached(at); n != 0 {
				t.Errorf("%s was reached %d times", at, n)
			}
		}
	}
	// The registered database's own address is its own under any name.
	for _, at := range names["db.example.com"] {
		if err := p.handshake(net.JoinHostPort(at, "443"), "unknown.net"); err == nil || isRefused(err) {
			t.Errorf("TLS to the database: %v", err)
		}
		if n := p.net.Reached(at); n != 1 {
			t.Errorf("the database at %s was reached %d times", at, n)
		}
	}
}
