package chart_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// placement is where a workload's pods may be.
type placement struct {
	NodeSelector map[string]string
	Tolerations  []map[string]string
	Affinity     struct {
		NodeAffinity struct {
			Required struct {
				Terms []struct {
					Expressions []expression `yaml:"matchExpressions"`
					Fields      []expression `yaml:"matchFields"`
				} `yaml:"nodeSelectorTerms"`
			} `yaml:"requiredDuringSchedulingIgnoredDuringExecution"`
			Preferred []any `yaml:"preferredDuringSchedulingIgnoredDuringExecution"`
		} `yaml:"nodeAffinity"`
		PodAffinity any `yaml:"podAffinity"`
	}
	PriorityClassName string `yaml:"priorityClassName"`
	HostNetwork       bool   `yaml:"hostNetwork"`
}

type expression struct {
	Key, Operator string
	Values        []string
}

// placementOf reads it of the workload of that name.
func placementOf(t *testing.T, text, kind, name string) (p placement) {
	t.Helper()
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var o struct {
			Kind     string
			Metadata struct{ Name string }
			Spec     struct {
				Template struct {
					Spec struct {
						placement    `yaml:",inline"`
						NodeSelector map[string]string `yaml:"nodeSelector"`
					}
				}
			}
		}
		if err := d.Decode(&o); err != nil {
			t.Fatalf("there is no %s %s: %v", kind, name, err)
		}
		if o.Kind == kind && o.Metadata.Name == name {
			o.Spec.Template.Spec.placement.NodeSelector = o.Spec.Template.Spec.NodeSelector
			return o.Spec.Template.Spec.placement
		}
	}
}

var machines = []expression{
	{"eks.amazonaws.com/compute-type", "NotIn", []string{"fargate"}},
	{"type", "NotIn", []string{"virtual-kubelet"}},
}

// Whatever nodes are chosen, those that are no machines are not among them: a pod of a
// DaemonSet would wait there for ever.
func TestNodesThatAreNoMachinesHaveNoPods(t *testing.T) {
	t.Parallel()
	pool := func(name string) map[string]any {
		return map[string]any{"matchExpressions": []any{map[string]any{"key": "pool", "operator": "In", "values": []string{name}}}}
	}
	own, err := json.Marshal(map[string]any{
		"podAffinity": map[string]any{},
		"nodeAffinity": map[string]any{
			"preferredDuringSchedulingIgnoredDuringExecution": []any{map[string]any{"weight": 1, "preference": map[string]any{}}},
			"requiredDuringSchedulingIgnoredDuringExecution": map[string]any{"nodeSelectorTerms": []any{pool("a"), pool("b"),
				map[string]any{"matchFields": []any{map[string]any{"key": "metadata.name", "operator": "In", "values": []string{"c"}}}}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []string{"sluice-agent", "sluice-holder"} {
		p := placementOf(t, render(t), "DaemonSet", set)
		if terms := p.Affinity.NodeAffinity.Required.Terms; len(terms) != 1 || !reflect.DeepEqual(terms[0].Expressions, machines) {
			t.Errorf("%s: by default %+v", set, terms)
		}
		p = placementOf(t, render(t, "nodes.affinity="+string(own)), "DaemonSet", set)
		terms := p.Affinity.NodeAffinity.Required.Terms
		if len(terms) != 3 || len(p.Affinity.NodeAffinity.Preferred) != 1 || p.Affinity.PodAffinity == nil {
			t.Fatalf("%s: of an affinity of one's own is left %+v", set, p.Affinity)
		}
		for i, term := range terms {
			own := len(term.Expressions) - len(machines)
			if own < 0 || !reflect.DeepEqual(term.Expressions[own:], machines) || own+len(term.Fields) != 1 {
				t.Errorf("%s: term %d is %+v", set, i, term)
			}
		}
	}
}

// A node that nodes.* let have the agent once is to be reached when it does not any more;
// who coordinates that is to be where nodes are there.
func TestTheUninstallerComesToEveryNode(t *testing.T) {
	t.Parallel()
	text := render(t, `nodes.selector={"pool":"apps"}`, `nodes.tolerations=[{"key":"only","operator":"Exists"}]`,
		`nodes.affinity={"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"pool","operator":"Exists"}]}]}}}`)
	if p := placementOf(t, text, "DaemonSet", "sluice-agent"); p.NodeSelector["pool"] != "apps" || p.Tolerations[0]["key"] != "only" {
		t.Errorf("the agent is at %+v", p)
	}
	p := placementOf(t, uninstaller(t, text), "DaemonSet", "sluice-uninstall")
	everywhere := []map[string]string{{"operator": "Exists"}}
	if len(p.NodeSelector) != 1 || !reflect.DeepEqual(p.Tolerations, everywhere) || !reflect.DeepEqual(p.Affinity.NodeAffinity.Required.Terms[0].Expressions, machines) {
		t.Errorf("the uninstaller is at %+v", p)
	}
}

// Who coordinates an uninstall must find a node where no agent ever became ready, and where
// all nodes have taints of their own; not one that is not there.
func TestWhoCoordinatesFindsANode(t *testing.T) {
	t.Parallel()
	text := render(t, `coordinator.tolerations=[{"key":"pool","operator":"Exists"}]`)
	p, keys := placementOf(t, text, "Job", "sluice-uninstall"), map[string]bool{}
	for _, toleration := range p.Tolerations {
		keys[toleration["key"]] = true
	}
	if keys[""] || !keys["sluice.dev/agent-not-ready"] || !keys["node-role.kubernetes.io/control-plane"] || !keys["pool"] {
		t.Errorf("the Job tolerates %v", p.Tolerations)
	}
	if pods := strings.Count(text, "key: pool\n"); pods != 2 {
		t.Errorf("%d pods tolerate it; the Job's and the test's are to", pods)
	}
	if p.PriorityClassName != "system-node-critical" {
		t.Errorf("the Job has the priority class %q", p.PriorityClassName)
	}
	if !p.HostNetwork {
		t.Error("the Job needs the pods' network, which may not work or be denied it")
	}
}
