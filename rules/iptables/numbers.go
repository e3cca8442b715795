package iptables

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/rules"
)

// numberRange is the numbers first to last, both included.
type numberRange struct{ first, last uint32 }

func (r numberRange) String() string {
	if r.first == r.last {
		return strconv.FormatUint(uint64(r.first), 10)
	}
	return fmt.Sprintf("%d-%d", r.first, r.last)
}

// noID is the one number that is no user or group.
const noID = math.MaxUint32

// numbers are the ids of the match's set as ranges, or all others when it is
// negated: a negated test would match packets that have no socket, too.
func (t translator) numbers(m rules.Match) []numberRange {
	ids := slices.Sorted(slices.Values(t.sets[m.Set].Numbers))
	var in, out []numberRange
	next := uint64(0)
	for _, id := range ids {
		if n := len(in); n > 0 && id == in[n-1].last+1 {
			in[n-1].last = id
		} else {
			in = append(in, numberRange{id, id})
		}
		if uint64(id) > next {
			out = append(out, numberRange{uint32(next), id - 1})
		}
		next = uint64(id) + 1
	}
	if next < noID {
		out = append(out, numberRange{uint32(next), noID - 1})
	}
	if m.Not {
		return out
	}
	return in
}

// maxPorts is how many ports one multiport test holds; a range counts as two.
const maxPorts = 15

// ports tests a port of the protocol's header: one port, one range, or as many
// multiport tests as the set needs.
func (t translator) ports(protocol, option string, m rules.Match) []condition {
	if m.Set == "" {
		return []condition{{protocol: protocol, header: "--" + option + " " + strconv.Itoa(int(m.Port))}}
	}
	ports := t.sets[m.Set].Ports
	if m.Not {
		ports = otherPorts(ports)
	}
	if slices.Equal(ports, rules.AllPorts()) {
		return []condition{{protocol: protocol}}
	}
	if len(ports) == 1 {
		return []condition{{protocol: protocol, header: "--" + option + " " + portText(ports[0])}}
	}
	var out []condition
	for _, chunk := range chunks(ports) {
		out = append(out, condition{protocol: protocol, others: "-m multiport --" + option + "s " + chunk})
	}
	return out
}

func chunks(ports rules.Ports) []string {
	var out []string
	var chunk []string
	used := 0
	for _, r := range ports {
		cost := 2
		if r.First == r.Last {
			cost = 1
		}
		if used+cost > maxPorts {
			out = append(out, strings.Join(chunk, ","))
			chunk, used = nil, 0
		}
		chunk, used = append(chunk, portText(r)), used+cost
	}
	if used > 0 {
		out = append(out, strings.Join(chunk, ","))
	}
	return out
}

func portText(r rules.PortRange) string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d:%d", r.First, r.Last)
}

func otherPorts(ports rules.Ports) rules.Ports {
	var out rules.Ports
	next := 0
	for _, r := range ports {
		if int(r.First) > next {
			out = append(out, rules.PortRange{First: uint16(next), Last: r.First - 1})
		}
		next = int(r.Last) + 1
	}
	if next <= math.MaxUint16 {
		out = append(out, rules.PortRange{First: uint16(next), Last: math.MaxUint16})
	}
	return out
}
