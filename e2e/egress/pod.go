// Package egress is the stage of the end-to-end tests: a Pod whose connections a real
// kernel redirects to a real proxy, under YAML in a watched directory, and an Internet
// of servers in a namespace of their own, with real DNS and real TLS. How a test of one
// row of Istio's API is written with it is in the documentation of package e2e/rows.
package egress

import (
	"cmp"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"testing"

	"github.com/sluice-cni/sluice/internal/heard"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/dnsproxy"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
)

// proxyMark exempts the proxy's own connections from the redirect.
const proxyMark = 0x51

// Address is where a pod is, and what its servers see.
const (
	Address     = "10.1.1.2"
	AddressIPv6 = "fd01::2"
)

// Options are what a pod has beyond the defaults.
type Options struct {
	// Policy is the mesh's; default REGISTRY_ONLY.
	Policy mesh.OutboundPolicy
	// Workload is who lives in the pod; default nobody in the namespace "default".
	Workload mesh.Workload
	// Rules are fields of rules.Config and their values.
	Rules map[string]string
	// Names says what becomes of names that nobody registers.
	Names dnsproxy.Policy
	// Proxy changes the proxy's configuration; nil: as it is.
	Proxy func(*proxy.Config)
}

// Pod is a namespace with rules and a proxy in it, cabled to an Internet.
type Pod struct {
	T   *testing.T
	NS  *lab.Namespace
	Net *Internet
	Log heard.Text // what the proxy and the store tell an operator

	dir string // of resources, watched
	// credentials is a directory; namespace is the workload's in it.
	credentials, namespace string
	access                 accessLog
	stop                   func()

	force   count // of configurations
	store   *file.Store
	proxies *proxies
	clients clients
}

// New programs the rules and starts the proxy; both end with the test.
func New(t *testing.T, o Options) *Pod {
	t.Helper()
	p := &Pod{T: t, NS: labtest.New(t), Net: NewInternet(t), dir: t.TempDir(), credentials: t.TempDir(), namespace: cmp.Or(o.Workload.Namespace, "default")}
	Must(t, lab.Connect(
		lab.End{In: p.NS, Name: "eth0", Addresses: prefixes(Address+"/24", AddressIPv6+"/64")},
		lab.End{In: p.Net.NS, Name: "pod", Addresses: prefixes("10.1.1.1/24", "fd01::1/64")}))
	Must(t, p.NS.Do(func() error {
		if err := lab.AddRoute("eth0", netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.1.1.1")); err != nil {
			return err
		}
		return lab.AddRoute("eth0", netip.MustParsePrefix("::/0"), netip.MustParseAddr("fd01::1"))
	}))
	p.startProxy(o)
	p.program(o.Rules)
	return p
}

func (p *Pod) program(settings map[string]string) {
	p.T.Helper()
	c := rules.Default()
	set := func(field, value string) {
		if _, err := c.Set(field, value); err != nil {
			p.T.Fatal(err)
		}
	}
	set("exemption", "mark")
	set("exemptMark", strconv.Itoa(proxyMark))
	for field, value := range settings {
		set(field, value)
	}
	plan, err := rules.NewPlan(c)
	Must(p.T, err)
	Must(p.T, nft.Apply(p.NS.FD(), plan))
}

// Stop ends the proxy, as a crash does for new connections.
func (p *Pod) Stop() { p.stop() }

// Must ends the test on an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func prefixes(all ...string) (out []netip.Prefix) {
	for _, p := range all {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func (p *Pod) logger() *slog.Logger { return slog.New(slog.NewTextHandler(&p.Log, nil)) }

// resolvConf is a file that leads to the Internet's DNS.
func (p *Pod) resolvConf() string {
	file := p.T.TempDir() + "/resolv.conf"
	Must(p.T, os.WriteFile(file, []byte("nameserver "+DNS+"\noptions timeout:1\n"), 0o644))
	return file
}
