package dnsproxy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/mesh"
)

func groundFor(t *testing.T, policy mesh.OutboundPolicy, yaml string) *ground {
	r := &rig{t: t}
	return &ground{view: r.snapshot(policy, yaml).View(mesh.Workload{}), search: strings.Fields("default.svc.cluster.local svc.cluster.local cluster.local ec2.internal")}
}

func TestANameIsJudgedByTheMostExactReading(t *testing.T) {
	t.Parallel()
	g := groundFor(t, mesh.RegistryOnly, tcp("a", "api.example.com")+tcp("b", "example.com")+http("w", "*.wild.com", "NONE")+tcp("s", "db")+
		tcp("k", "kubernetes.default")+tcp("full", "api.example.com.svc.cluster.local"))
	for name, want := range map[string]string{
		"api.example.com":     "registered api.example.com",
		"x.wild.com":          "registered x.wild.com",
		"wild.com":            "unregistered wild.com",
		"unknown.example.com": "unregistered unknown.example.com",
		// A pod's search domains: too long to be a name of the cluster's.
		"api.example.com.default.svc.cluster.local": "registered api.example.com expanded",
		"x.wild.com.default.svc.cluster.local":      "registered x.wild.com expanded",
		"api.example.com.cluster.local":             "registered api.example.com expanded",
		// Registered itself, whatever could be stripped.
		"api.example.com.svc.cluster.local": "registered api.example.com.svc.cluster.local",
		// Could be a pod of a headless service, or a service: it is asked for first.
		"example.com.default.svc.cluster.local":        "registered example.com expanded doubtful",
		"kubernetes.default.default.svc.cluster.local": "registered kubernetes.default expanded doubtful",
		"kubernetes.default.svc.cluster.local":         "registered kubernetes.default expanded doubtful",
		"db.default.svc.cluster.local":                 "registered db expanded doubtful",
		// Whatever the node's domain has.
		"api.example.com.ec2.internal": "registered api.example.com expanded doubtful",
		// What is said about a service at a name.
		"_mongodb._tcp.api.example.com":                           "registered _mongodb._tcp.api.example.com",
		"_mongodb._tcp.api.example.com.default.svc.cluster.local": "registered _mongodb._tcp.api.example.com expanded",
		"_tcp.db.default.svc.cluster.local":                       "registered _tcp.db expanded doubtful",
		"_tcp":                                                    "unregistered _tcp",
		"":                                                        "unregistered ",
		"default.svc.cluster.local":                               "unregistered default.svc.cluster.local",
		`x\.wild.com`:                                             `unregistered x\.wild.com`,
	} {
		v := g.judge(name)
		got := [...]string{"unregistered", "registered", "reverse", "forbidden"}[v.kind] + " " + v.target
		if v.expanded {
			got += " expanded"
		}
		if v.doubtful {
			got += " doubtful"
		}
		if got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

func TestRegistryOnlyForbidsWhatNobodyRegistersAndNobodyAllows(t *testing.T) {
	t.Parallel()
	g := groundFor(t, mesh.RegistryOnly, tcp("a", "api.example.com")+http("w", "*.wild.com", "NONE"))
	g.policy, g.allow = RegistryOnly, []string{"corp.test"}
	any := groundFor(t, mesh.AllowAny, "")
	any.policy = RegistryOnly
	for name, want := range map[string]kind{
		"api.example.com": registered, "a.b.wild.com": registered, "api.example.com.ec2.internal": registered,
		"payments.other.svc.cluster.local": unregistered, "cluster.local": unregistered, "anything.cluster.local": unregistered,
		"corp.test": unregistered, "x.corp.test": unregistered,
		"evilcorp.test": forbidden, "evilcluster.local": forbidden, "data.attacker.test": forbidden, "data.ec2.internal": forbidden, "com": forbidden, "": forbidden,
		`data\.corp.test`: forbidden, `secret\.x.corp.test`: forbidden, "8.8.8.8.in-addr.arpa": forbidden,
		"1.9.240.240.in-addr.arpa": reverse,
	} {
		if got := g.judge(name).kind; got != want {
			t.Errorf("%q: %d, want %d", name, got, want)
		}
		if got := any.judge(name).kind; got == forbidden {
			t.Errorf("%q is forbidden under ALLOW_ANY", name)
		}
	}
	g.search = []string{"ns.svc.my.zone", "svc.my.zone", "my.zone"}
	if g.judge("a.b.svc.my.zone").kind == forbidden || g.judge("a.cluster.local").kind != forbidden {
		t.Error("the cluster's zone is not the one in the search domains")
	}
}

func TestReverseNamesAreOfWholeAddresses(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"4.3.240.240.in-addr.arpa":   "240.240.3.4",
		"3.240.240.in-addr.arpa":     "",
		"1.4.3.240.240.in-addr.arpa": "",
		"04.3.240.240.in-addr.arpa":  "",
		"x.3.240.240.in-addr.arpa":   "",
		"in-addr.arpa":               "",
		"4.0.3.0." + strings.Repeat("0.", 20) + "2.0.0.0.1.0.0.2.ip6.arpa":  "2001:2::304",
		"40.3.0." + strings.Repeat("0.", 20) + "2.0.0.0.1.0.0.2.ip6.arpa":   "",
		"4.0.3.0." + strings.Repeat("0.", 20) + "2.0.0.0.1.0.0.2..ip6.arpa": "",
		"g.0.3.0." + strings.Repeat("0.", 20) + "2.0.0.0.1.0.0.2.ip6.arpa":  "",
	} {
		got, ok := reverseAddr(name)
		if ok != (want != "") || ok && got != netip.MustParseAddr(want) {
			t.Errorf("%q: %s, %v", name, got, ok)
		}
	}
}
