package mesh

import (
	"iter"

	networking "istio.io/api/networking/v1alpha3"
)

// policiesOf gives the policies of a DestinationRule, its own and its subsets', by their
// places.
func policiesOf(spec *networking.DestinationRule) iter.Seq2[string, *networking.TrafficPolicy] {
	return func(yield func(string, *networking.TrafficPolicy) bool) {
		if spec.TrafficPolicy != nil && !yield("spec.trafficPolicy", spec.TrafficPolicy) {
			return
		}
		for i, s := range spec.Subsets {
			if s.TrafficPolicy != nil && !yield(at("spec.subsets", i)+".trafficPolicy", s.TrafficPolicy) {
				return
			}
		}
	}
}

// portSettings gives the port-level settings of a policy by their places.
func portSettings(path string, policy *networking.TrafficPolicy) iter.Seq2[string, *networking.TrafficPolicy_PortTrafficPolicy] {
	return func(yield func(string, *networking.TrafficPolicy_PortTrafficPolicy) bool) {
		for i, p := range policy.GetPortLevelSettings() {
			if !yield(at(path+".portLevelSettings", i), p) {
				return
			}
		}
	}
}
