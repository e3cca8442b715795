package nft_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/sluice-cni/sluice/internal/lab"
	"golang.org/x/sys/unix"
)

// withoutRedirects removes what sends traffic to the proxy, as a mistake or a
// half-done repair would.
func withoutRedirects(t *testing.T, ns *lab.Namespace) {
	t.Helper()
	change(t, ns, func(c *nftables.Conn) error {
		c.FlushChain(&nftables.Chain{Name: "output_nat", Table: &nftables.Table{Name: "sluice", Family: nftables.TableFamilyINet}})
		return nil
	})
}

// refused dials and says whether that was refused; either way it is quick.
func refused(t *testing.T, ns *lab.Namespace, network, host, port string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	begin := time.Now()
	c, err := ns.Dial(ctx, network, net.JoinHostPort(host, port))
	if err == nil {
		defer c.Close()
		if network == "udp" {
			_, err = c.Write([]byte("?"))
		}
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("%s to %s took %s", network, host, took)
	}
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EPERM)
}

func TestAMissingRedirectIsAnOutageNeverALeak(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"10.50.0.1", "fd50::1"} {
		p := newPair(t)
		port := echo(t, p.server, ":0", "there")
		apply(t, p.pod, plan(t, "excludeOutboundPorts=9", "dnsCapture=true"))
		withoutRedirects(t, p.pod)
		for _, flow := range [][2]string{{"tcp", port}, {"tcp", "53"}, {"udp", "53"}} {
			if !refused(t, p.pod, flow[0], host, flow[1]) {
				t.Errorf("%s to %s port %s went out", flow[0], host, flow[1])
			}
		}
		if refused(t, p.pod, "udp", host, "9") {
			t.Error("an excluded port is guarded")
		}
	}
}

func TestTheGuardHoldsIncludedPortsAndLetsConnectionsGoOn(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	port := echo(t, p.server, ":0", "there")
	old := dial(t, p.pod, "10.50.0.1", port)
	apply(t, p.pod, running(t, "includeIPRanges=", "includeOutboundPorts="+port))
	withoutRedirects(t, p.pod)
	if !refused(t, p.pod, "tcp", "10.50.0.1", port) {
		t.Error("an included port went out")
	}
	if who := ask(old); who != "there" {
		t.Errorf("a connection older than the rules: %s", who)
	}
}

func TestUnderBypassAMissingRedirectLetsTrafficGo(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	port := echo(t, p.server, ":0", "there")
	apply(t, p.pod, plan(t, "failurePolicy=bypass", "dnsCapture=true"))
	withoutRedirects(t, p.pod)
	if who := ask(dial(t, p.pod, "10.50.0.1", port)); who != "there" {
		t.Error(who)
	}
}
