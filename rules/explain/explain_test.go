package explain

import (
	"net/netip"
	"testing"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/trace"
)

func TestTheKernelAndTheConfigurationAgreeOrNot(t *testing.T) {
	t.Parallel()
	all := rules.Default()
	to := rules.Flow{Protocol: rules.TCP, Dst: netip.MustParseAddr("192.0.2.7"), DstPort: 443, OutInterface: "eth0"}
	redirected := func(port uint16) *trace.Result { return &trace.Result{Fate: trace.Redirected, Port: port} }
	for name, c := range map[string]struct {
		config  *rules.Config
		backend rules.Backend
		kernel  *trace.Result // nil: not asked
		verdict rules.Verdict
		agree   bool
		port    uint16
		says    string // of the kernel
	}{
		"the configuration alone":     {config: &all, verdict: rules.ToProxy, agree: true, port: all.OutboundPort},
		"both":                        {&all, rules.BackendNFT, redirected(all.OutboundPort), rules.ToProxy, true, all.OutboundPort, rules.ToProxy.String()},
		"rules that are gone":         {&all, rules.BackendNFT, &trace.Result{Fate: trace.Passes}, rules.ToProxy, false, all.OutboundPort, rules.Direct.String()},
		"somebody else's port":        {&all, rules.BackendNFT, redirected(9), rules.ToProxy, false, all.OutboundPort, "redirected to port 9, which is nobody's"},
		"a record that is unreadable": {nil, rules.BackendNFT, redirected(all.OutboundPort), rules.ToProxy, false, 0, rules.ToProxy.String()},
		"no rules at all":             {nil, "", &trace.Result{Fate: trace.Passes}, rules.Direct, true, 0, rules.Direct.String()},
		"no rules where some were":    {&all, "", &trace.Result{Fate: trace.Passes}, rules.ToProxy, false, all.OutboundPort, rules.Direct.String()},
	} {
		a := &Answer{Flow: to, Config: c.config, Backend: c.backend, Asked: c.kernel != nil}
		if a.Asked {
			a.Kernel = *c.kernel
		}
		a.decide()
		if a.Verdict != c.verdict || a.Agree() != c.agree || a.Port() != c.port || a.Captured() != (c.verdict == rules.ToProxy) || a.Asked && a.KernelVerdict() != c.says {
			t.Errorf("%s: %s, port %d, agree %t, the kernel: %s", name, a.Verdict, a.Port(), a.Agree(), a.KernelVerdict())
		}
	}
}

func TestTheElementThatDecidesIsNamed(t *testing.T) {
	t.Parallel()
	config := rules.Default()
	for name, value := range map[string]string{"includeIPRanges": "10.0.0.0/8", "excludeIPRanges": "10.1.0.0/16,10.2.0.0/16", "excludeOutboundPorts": "22,8000-8010"} {
		if _, err := config.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	for to, want := range map[string]string{
		"10.0.0.1:443":  "includeIPRanges 10.0.0.0/8",
		"10.2.0.1:443":  "excludeIPRanges 10.2.0.0/16",
		"10.0.0.1:8004": "excludeOutboundPorts 8000-8010",
		"192.0.2.7:443": "",
	} {
		at := netip.MustParseAddrPort(to)
		a := ByConfiguration(rules.Flow{Protocol: rules.TCP, Dst: at.Addr(), DstPort: at.Port()}, config, "a file")
		if got := a.Because(); got != want {
			t.Errorf("%s: %q, not %q (%s)", to, got, want, rules.Precedence()[a.Line].Name)
		}
	}
}

// Without routes to ask, loopback stays, and what arrives is for the namespace.
func TestWhereAFlowLeavesIsGuessed(t *testing.T) {
	t.Parallel()
	config := rules.Default()
	config.RerouteInterfaces = []string{"bridge"}
	away, here := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("127.0.0.1")
	for name, c := range map[string]struct {
		flow rules.Flow
		want string
	}{
		"sent":                     {rules.Flow{Dst: away}, ""},
		"to itself":                {rules.Flow{Dst: here}, "lo"},
		"arriving":                 {rules.Flow{Dst: away, InInterface: "eth0"}, "lo"},
		"from a machine behind it": {rules.Flow{Dst: away, InInterface: "bridge"}, ""},
		"as it was said":           {rules.Flow{Dst: here, OutInterface: "eth1"}, "eth1"},
	} {
		if got := ByConfiguration(c.flow, config, "").Flow.OutInterface; got != c.want {
			t.Errorf("%s: leaves by %q, not %q", name, got, c.want)
		}
	}
}
