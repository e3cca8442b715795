package main

import (
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/explain"
	"github.com/sluice-cni/sluice/rules/trace"
)

// printRules says to a person what the rules answer: the answer first, then where it is from.
func printRules(w io.Writer, a *explain.Answer) error {
	fmt.Fprintln(w, subject(a))
	if !a.Agree() && a.Config != nil {
		fmt.Fprintln(w, "in doubt: the kernel does not do what the configuration says")
	} else {
		fmt.Fprintln(w, answer(a))
	}
	if a.Config != nil {
		line := rules.Precedence()[a.Line]
		fmt.Fprintf(w, "  configuration (%s): line %d %q: %s%s\n", a.Source, int(a.Line)+1, line.Name, line.Matches, bracketed(a.Because()))
	}
	if a.Asked && a.Backend != "" {
		fmt.Fprintf(w, "  kernel (%s): %s%s\n", a.Backend, a.Kernel, decider(a))
	} else if a.Asked {
		fmt.Fprintln(w, "  kernel: it passes")
	} else {
		fmt.Fprintln(w, "  kernel: not asked; --netns names a namespace")
	}
	for _, n := range a.Notes {
		fmt.Fprintf(w, "  note: %s\n", n)
	}
	for _, o := range a.Kernel.Others {
		fmt.Fprintf(w, "  note: it also passes a chain that is not sluice's: %s\n", o)
	}
	return printAgreement(w, a)
}

func printAgreement(w io.Writer, a *explain.Answer) (err error) {
	switch {
	case !a.Agree() && a.Config == nil:
		_, err = fmt.Fprintln(w, "  THE CONFIGURATION CANNOT BE READ: only the kernel has answered")
	case !a.Agree():
		_, err = fmt.Fprintf(w, "  THEY DISAGREE: by the configuration it is %s, by the kernel %s; 'sluice rules apply' puts it right\n", a.Verdict, a.KernelVerdict())
	case a.Asked && a.Config != nil:
		_, err = fmt.Fprintln(w, "  they agree")
	}
	return err
}

// subject is the flow in words.
func subject(a *explain.Answer) string {
	f := a.Flow
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

func answer(a *explain.Answer) string {
	switch {
	case a.Captured() && a.Config != nil:
		return fmt.Sprintf("captured: %s, port %d", a.Verdict, a.Port())
	case a.Captured():
		return "captured: " + a.Verdict.String()
	case a.Verdict == rules.Refused:
		return "not captured: refused"
	}
	return "not captured: direct"
}

func decider(a *explain.Answer) string {
	if a.Kernel.Decided == nil {
		return ""
	}
	return " by " + a.Kernel.Decided.String()
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

// rulesReport is what the rules answer, for programs.
func rulesReport(a *explain.Answer) explainedJSON {
	f := a.Flow
	out := explainedJSON{
		Flow: map[string]any{"dst": f.Dst.String(), "port": f.DstPort, "proto": strings.ToLower(protocolName(f.Protocol)), "uid": f.UID, "gid": f.GID,
			"mark": f.Mark, "cgroup": f.Cgroup, "in": f.InInterface, "out": f.OutInterface},
		Captured: a.Captured(), Verdict: a.Verdict.String(), Port: a.Port(), Agree: a.Agree(), Notes: a.Notes,
	}
	if a.Config != nil {
		line := rules.Precedence()[a.Line]
		out.Config = &configJSON{a.Source, a.Verdict.String(), int(a.Line) + 1, line.Name, line.Matches, a.Because()}
	}
	if a.Asked {
		k := a.Kernel
		out.Kernel = &kernelJSON{a.Backend, a.KernelVerdict(), k.Fate, k.Port, k.Decided, k.Steps, k.Others}
	}
	return out
}
