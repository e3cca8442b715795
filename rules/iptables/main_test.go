package iptables_test

import (
	"os"
	"testing"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/iptables"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

func TestMain(m *testing.M) {
	if os.Getenv(applyEnv) != "" {
		os.Exit(applyAndExit())
	}
	if folder := os.Getenv(nodeEnv); folder != "" {
		os.Exit(beNode(folder))
	}
	// An ordinary user's PATH may lack the folder of the programs.
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	labtest.Main(m)
}

// eachVariant runs a test with both variants of the programs. Only root's `make
// test` installs them, so an ordinary user may be without.
func eachVariant(t *testing.T, f func(t *testing.T, fw *iptables.Firewall)) {
	t.Parallel()
	for _, v := range []iptables.Variant{iptables.NFT, iptables.Legacy} {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			f(t, find(t, v))
		})
	}
}

func find(t testing.TB, v iptables.Variant) *iptables.Firewall {
	t.Helper()
	fw, err := iptables.Find(v)
	labtest.NeedsInstalled(t, err)
	return fw
}

// full has every kind of rule that a plan can have beside an exemption by id.
func full(t testing.TB, more ...string) rules.Plan {
	return rulestest.Plan(t, append([]string{"includeIPRanges=10.0.0.0/8,127.0.0.2,127.0.0.9,192.0.2.1,192.0.2.9,240.0.0.0/4,2001:db8::/32,::1,fd00::1", "excludeIPRanges=10.96.0.0/12,ff00::/8",
		"includeOutboundPorts=80,443,8000-8999,9001,9003,9005,9007,9009,9011,9013,9015,9017,9019,9021", "excludeOutboundPorts=22,60000-65535",
		"excludeInterfaces=net1,net2", "rerouteInterfaces=tap0,tap1", "includeInboundPorts=8080,9000-9099", "excludeInboundPorts=9090",
		"dnsCapture=true", "dnsServers=10.96.0.10,127.0.0.53,2001:db8::53", "exemption=mark", "exemptMark=0x539"}, more...)...)
}

func apply(t testing.TB, fw *iptables.Firewall, ns *lab.Namespace, p rules.Plan) {
	t.Helper()
	if err := fw.Apply(ns.FD(), p); err != nil {
		t.Fatalf("apply: %v\n%s", err, p)
	}
}
