package mesh

import (
	"cmp"
	"slices"
	"strings"
)

// The words are the API's, where it has one.
var (
	protocolText   = [...]string{Unset: "unset", HTTP: "HTTP", HTTP2: "HTTP2", TLS: "TLS", TCP: "TCP"}
	resolutionText = [...]string{ResolveNone: "NONE", ResolveStatic: "STATIC", ResolveDNS: "DNS", ResolveDNSRoundRobin: "DNS_ROUND_ROBIN"}
	policyText     = [...]string{RegistryOnly: "REGISTRY_ONLY", AllowAny: "ALLOW_ANY", Observe: "Observe"}
	balanceText    = [...]string{LeastRequest: "LEAST_REQUEST", RoundRobin: "ROUND_ROBIN", Random: "RANDOM"}
	tlsModeText    = [...]string{TLSSimple: "SIMPLE", TLSMutual: "MUTUAL"}
)

// ParseOutboundPolicy reads a policy as people write it, in any case; false: it is none.
func ParseOutboundPolicy(text string) (OutboundPolicy, bool) {
	i := slices.IndexFunc(policyText[:], func(word string) bool { return strings.EqualFold(word, text) })
	return OutboundPolicy(max(i, 0)), i >= 0
}

// ParseProtocol reads what Protocol.String writes; Unset for anything else.
func ParseProtocol(text string) Protocol {
	return Protocol(max(slices.Index(protocolText[:], text), 0))
}

func (p Protocol) String() string       { return protocolText[p] }
func (r Resolution) String() string     { return resolutionText[r] }
func (p OutboundPolicy) String() string { return policyText[p] }
func (b Balance) String() string        { return balanceText[b] }
func (m TLSMode) String() string        { return cmp.Or(tlsModeText[m], "DISABLE") }

// object names the resource that a source is in.
func (s Source) object() string { return s.Kind + " " + s.Namespace + "/" + s.Name }
