package chart_test

import (
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The PodMonitor's targets are the agents and nothing else, each at its node's address and
// the port of the metrics. This plays relabelling as Prometheus does it
// (docs: configuration, relabel_config: sources joined by ;, regex anchored, replace by
// default) on what its discovery gives for pods without declared ports.
func TestThePodMonitorFindsTheAgents(t *testing.T) {
	t.Parallel()
	_, text, _ := strings.Cut(render(t, "metrics.podMonitor.enabled=true", "metrics.port=9100"), "kind: PodMonitor")
	text, _, _ = strings.Cut(text, "\n---\n")
	var monitor struct {
		Spec struct {
			PodMetricsEndpoints []struct {
				Path        string
				Relabelings []struct {
					SourceLabels               []string `yaml:"sourceLabels"`
					Regex, Action, Replacement string
					To                         string `yaml:"targetLabel"`
				}
			} `yaml:"podMetricsEndpoints"`
		}
	}
	if err := yaml.Unmarshal([]byte("kind: PodMonitor"+text), &monitor); err != nil {
		t.Fatal(err)
	}
	if len(monitor.Spec.PodMetricsEndpoints) != 1 {
		t.Fatal("not one endpoint")
	}
	e := monitor.Spec.PodMetricsEndpoints[0]
	if strings.Contains(text, "port:") || strings.Contains(text, "portNumber") || e.Path != "/metrics" {
		t.Error("it names a port, which no pod declares")
	}
	for _, c := range []struct{ container, ip, want string }{
		{"agent", "10.0.0.7", "10.0.0.7:9100"},
		{"agent", "fd00::7", "[fd00::7]:9100"},
		{"installer", "10.0.0.7", ""},
	} {
		labels := map[string]string{
			"__address__": c.ip, "__meta_kubernetes_pod_ip": c.ip,
			"__meta_kubernetes_pod_container_name": c.container, "__meta_kubernetes_pod_node_name": "node-a",
		}
		kept := true
		for _, r := range e.Relabelings {
			var sources []string
			for _, name := range r.SourceLabels {
				sources = append(sources, labels[name])
			}
			source, pattern := strings.Join(sources, ";"), r.Regex
			if pattern == "" {
				pattern, r.Replacement = "(.*)", "$1"
			}
			match := regexp.MustCompile("^(?s:" + pattern + ")$").FindStringSubmatchIndex(source)
			if r.Action == "keep" {
				kept = kept && match != nil
			} else if match != nil {
				labels[r.To] = string(regexp.MustCompile("^(?s:"+pattern+")$").ExpandString(nil, r.Replacement, source, match))
			}
		}
		if kept != (c.want != "") || kept && (labels["__address__"] != c.want || labels["node"] != "node-a") {
			t.Errorf("%s at %s: kept %t as %s of %s", c.container, c.ip, kept, labels["__address__"], labels["node"])
		}
	}
}
