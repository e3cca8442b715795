package iptables

import "github.com/sluice-cni/sluice/rules"

// Limits names what of a plan iptables cannot do and leaves out. What it cannot
// leave out, such as a heartbeat, is refused by Apply.
func Limits(plan rules.Plan) []rules.Warning {
	var out []rules.Warning
	if len(plan.Frames.Rules) > 0 {
		out = append(out, rules.Warning{Field: "failurePolicy", Text: "block does not stop packet sockets under iptables: keep CAP_NET_RAW from the pod, or use the nft backend"})
	}
	if plan.Config.Exemption == rules.ExemptByMark {
		out = append(out, rules.Warning{Field: "exemption", Text: "mark can be guessed under iptables, which does not slow down who tries: keep CAP_NET_RAW and CAP_NET_ADMIN from the pod, or use the nft backend"})
	}
	ranges := 0
	for _, s := range plan.Sets {
		ranges += len(s.Addresses)
	}
	if ranges > manyRanges {
		out = append(out, rules.Warning{Field: "includeIPRanges", Text: "and the excludes hold many ranges, which iptables walks one by one for each new connection: merge them, or use the nft backend"})
	}
	return out
}

// manyRanges is where the walk begins to show in the time of a connect.
const manyRanges = 1000
