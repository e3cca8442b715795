package rules

import (
	"errors"
	"fmt"
	"slices"
)

// Validate reports every value and every combination that makes no sense. Parse
// calls it; a Config built in code or by Set needs the call.
func (c Config) Validate() error {
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if c.OutboundPort == 0 {
		complain(`outboundPort "0": not a port; use 1 to 65535`)
	}
	if c.DNSPort == 0 {
		complain(`dnsPort "0": not a port; use 1 to 65535`)
	}
	if c.DNSCapture && c.OutboundPort == c.DNSPort && c.DNSPort != 0 {
		complain(`dnsPort "%d": the same as outboundPort; give each its own port`, c.DNSPort)
	}
	if c.DNSCapture && c.DNSServers.None() {
		complain(`dnsServers "": dnsCapture is on and no server is named; name servers, remove the field to mean all, or switch dnsCapture off`)
	}
	if c.NonTCP != NonTCPReject && c.NonTCP != NonTCPAllow {
		complain(`nonTCP %q: not a known value; use reject or allow`, string(c.NonTCP))
	}
	if c.FailurePolicy != FailureBlock && c.FailurePolicy != FailureBypass {
		complain(`failurePolicy %q: not a known value; use block or bypass`, string(c.FailurePolicy))
	}
	errs = append(errs, c.validateExemption()...)
	for i, r := range slices.Concat(c.IncludeOutboundPorts, c.ExcludeOutboundPorts) {
		if r.First > r.Last {
			complain(`port range %d %q: runs backwards; write the smaller port first`, i+1, r)
		}
	}
	return errors.Join(errs...)
}

func (c Config) validateExemption() []error {
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch c.Exemption {
	case ExemptByUID:
		if c.ExemptMark != 0 {
			complain(`exemptMark %q: has no effect when exemption is uid; remove it or set exemption to mark`, formatMark(c.ExemptMark))
		}
	case ExemptByMark:
		if c.ExemptMark == 0 {
			complain(`exemptMark "0": exemption is mark, and every packet without a mark has this one; use another number`)
		}
		if len(c.ExemptUIDs) > 0 {
			complain(`exemptUIDs %q: has no effect when exemption is mark; remove it or set exemption to uid`, c.ExemptUIDs)
		}
		if len(c.ExemptGIDs) > 0 {
			complain(`exemptGIDs %q: has no effect when exemption is mark; remove it or set exemption to uid`, c.ExemptGIDs)
		}
	default:
		complain(`exemption %q: not a known value; use uid or mark`, string(c.Exemption))
	}
	return errs
}

// Doubts lists what is allowed and yet seldom meant.
func (c Config) Doubts() []Warning {
	var out []Warning
	v4, v6 := c.IncludeIPRanges.Families()
	switch {
	case v4 && !v6:
		out = append(out, Warning{"includeIPRanges", "holds no IPv6 range: IPv6 goes direct"})
	case v6 && !v4:
		out = append(out, Warning{"includeIPRanges", "holds no IPv4 range: IPv4 goes direct"})
	case c.IncludeIPRanges.None() && len(c.IncludeOutboundPorts) == 0 && !c.DNSCapture:
		out = append(out, Warning{"includeIPRanges", "is empty, and so are includeOutboundPorts: nothing is captured"})
	}
	if c.ExcludeIPRanges.All {
		out = append(out, Warning{"excludeIPRanges", "is *: nothing is captured"})
	}
	if !c.DNSCapture && !c.DNSServers.All {
		out = append(out, Warning{"dnsServers", "has no effect: dnsCapture is off"})
	}
	return out
}
