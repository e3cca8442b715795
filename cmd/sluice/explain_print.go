package main

import (
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/trace"
)

// print says it to a person: the answer first, then where it is from.
func (e *explanation) print(w io.Writer) error {
	fmt.Fprintln(w, e.subject())
	if !e.agree() && e.config != nil {
		fmt.Fprintln(w, "in doubt: the kernel does not do what the configuration says")
	} else {
		fmt.Fprintln(w, e.answer(e.verdict))
	}
	if e.config != nil {
		line := rules.Precedence()[e.line]
		fmt.Fprintf(w, "  configuration (%s): line %d %q: %s%s\n", e.source, int(e.line)+1, line.Name, line.Matches, bracketed(e.because()))
	}
	if e.asked && e.backend != "" {
		fmt.Fprintf(w, "  kernel (%s): %s%s\n", e.backend, e.kernel, e.decider())
	} else if e.asked {
		fmt.Fprintln(w, "  kernel: it passes")
	} else {
		fmt.Fprintln(w, "  kernel: not asked; --netns names a namespace")
	}
	for _, n := range e.notes {
		fmt.Fprintf(w, "  note: %s\n", n)
	}
	for _, o := range e.kernel.Others {
		fmt.Fprintf(w, "  note: it also passes a chain that is not sluice's: %s\n", o)
	}
	return e.printAgreement(w)
}

func (e *explanation) printAgreement(w io.Writer) (err error) {
	switch {
	case !e.agree() && e.config == nil:
		_, err = fmt.Fprintln(w, "  THE CONFIGURATION CANNOT BE READ: only the kernel has answered")
	case !e.agree():
		_, err = fmt.Fprintf(w, "  THEY DISAGREE: by the configuration it is %s, by the kernel %s; 'sluice rules apply' puts it right\n", e.verdict, e.kernelVerdict())
	case e.asked && e.config != nil:
		_, err = fmt.Fprintln(w, "  they agree")
	}
	return err
}

// subject is the flow in words.
func (e *explanation) subject() string {
	f := e.flow
	out := f.Dst.String()
	if f.Protocol == rules.TCP || f.Protocol == rules.UDP {
		out = netip.AddrPortFrom(f.Dst, f.DstPort).String()
	}
	out += " over " + protocolName(f.Protocol)
	if f.InInterface != "" {
		out += ", arriving by " + f.InInterface
	} else {
		out += fmt.Sprintf(", from uid %d, gid %d", f.UID, f.GID)
	}
	if f.Mark != 0 {
		out += fmt.Sprintf(", mark 0x%x", f.Mark)
	}
	if f.Cgroup != "" {
		out += ", cgroup " + f.Cgroup
	}
	if f.OutInterface != "" {
		out += ", by " + f.OutInterface
	}
	return out
}

func protocolName(p rules.Protocol) string {
	for name, number := range protocols {
		if number == p {
			return strings.ToUpper(name)
		}
	}
	return fmt.Sprintf("protocol %d", p)
}

func (e *explanation) answer(v rules.Verdict) string {
	switch {
	case captured(v) && e.config != nil:
		return fmt.Sprintf("captured: %s, port %d", v, e.port(v))
	case captured(v):
		return "captured: " + v.String()
	case v == rules.Refused:
		return "not captured: refused"
	}
	return "not captured: direct"
}

func captured(v rules.Verdict) bool {
	return v == rules.ToProxy || v == rules.ToDNS || v == rules.ToInbound
}

func (e *explanation) port(v rules.Verdict) uint16 {
	return map[rules.Verdict]uint16{rules.ToProxy: e.config.OutboundPort, rules.ToDNS: e.config.DNSPort, rules.ToInbound: e.config.InboundPort}[v]
}

func (e *explanation) kernelVerdict() string {
	if e.nobody {
		return fmt.Sprintf("redirected to port %d, which is nobody's", e.kernel.Port)
	}
	return e.found.String()
}

func (e *explanation) decider() string {
	if e.kernel.Decided == nil {
		return ""
	}
	return " by " + e.kernel.Decided.String()
}

// because is the element of the configuration that made the line match.
func (e *explanation) because() string {
	c, f := e.config, e.flow
	switch e.line {
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

func bracketed(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

type explainedJSON struct {
	Flow     map[string]any `json:"flow"`
	Captured bool           `json:"captured"`
	Verdict  string         `json:"verdict"`
	Port     uint16         `json:"port,omitempty"`
	Config   *configJSON    `json:"config,omitempty"`
	Kernel   *kernelJSON    `json:"kernel,omitempty"`
	Agree    bool           `json:"agree"`
	Notes    []string       `json:"notes,omitempty"`
}

type configJSON struct {
	Source  string `json:"source"`
	Verdict string `json:"verdict"`
	Line    int    `json:"line"`
	Name    string `json:"name"`
	Matches string `json:"matches"`
	Because string `json:"because,omitempty"`
}

type kernelJSON struct {
	Backend rules.Backend `json:"backend,omitempty"`
	Verdict string        `json:"verdict"`
	Fate    trace.Fate    `json:"fate"`
	Port    uint16        `json:"port,omitempty"`
	Decided *trace.Step   `json:"decided,omitempty"`
	Steps   []trace.Step  `json:"steps,omitempty"`
	Others  []string      `json:"others,omitempty"`
}

// report is the explanation for programs.
func (e *explanation) report() explainedJSON {
	f := e.flow
	out := explainedJSON{
		Flow: map[string]any{"dst": f.Dst.String(), "port": f.DstPort, "proto": strings.ToLower(protocolName(f.Protocol)), "uid": f.UID, "gid": f.GID,
			"mark": f.Mark, "cgroup": f.Cgroup, "in": f.InInterface, "out": f.OutInterface},
		Captured: captured(e.verdict), Verdict: e.verdict.String(), Agree: e.agree(), Notes: e.notes,
	}
	if e.config != nil {
		line := rules.Precedence()[e.line]
		out.Port = e.port(e.verdict)
		out.Config = &configJSON{e.source, e.verdict.String(), int(e.line) + 1, line.Name, line.Matches, e.because()}
	}
	if e.asked {
		k := e.kernel
		out.Kernel = &kernelJSON{e.backend, e.kernelVerdict(), k.Fate, k.Port, k.Decided, k.Steps, k.Others}
	}
	return out
}
