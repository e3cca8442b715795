package rows

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/internal/await"
)

func TestDestinationRuleTCPKeepAlive(t *testing.T) {
	t.Parallel()
	row(t, "DR.connectionPool.tcp.tcpKeepalive", func(p *egress.Pod) {
		stay := func(c net.Conn) {
			io.WriteString(c, "hello")
			io.Copy(io.Discard, c)
		}
		p.Net.TCP("probed.test", 5432, stay)
		p.Net.TCP("left.test", 5432, stay)
		tcp := func(host string) string {
			return object("ServiceEntry", host, `{hosts: [`+host+`], addresses: ['{{v4 "`+host+`"}}'], ports: [{number: 5432, name: tcp, protocol: TCP}], resolution: DNS}`)
		}
		p.Apply(tcp("probed.test") + tcp("left.test") +
			object("DestinationRule", "probed", `{host: probed.test, trafficPolicy: {connectionPool: {tcp: {tcpKeepalive: {time: 1s, interval: 1s, probes: 1}}}}}`))
		open := func(host string) net.Conn {
			c, err := p.NS.Dial(p.T.Context(), "tcp", net.JoinHostPort(p.Net.Lookup(host, "IPv4"), "5432"))
			egress.Must(p.T, err)
			p.T.Cleanup(func() { c.Close() })
			_, err = io.ReadFull(c, make([]byte, 5))
			egress.Must(p.T, err)
			return c
		}
		probed, left := open("probed.test"), open("left.test")
		p.Net.Vanish()
		probed.SetReadDeadline(time.Now().Add(await.Patience))
		if n, err := probed.Read(make([]byte, 1)); n != 0 || !egress.IsReset(err) {
			p.T.Errorf("a connection whose probes nobody answers: %d bytes, %v; want a reset", n, err)
		}
		left.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := left.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			p.T.Errorf("a connection without probes: %v; want nothing", err)
		}
	})
}
