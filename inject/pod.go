package inject

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/holder"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/selection"
)

// pod is what a template says of its pods.
type pod struct {
	annotations, labels map[string]string
	hostNetwork         bool
	injected            bool             // with a sidecar, already
	names               []string         // of its containers
	own                 []string         // parts of its own that have the name of a sidecar's
	image, configMap    string           // of the sidecar that is there, "" for none
	metricsPort         int              // the same, 0 for none
	users               map[int64]string // which part of it says so
}

func podOf(n *yaml.Node) (pod, error) {
	t, err := readTemplate(n)
	if err != nil {
		return pod{}, err
	}
	p := pod{annotations: t.Metadata.Annotations, labels: t.Metadata.Labels, hostNetwork: bool(t.Spec.HostNetwork), users: map[int64]string{}}
	if user := t.Spec.Security.User; user != nil {
		p.users[*user] = "the pod"
	}
	for _, c := range slices.Concat(t.Spec.Init, t.Spec.Containers) {
		p.names = append(p.names, c.Name)
		if user := c.Security.User; user != nil && c.Name != proxyContainer && c.Name != rulesContainer {
			p.users[*user] = "container " + c.Name
		}
	}
	has := slices.IndexFunc(t.Spec.Init, func(c named) bool { return c.Name == proxyContainer })
	if has >= 0 {
		p.image = t.Spec.Init[has].Image
		p.metricsPort, _ = t.Spec.Init[has].Startup.Get.Port.(int)
	}
	for _, c := range t.Spec.Containers {
		if c.Name == proxyContainer || c.Name == rulesContainer {
			p.own = append(p.own, "container "+c.Name)
		}
	}
	for _, v := range t.Spec.Volumes {
		switch {
		case v.Name != resourcesVolume && v.Name != scratchVolume:
		case has < 0:
			p.own = append(p.own, "volume "+v.Name)
		case v.Name == resourcesVolume:
			p.configMap = v.ConfigMap.Name
		}
	}
	p.injected = has >= 0
	return p, nil
}

// of is what an object's template gets: a mapping, nil for one that is left alone.
func (o Options) of(f object) (value *yaml.Node, notes []string, err error) {
	if f.template == nil {
		return nil, []string{"left alone: seems to make pods, and is of a kind that is not known here; annotate its template by hand, or label its namespace"}, nil
	}
	p, err := podOf(f.template)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case p.hostNetwork:
		return nil, []string{"left alone: hostNetwork is true, and what the node itself sends is not captured"}, nil
	case p.injected && o.Sidecar == nil:
		return nil, nil, fmt.Errorf("has sluice's sidecar already (init container %s); give --sidecar, or take it out", proxyContainer)
	}
	own := selection.Pod{Annotations: p.annotations, Labels: p.labels}
	if selected, why := selection.Select(selection.Conf{}, nil, own); !selected && !p.injected {
		return nil, []string{"left alone: " + why}, nil
	}
	set := map[string]string{selection.AnnotationInject: "true"}
	for _, field := range rules.Fields() {
		if value, given := o.Fields[field.Name]; given {
			set[field.Annotation] = value
		}
	}
	if o.Sidecar != nil {
		return o.Sidecar.of(f, p, set)
	}
	var conf selection.Conf // the plugin's, where no agent serves the node: it takes every field
	d, notes, err := judge(p, set, conf, knownLater)
	if err != nil {
		return nil, nil, err
	}
	if !d.Selected {
		notes = append(notes, "will not be captured: "+d.Why)
	}
	conf.AgentSocket = holder.DefaultSocket
	if _, _, err := judge(p, set, conf, knownLater); err != nil {
		notes = append(notes, "will not start where an agent serves the node: "+strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return node(manifest{Metadata: metadata{set}}), notes, nil
}

// knownLater stands for ranges that the node will know.
func knownLater() (cidr.List, error) { return cidr.Everything(), nil }

// judge decides as the plugin will, of a pod with further annotations.
func judge(p pod, set map[string]string, conf selection.Conf, auto func() (cidr.List, error)) (d selection.Decision, notes []string, err error) {
	is := selection.Pod{Annotations: merged(p.annotations, set), Labels: p.labels}
	meshes := selection.SidecarContainers()
	for _, name := range p.names {
		is.Sidecar = cmp.Or(is.Sidecar, meshes[name])
	}
	d, err = selection.Decide(conf, nil, is, auto)
	for _, w := range d.Warnings {
		notes = append(notes, w.String())
	}
	return d, notes, err
}

func merged(a, b map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, a)
	maps.Copy(out, b)
	return out
}

// manifest is what is merged into a template.
type manifest struct {
	Metadata metadata `yaml:"metadata"`
	Spec     *spec    `yaml:"spec,omitempty"`
}

type metadata struct {
	Annotations map[string]string `yaml:"annotations"`
}

// node is a value as YAML has it.
func node(value any) *yaml.Node {
	var n yaml.Node
	if err := n.Encode(value); err != nil {
		panic(fmt.Sprintf("inject: a value of its own is no YAML: %v", err))
	}
	return &n
}
