package inject

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-cni/sluice/internal/yamltext"
)

// template is what is read of a template of pods, as Kubernetes reads it: with aliases and
// merge keys (<<) as what they stand for.
type template struct {
	Metadata struct {
		Annotations map[string]string `yaml:"annotations"`
		Labels      map[string]string `yaml:"labels"`
	} `yaml:"metadata"`
	Spec struct {
		HostNetwork boolean `yaml:"hostNetwork"`
		Security    runAs   `yaml:"securityContext"`
		Init        []named `yaml:"initContainers"`
		Containers  []named `yaml:"containers"`
		Volumes     []struct {
			Name      string    `yaml:"name"`
			ConfigMap configMap `yaml:"configMap"`
		} `yaml:"volumes"`
	} `yaml:"spec"`
}

type named struct {
	Name     string `yaml:"name"`
	Image    string `yaml:"image"`
	Security runAs  `yaml:"securityContext"`
	Startup  struct {
		Get struct {
			Port any `yaml:"port"` // a number or, of others' containers, a name
		} `yaml:"httpGet"`
	} `yaml:"startupProbe"`
}

type runAs struct {
	User *int64 `yaml:"runAsUser"` // nil for the pod's, or its image's
}

func readTemplate(n *yaml.Node) (t template, err error) {
	err = n.Decode(&t)
	var shapes *yaml.TypeError
	if errors.As(err, &shapes) {
		var all []string
		for _, shape := range shapes.Errors {
			_, what, _ := strings.Cut(shape, ": ") // the line, which is the document's
			all = append(all, what)
		}
		err = fmt.Errorf("is no template of pods: %s; correct it", strings.Join(all, "; "))
	}
	return t, err
}

// boolean is one as kubectl reads it: by YAML 1.1, whose yes and on are true.
type boolean bool

func (b *boolean) UnmarshalYAML(n *yaml.Node) error {
	value, ok := yamltext.Boolean(n)
	if !ok {
		return fmt.Errorf("hostNetwork %q: not a boolean; write true or false", n.Value)
	}
	*b = boolean(value)
	return nil
}
