// Package explain asks about one flow: the configuration what the rules should do with it,
// the kernel what they do, and whether that is the same.
package explain

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/trace"
)

// Answer is both answers about one flow. What the proxy does with it is another question.
type Answer struct {
	Flow    rules.Flow    // with the interface that it leaves by
	Verdict rules.Verdict // the configuration's; the kernel's where there is none

	Config *rules.Config // nil where there is none
	Source string        // where it is from
	Line   rules.Reason  // by which it decides

	Asked   bool          // the kernel was
	Backend rules.Backend // "" where the kernel was not asked or has no rules
	Kernel  trace.Result
	Found   rules.Verdict // the kernel's
	Nobody  bool          // it redirects to a port that the configuration does not name
	Notes   []string
}

// ByConfiguration asks a configuration alone; source is where it is from. The flow leaves by
// the interface that it says, else as guessed.
func ByConfiguration(flow rules.Flow, config rules.Config, source string) *Answer {
	a := &Answer{Flow: flow, Config: &config, Source: source}
	a.guessRoute()
	a.decide()
	return a
}

// InNamespace asks the kernel too, about a network namespace: without a configuration (nil)
// the one that is kept with its rules is meant.
func InNamespace(ns *os.File, flow rules.Flow, config *rules.Config, source string) (*Answer, error) {
	a := &Answer{Flow: flow, Config: config, Source: source}
	if err := a.route(ns); err != nil {
		return nil, err
	}
	if err := a.askKernel(ns); err != nil {
		return nil, err
	}
	a.decide()
	return a, nil
}

// decide asks the configuration, and says the kernel's answer in its words.
func (a *Answer) decide() {
	words := rules.Default()
	if a.Config != nil {
		words = *a.Config
		a.Verdict, a.Line = rules.Decide(words, a.Flow)
	}
	if !a.Asked {
		return
	}
	var known bool
	a.Found, known = a.Kernel.Verdict(words, a.Flow)
	a.Nobody = !known
	if a.Config == nil {
		a.Verdict = a.Found
	}
}

// Agree: with one answer only there is nothing to disagree with.
func (a *Answer) Agree() bool {
	switch {
	case a.Nobody:
		return false
	case a.Backend != "" && a.Config == nil:
		return false // rules whose configuration cannot be read
	}
	return !a.Asked || a.Config == nil || a.Found == a.Verdict
}

// Captured: it comes to the proxy.
func (a *Answer) Captured() bool {
	return a.Verdict == rules.ToProxy || a.Verdict == rules.ToDNS || a.Verdict == rules.ToInbound
}

// Port is the one to which the configuration has it redirected; 0: to none, or there is no
// configuration.
func (a *Answer) Port() uint16 {
	if a.Config == nil {
		return 0
	}
	return map[rules.Verdict]uint16{rules.ToProxy: a.Config.OutboundPort, rules.ToDNS: a.Config.DNSPort, rules.ToInbound: a.Config.InboundPort}[a.Verdict]
}

// KernelVerdict is the kernel's in words.
func (a *Answer) KernelVerdict() string {
	if a.Nobody {
		return fmt.Sprintf("redirected to port %d, which is nobody's", a.Kernel.Port)
	}
	return a.Found.String()
}

// Because is the element of the configuration that made the line match.
func (a *Answer) Because() string {
	c, f := a.Config, a.Flow
	switch a.Line {
	case rules.ReasonIncludedRange, rules.ReasonNonTCP:
		if text := rangeOf("includeIPRanges", c.IncludeIPRanges, f.Dst); text != "" {
			return text
		}
		return rangeOf("virtual range", rules.VirtualRanges(), f.Dst)
	case rules.ReasonExcludedRange:
		return rangeOf("excludeIPRanges", c.ExcludeIPRanges, f.Dst)
	case rules.ReasonDNS:
		return rangeOf("dnsServers", c.DNSServers, f.Dst)
	case rules.ReasonIncludedPort:
		return portOf("includeOutboundPorts", c.IncludeOutboundPorts, f.DstPort)
	case rules.ReasonExcludedPort:
		return portOf("excludeOutboundPorts", c.ExcludeOutboundPorts, f.DstPort)
	case rules.ReasonIncludedInboundPort:
		return portOf("includeInboundPorts", c.IncludeInboundPorts, f.DstPort)
	case rules.ReasonExcludedInboundPort:
		return portOf("excludeInboundPorts", c.ExcludeInboundPorts, f.DstPort)
	}
	return ""
}

func rangeOf(field string, l cidr.List, addr netip.Addr) string {
	if l.All {
		return field + " *"
	}
	for _, p := range l.Prefixes {
		if p.Contains(addr) {
			return field + " " + p.String()
		}
	}
	return ""
}

func portOf(field string, ports rules.Ports, port uint16) string {
	for _, r := range ports {
		if r.First <= port && port <= r.Last {
			return field + " " + rules.Ports{r}.String()
		}
	}
	return ""
}
