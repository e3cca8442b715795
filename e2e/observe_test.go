package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/observed"
)

// What Observe writes down is what has to be registered: with it in force nothing more is
// noted, and under REGISTRY_ONLY the same goes through.
func TestWhatObserveWritesDownIsWhatHasToBeRegistered(t *testing.T) {
	t.Parallel()
	tables := map[mesh.OutboundPolicy]*observed.Table{mesh.Observe: observed.New(), mesh.RegistryOnly: observed.New()}
	with := func(policy mesh.OutboundPolicy) *pod {
		return newPod(t, policy, nil, func(o *egress.Options) {
			o.Proxy = func(c *proxy.Config) { c.Observed = tables[policy] }
		})
	}
	// goes is what passes, of HTTP by name and by address, TLS and a server that speaks first.
	goes := func(p *pod) string {
		var out []string
		out = append(out, fmt.Sprint(p.status("http://elsewhere.net/")))
		c, err := p.NS.Dial(context.Background(), "tcp", p.net.Lookup("www.google.com", "IPv4")+":443")
		must(t, err)
		defer c.Close()
		c.SetDeadline(time.Now().Add(await.Patience))
		out = append(out, fmt.Sprint(tls.Client(c, &tls.Config{ServerName: "www.google.com", InsecureSkipVerify: true}).Handshake()))
		for _, family := range []string{"IPv4", "IPv6"} {
			c, err := p.NS.Dial(context.Background(), "tcp", net.JoinHostPort(p.net.Lookup("db.example.com", family), "5432"))
			must(t, err)
			got, _ := io.ReadAll(c)
			c.Close()
			out = append(out, fmt.Sprintf("%.7s", got))
		}
		return strings.Join(out, " ")
	}
	const all = "200 <nil> welcome welcome"
	p := with(mesh.Observe)
	if got := goes(p); got != all {
		t.Fatalf("under Observe: %s", got)
	}
	rows, _ := tables[mesh.Observe].Rows()
	var yaml []string
	for _, r := range rows {
		if r.Register == "" || r.Count != 1 {
			t.Errorf("%+v", r)
		}
		yaml = append(yaml, r.Register)
	}
	if len(rows) != 4 {
		t.Errorf("%d rows: %+v", len(rows), rows)
	}
	p.Write("observed.yaml", strings.Join(yaml, "\n---\n"))
	counted := func() (n int64) {
		rows, _ := tables[mesh.Observe].Rows()
		for _, r := range rows {
			n += r.Count
		}
		return n
	}
	await.True(t, "nothing more is noted", func() bool {
		before := counted()
		return goes(p) == all && counted() == before
	})
	if log := p.Log.String(); !strings.Contains(log, "REGISTRY_ONLY would refuse this") {
		t.Error(log)
	}

	strict := with(mesh.RegistryOnly)
	if got := goes(strict); got == all {
		t.Fatal("REGISTRY_ONLY refuses nothing of it")
	}
	strict.Write("observed.yaml", strings.Join(yaml, "\n---\n"))
	await.True(t, "it goes through under REGISTRY_ONLY", func() bool { return goes(strict) == all })
	if rows, _ := tables[mesh.RegistryOnly].Rows(); len(rows) != 0 {
		t.Errorf("noted, though not observing: %+v", rows)
	}
}
