package mesh

import (
	"regexp"
	"strings"
)

// source checks what a match says about the workload that asks.
func (c *checker) source(path, namespace string, labels map[string]string) {
	if namespace != "" && !isNamespace(namespace) {
		c.error(path+".sourceNamespace", namespace, "not a namespace; write the name of one")
	}
	c.exactLabels(path+".sourceLabels", labels)
}

var labelValue = regexp.MustCompile(`^([A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?)?$`)

// exactLabels checks labels as Kubernetes has them, which is what Istio asks of the
// labels that workloads and endpoints are compared with.
func (c *checker) exactLabels(path string, labels map[string]string) {
	c.labels(path, labels)
	for name, value := range labels {
		field := path + "[" + name + "]"
		if name != "" && !strings.Contains(name, "*") && !isLabelName(name) {
			c.error(field, value, "not a label's name; write name or prefix/name, the name in at most 63 letters, digits, '-', '_' and '.'")
		}
		if !strings.Contains(value, "*") && (len(value) > 63 || !labelValue.MatchString(value)) {
			c.error(field, value, "not a label's value; use at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit")
		}
	}
}

func isLabelName(name string) bool {
	prefix, rest, ok := strings.Cut(name, "/")
	if !ok {
		return len(name) <= 63 && labelValue.MatchString(name)
	}
	return len(prefix) <= 253 && dnsSubdomain.MatchString(prefix) && rest != "" && len(rest) <= 63 && labelValue.MatchString(rest)
}
