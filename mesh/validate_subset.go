package mesh

import (
	"cmp"

	networking "istio.io/api/networking/v1alpha3"
)

func (c *checker) subsets(subsets []*networking.Subset) {
	first := make(map[string]string)
	for i, s := range subsets {
		path := at("spec.subsets", i)
		if s.Name == "" {
			c.error(path+".name", "", "is missing; give the subset the name that routes use")
		}
		c.subsetName(path+".name", s.Name)
		if earlier, twice := first[s.Name]; twice && s.Name != "" {
			c.error(path+".name", s.Name, "is there already, at %s; remove one or rename it", earlier)
		} else {
			first[s.Name] = path
		}
		c.exactLabels(path+".labels", s.Labels)
		c.trafficPolicy(path+".trafficPolicy", s.TrafficPolicy, "endpoints of subset "+cmp.Or(s.Name, path))
	}
}

func (c *checker) subsetName(path, name string) {
	if name != "" && !isNamespace(name) { // the same kind of name: a DNS label
		c.error(path, name, "not a subset's name; use at most 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit")
	}
}

// ruleSelector checks whom a DestinationRule is for. A selector reaches no further
// than its own namespace, so the rule may not be shown to others.
func (c *checker) ruleSelector(spec *networking.DestinationRule) {
	if spec.WorkloadSelector == nil {
		return
	}
	labels := spec.WorkloadSelector.MatchLabels
	c.labels("spec.workloadSelector.matchLabels", labels)
	if len(labels) == 0 {
		c.warn("spec.workloadSelector", "", "has no labels, so it selects every workload of namespace %s; write matchLabels, or leave it out", c.r.Namespace)
	}
	for i, to := range spec.ExportTo {
		if to != "." && to != c.r.Namespace {
			c.error(at("spec.exportTo", i), to, "a rule with a workloadSelector is for its own namespace only; write . or leave exportTo out")
		}
	}
}
