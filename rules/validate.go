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
	if !slices.Contains([]Backend{BackendAuto, BackendNFT, BackendIPTablesNFT, BackendIPTablesLegacy}, c.Backend) {
		complain(`backend %q: not a known value; use auto, nft, iptables-nft or iptables-legacy`, string(c.Backend))
	}
	errs = append(errs, c.validateExemption()...)
	errs = append(errs, c.validateInbound()...)
	for i, r := range slices.Concat(c.IncludeOutboundPorts, c.ExcludeOutboundPorts, c.IncludeInboundPorts, c.ExcludeInboundPorts) {
		if r.First > r.Last {
			complain(`port range %d %q: runs backwards; write the smaller port first`, i+1, r)
		}
	}
	return errors.Join(errs...)
}

// validateInbound looks at what concerns packets that arrive.
func (c Config) validateInbound() []error {
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.InboundPort == 0 {
		complain(`inboundPort "0": not a port; use 1 to 65535`)
	}
	if len(c.IncludeInboundPorts) > 0 && c.InboundPort == c.OutboundPort {
		complain(`inboundPort "%d": the same as outboundPort; give each its own port`, c.InboundPort)
	}
	if len(c.IncludeInboundPorts) > 0 && c.DNSCapture && c.InboundPort == c.DNSPort {
		complain(`inboundPort "%d": the same as dnsPort; give each its own port`, c.InboundPort)
	}
	for _, name := range c.RerouteInterfaces {
		if slices.Contains(c.ExcludeInterfaces, name) {
			complain(`rerouteInterfaces %q: also in excludeInterfaces, which win; remove it from one of the two`, name)
		}
		if name == "lo" {
			complain(`rerouteInterfaces "lo": what arrives there was sent by this namespace and is judged as that already; remove it`)
		}
	}
	return errs
}

// validateExemption refuses what the chosen exemption would ignore: somebody who
// wrote it counts on it.
func (c Config) validateExemption() []error {
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	ignored := func(field, value string, given bool, belongs Exemption) {
		if given && c.Exemption != belongs {
			complain(`%s %q: has no effect when exemption is %s; remove it or set exemption to %s`, field, value, c.Exemption, belongs)
		}
	}
	switch c.Exemption {
	case ExemptByUID, ExemptByMark, ExemptByCgroup:
	default:
		complain(`exemption %q: not a known value; use uid, mark or cgroup`, string(c.Exemption))
		return errs
	}
	ignored("exemptUIDs", c.ExemptUIDs.String(), len(c.ExemptUIDs) > 0, ExemptByUID)
	ignored("exemptGIDs", c.ExemptGIDs.String(), len(c.ExemptGIDs) > 0, ExemptByUID)
	ignored("exemptMark", formatMark(c.ExemptMark), c.ExemptMark != 0, ExemptByMark)
	ignored("exemptCgroups", c.ExemptCgroups.String(), len(c.ExemptCgroups) > 0, ExemptByCgroup)
	if c.Exemption == ExemptByMark && c.ExemptMark == 0 {
		complain(`exemptMark "0": exemption is mark, and every packet without a mark has this one; use another number`)
	}
	return errs
}

// Doubts lists what is allowed and yet seldom meant.
func (c Config) Doubts() []Warning {
	var out []Warning
	out = append(out, c.doubtsOfFamilies()...)
	switch {
	case c.IncludeIPRanges.None() && !c.AutoRanges && len(c.IncludeOutboundPorts) == 0 && !c.DNSCapture && len(c.IncludeInboundPorts) == 0:
		out = append(out, Warning{"includeIPRanges", "is empty, and so are includeOutboundPorts: nothing is captured"})
	}
	if c.ExcludeIPRanges.All {
		out = append(out, Warning{"excludeIPRanges", "is *: nothing is captured"})
	}
	if slices.Equal(c.ExcludeOutboundPorts, AllPorts()) {
		out = append(out, Warning{"excludeOutboundPorts", "is *: no TCP and no UDP that is sent is captured"})
	}
	if !c.OwnerGroupsInclude.All && len(c.OwnerGroupsInclude.IDs) == 0 {
		out = append(out, Warning{"ownerGroupsInclude", "is empty: nothing that a process of this namespace sends is captured"})
	}
	if len(c.ExcludeInboundPorts) > 0 && len(c.IncludeInboundPorts) == 0 {
		out = append(out, Warning{"excludeInboundPorts", "has no effect: includeInboundPorts is empty"})
	}
	if c.Exemption == ExemptByCgroup && len(c.ExemptCgroups) == 0 {
		out = append(out, Warning{"exemptCgroups", "is empty: nobody is exempt, a proxy in this namespace neither"})
	}
	if !c.DNSCapture && !c.DNSServers.All {
		out = append(out, Warning{"dnsServers", "has no effect: dnsCapture is off"})
	}
	return out
}

func (c Config) doubtsOfFamilies() []Warning {
	v4, v6 := c.IncludeIPRanges.Families()
	switch {
	case v4 && !v6:
		return []Warning{{"includeIPRanges", "holds no IPv6 range: IPv6 goes direct"}}
	case v6 && !v4:
		return []Warning{{"includeIPRanges", "holds no IPv4 range: IPv4 goes direct"}}
	}
	return nil
}
