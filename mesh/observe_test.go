package mesh

import (
	"net/netip"
	"testing"
)

func TestAPolicyThatIsLaidDownCountsOverResources(t *testing.T) {
	t.Parallel()
	s, _ := build(t, "kind: Sidecar\nmetadata: {name: s}\nspec: {outboundTrafficPolicy: {mode: ALLOW_ANY}}", Options{})
	of := func(p OutboundPolicy) *OutboundPolicy { return &p }
	for laid, want := range map[*OutboundPolicy]OutboundPolicy{nil: AllowAny, of(RegistryOnly): RegistryOnly, of(Observe): Observe, of(AllowAny): AllowAny} {
		if v := s.View(Workload{Policy: laid}); v.Policy != want || v.Passes() != (want != RegistryOnly) {
			t.Errorf("%v: %s", laid, v.Policy)
		}
	}
	for p, want := range map[OutboundPolicy]bool{Observe: true, AllowAny: false} {
		e := s.View(Workload{Policy: of(p)}).Explain(Inquiry{Dst: netip.MustParseAddrPort("203.0.113.9:80"), Speaks: TCPTraffic})
		if e.Fate != Passes || e.WouldRefuse != want {
			t.Errorf("%s: %+v", p, e)
		}
	}
}

func TestCutsIsWhatRegistryOnlyKeepsFromWhereItGoes(t *testing.T) {
	t.Parallel()
	entry := func(name, port, resolution string) string {
		return "kind: ServiceEntry\nmetadata: {name: " + name + "}\nspec: {hosts: [" + name + ".com], ports: [{number: " + port + ", name: p, protocol: TCP}], resolution: " + resolution + "}"
	}
	s, _ := build(t, join3(entry("own", "5432", "DNS"), entry("there", "6379", "NONE")), Options{Policy: Observe})
	v := s.View(Workload{})
	for _, tt := range []struct {
		port uint16
		name string
		want bool
	}{{9, "", true}, {5432, "", true}, {6379, "", false}, {6379, "stranger.com", true}} {
		if got := v.Cuts(netip.AddrPortFrom(netip.MustParseAddr("203.0.113.9"), tt.port), tt.name); got != tt.want {
			t.Errorf("%+v: %t", tt, got)
		}
	}
}
