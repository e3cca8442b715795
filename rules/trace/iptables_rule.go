package trace

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/rules"
)

// savedRule is one rule of iptables-save: its tests, and what it does.
type savedRule struct {
	tests   []test
	target  string
	goesTo  bool // -g
	options map[string]string
	comment string
}

// test is an option and its value; tcp-flags has two words.
type test struct {
	name, value string
	not         bool
}

// targetOptions belong to what the rule does.
var targetOptions = []string{"--to-ports", "--reject-with", "--zone"}

func readRule(words []string) savedRule {
	r := savedRule{options: map[string]string{}}
	not := false
	for i := 0; i < len(words); i++ {
		word := words[i]
		if word == "!" {
			not = true
			continue
		}
		value := ""
		if i+1 < len(words) {
			i++
			value = words[i]
		}
		switch {
		case word == "-m":
		case word == "-j", word == "-g":
			r.target, r.goesTo = value, word == "-g"
		case word == "--comment":
			r.comment = value
		case slices.Contains(targetOptions, word):
			r.options[word] = value
		case word == "--tcp-flags" && i+1 < len(words):
			i++
			r.tests = append(r.tests, test{word, value + " " + words[i], not})
		default:
			r.tests = append(r.tests, test{word, value, not})
		}
		not = false
	}
	return r
}

func (r savedRule) end() (end, error) {
	switch r.target {
	case "ACCEPT":
		return end{kind: endAccept}, nil
	case "RETURN":
		return end{kind: endReturn}, nil
	case "DROP":
		return end{kind: endDrop}, nil
	case "REJECT":
		return end{kind: endReject}, nil
	case "CT", "":
		return end{kind: endContinue}, nil
	case "REDIRECT":
		port, err := strconv.ParseUint(r.options["--to-ports"], 10, 16)
		if err != nil {
			return end{}, fmt.Errorf("%w: it redirects to %q", ErrUnreadable, r.options["--to-ports"])
		}
		return end{kind: endRedirect, port: uint16(port)}, nil
	}
	if r.goesTo {
		return end{kind: endGoto, chain: r.target}, nil
	}
	if strings.HasPrefix(r.target, "SLUICE_") {
		return end{kind: endJump, chain: r.target}, nil
	}
	return end{}, fmt.Errorf("%w: its target is %s", ErrUnreadable, r.target)
}

func (r savedRule) matches(p *packet) (bool, error) {
	for _, t := range r.tests {
		holds, applies, err := t.holds(p)
		if err != nil {
			return false, err
		}
		if !applies || holds == t.not {
			return false, nil
		}
	}
	return true, nil
}

// holds judges one test. One that does not apply to the packet fails, negated too.
func (t test) holds(p *packet) (holds, applies bool, err error) {
	sent := p.InInterface == ""
	switch t.name {
	case "-p":
		return protocolNamed(t.value) == p.Protocol, true, nil
	case "-o":
		return p.OutInterface == t.value, true, nil
	case "-i":
		return p.InInterface == t.value, true, nil
	case "-d":
		dst, err := netip.ParsePrefix(t.value)
		return err == nil && dst.Contains(p.Dst), true, err
	case "--dport", "--dports":
		return among(t.value, uint32(p.DstPort), ":"), true, nil
	case "--sport", "--sports":
		return among(t.value, uint32(p.SrcPort), ":"), true, nil
	case "--uid-owner":
		return among(t.value, p.UID, "-"), sent, nil
	case "--gid-owner":
		return among(t.value, p.GID, "-"), sent, nil
	case "--path":
		return rules.Cgroups{t.value}.Contain(p.Cgroup), sent, nil
	case "--tcp-flags":
		return p.Protocol == rules.TCP && t.value == "FIN,SYN,RST,ACK SYN", true, nil
	case "--icmp-type", "--icmpv6-type":
		n, err := strconv.Atoi(t.value)
		return int(p.ICMPType) == n, true, err
	case "--dst-type":
		return t.value == "LOCAL" && p.OutInterface == "lo", true, nil
	case "--src-type": // what is sent has an address of the namespace
		return (t.value == "LOCAL") == sent, true, nil
	case "--mark":
		n, err := strconv.ParseUint(t.value, 0, 32)
		return uint64(p.Mark) == n, true, err
	case "--ctstatus": // CONFIRMED
		return false, true, nil
	case "--ctstate":
		return t.state(p), true, nil
	}
	return false, false, fmt.Errorf("%w: it tests %s", ErrUnreadable, t.name)
}

// state: the packet begins a connection that nothing is known of.
func (t test) state(p *packet) bool {
	states := strings.Split(t.value, ",")
	return slices.Contains(states, "NEW") || p.redirected && slices.Contains(states, "DNAT")
}

var protocolNames = map[string]rules.Protocol{
	"icmp": rules.ICMP, "igmp": rules.IGMP, "tcp": rules.TCP, "udp": rules.UDP, "ipv6-icmp": rules.ICMPv6, "sctp": rules.SCTP,
}

func protocolNamed(name string) rules.Protocol {
	if p, known := protocolNames[name]; known {
		return p
	}
	n, err := strconv.ParseUint(name, 10, 8)
	if err != nil {
		return 0
	}
	return rules.Protocol(n)
}

// among looks a number up in a comma list of numbers and ranges.
func among(list string, n uint32, between string) bool {
	for item := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(item, between)
		if !isRange {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 32)
		to, err2 := strconv.ParseUint(last, 10, 32)
		if err1 == nil && err2 == nil && from <= uint64(n) && uint64(n) <= to {
			return true
		}
	}
	return false
}
