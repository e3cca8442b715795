package mesh

import (
	"cmp"
	"fmt"
)

// The words are the API's, where it has one.
var (
	protocolText   = [...]string{Unset: "unset", HTTP: "HTTP", HTTP2: "HTTP2", TLS: "TLS", TCP: "TCP"}
	resolutionText = [...]string{ResolveNone: "NONE", ResolveStatic: "STATIC", ResolveDNS: "DNS", ResolveDNSRoundRobin: "DNS_ROUND_ROBIN"}
	policyText     = [...]string{RegistryOnly: "REGISTRY_ONLY", AllowAny: "ALLOW_ANY"}
	tlsModeText    = [...]string{TLSSimple: "SIMPLE", TLSMutual: "MUTUAL"}
)

func (p Protocol) String() string       { return protocolText[p] }
func (r Resolution) String() string     { return resolutionText[r] }
func (p OutboundPolicy) String() string { return policyText[p] }
func (m TLSMode) String() string        { return cmp.Or(tlsModeText[m], "DISABLE") }

// String is the object and where it is written: ServiceEntry default/httpbin (egress.yaml:3).
func (s Source) String() string {
	if s.Kind == "" {
		return ""
	}
	object := s.Kind + " " + s.Namespace + "/" + s.Name
	if s.File == "" {
		return object
	}
	return fmt.Sprintf("%s (%s)", object, s.Place())
}
