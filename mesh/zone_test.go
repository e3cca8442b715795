package mesh

import (
	"net/netip"
	"testing"
)

func TestShortNamesMeanServicesAsResolversReadThem(t *testing.T) {
	t.Parallel()
	http := []ServicePort{{Name: "http", Port: 80}}
	for _, domain := range []string{"", "corp.example"} {
		var places []Place
		for i, s := range []Service{
			{Namespace: "shop", Name: "web", Addresses: addrs("10.96.0.1")},
			{Namespace: "other", Name: "web", Addresses: addrs("10.96.0.2")},
			{Namespace: "shop", Name: "db", Endpoints: addrs("10.1.0.1")},
			{Namespace: "shop", Name: "app", Endpoints: addrs("10.1.0.2")}, // a public domain too
		} {
			s.Ports = http
			r, _ := FromService(s, domain)
			places = append(places, Place{Resource: r, Position: i})
		}
		squat, _ := Decode("s", []byte("apiVersion: networking.istio.io/v1\n"+entry("s", "hosts: [web.far], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE")), DecodeOptions{})
		s := NewIndex(Options{ClusterDomain: domain}).Change(nil, append(places, Place{Resource: squat[0], Position: 9}))
		zone := newZone(domain)
		for _, tt := range []struct{ namespace, host, to, want string }{
			{"shop", "web", "", "web.shop"}, {"other", "web", "", "web.other"}, {"third", "web", "", ""},
			{"third", "web.shop", "", "web.shop"}, {"third", "web.shop.svc", "", "web.shop"}, {"third", "web.other.svc", "", "web.other"},
			{"third", "web.shop.svc.cluster", "", ""}, {"third", "shop", "", ""}, {"third", "svc", "", ""}, {"third", "web.nowhere", "", ""},
			{"third", "web.far", "", "-"}, // registered by that very name
			{"shop", "db-0.db", "10.1.0.1", "*.db.shop"}, {"third", "db-0.db.shop", "10.1.0.1", "*.db.shop"}, {"third", "db-0.db.shop.svc", "10.1.0.1", "*.db.shop"},
			{"third", "db-0.db", "10.1.0.1", ""}, {"shop", "x.app", "10.1.0.2", "*.app.shop"}, {"shop", "x.app", "203.0.113.9", ""}, {"shop", "x.app", "", "*.app.shop"},
		} {
			var to netip.Addr
			if tt.to != "" {
				to = netip.MustParseAddr(tt.to)
			}
			got := ""
			if vh := s.View(Workload{Namespace: tt.namespace}).ChooseHTTP(netip.AddrPortFrom(to, 80), []byte(tt.host)); vh != nil {
				got = vh.Host
			}
			switch {
			case tt.want == "-" && got == tt.host:
			case tt.want != "" && got == tt.want+string(zone):
			case tt.want == "" && got == "":
			default:
				t.Errorf("domain %q: %s says %q at %s: %q, want %q", domain, tt.namespace, tt.host, tt.to, got, tt.want)
			}
		}
	}
}

func TestAShortNameFollowsTheServiceThatComesAndGoes(t *testing.T) {
	t.Parallel()
	x := NewIndex(Options{})
	r, _ := FromService(Service{Namespace: "shop", Name: "web", Addresses: addrs("10.96.0.1"), Ports: []ServicePort{{Name: "http", Port: 80}}}, "")
	other, _ := FromService(Service{Namespace: "far", Name: "any", Addresses: addrs("10.96.0.2"), Ports: []ServicePort{{Name: "http", Port: 80}}}, "")
	asks := func() bool {
		v := x.Snapshot().View(Workload{Namespace: "shop"})
		return v.ChooseHTTP(netip.MustParseAddrPort("10.96.0.1:80"), []byte("web")) != nil
	}
	x.Change(nil, []Place{{Resource: other}})
	for range 3 {
		if asks() {
			t.Fatal("it is there before it has come")
		}
		x.Change(nil, []Place{{Resource: r, Position: 1}})
		if !asks() {
			t.Fatal("it has come, and is not there")
		}
		x.Change([]*Resource{r}, nil)
	}
}

func TestShortNamesAreFoundWithoutAllocation(t *testing.T) {
	s := withServices(t, "", Service{Namespace: "shop", Name: "web", Addresses: addrs("10.96.0.1"), Ports: []ServicePort{{Name: "http", Port: 80}}})
	v, dst := s.View(Workload{Namespace: "shop"}), netip.MustParseAddrPort("10.96.0.1:80")
	for _, host := range []string{"web", "web.shop.svc", "www.stranger.example.com"} {
		name := []byte(host)
		for range 100 {
			v.ChooseHTTP(dst, name)
		}
		if n := testing.AllocsPerRun(100, func() { v.ChooseHTTP(dst, name) }); n > 0 {
			t.Errorf("%s: %v", host, n)
		}
	}
}
