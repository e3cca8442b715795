package rules

// preroutingChain judges what arrives. Replies never come here, since NAT sees the
// first packet of a connection only, nor does what the namespace sends to itself:
// for NAT that is decided once it has left.
func (b builder) preroutingChain() Chain {
	accept := Action{Kind: ActionAccept}
	out := b.entry(
		Rule{"arrives by an excluded interface", ReasonExcludedInterface, []Match{{Key: KeyInInterface, Set: setInterfaces}}, accept})
	if len(b.c.RerouteInterfaces) > 0 {
		rerouted := jump("rerouted", ReasonDNS, chainReroute)
		rerouted.Matches = []Match{{Key: KeyInInterface, Set: setReroute}}
		out = append(out, rerouted)
	}
	if len(b.c.IncludeInboundPorts) > 0 {
		toInbound := Action{Kind: ActionRedirect, Port: b.c.InboundPort}
		out = append(out,
			Rule{"excluded inbound port", ReasonExcludedInboundPort, []Match{{Key: KeyTCPPort, Set: setExcludeInPort}}, accept},
			Rule{"included inbound port", ReasonIncludedInboundPort, []Match{{Key: KeySYN}, {Key: KeyTCPPort, Set: setIncludeInPort}}, toInbound})
	}
	return Chain{Name: chainPrerouting, Hook: &Hook{"nat", Prerouting, priorityDstNAT}, Rules: out}
}

// rerouteChain is output_nat for packets that arrive: without an owner, and local
// by their address since they have no outgoing interface yet. It ends the walk,
// or rerouted packets would be taken for inbound ones.
func (b builder) rerouteChain() Chain {
	local := []Rule{{"local", ReasonLocal, []Match{{Key: KeyLocalDst}}, Action{Kind: ActionAccept}}}
	out := append([]Rule{jump("excluded", ReasonExcludedPort, chainExcluded)}, b.redirects(local)...)
	return Chain{Name: chainReroute, Rules: append(out, Rule{"rerouted and not captured", ReasonOther, nil, Action{Kind: ActionAccept}})}
}

// forwardChain is output_filter for packets that arrived by one of
// rerouteInterfaces. Redirected and local ones do not come here, they stay.
func (b builder) forwardChain() Chain {
	accept := Action{Kind: ActionAccept}
	out := b.entry(ongoing(),
		Rule{"not rerouted", ReasonInbound, []Match{{Key: KeyInInterface, Set: setReroute, Not: true}}, accept},
		jump("excluded", ReasonExcludedPort, chainExcluded))
	return Chain{Name: chainForward, Hook: &Hook{"filter", Forward, priorityFilter}, Rules: append(out, b.refusals(nil)...)}
}
