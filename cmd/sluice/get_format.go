package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
	networking "istio.io/api/networking/v1alpha3"

	"github.com/sluice-cni/sluice/internal/yamltext"
	"github.com/sluice-cni/sluice/mesh"
)

// printObjects writes one object as itself, several as a List.
func printObjects(w io.Writer, resources []*mesh.Resource, output string, single bool) error {
	objects := make([]json.RawMessage, len(resources))
	for i, r := range resources {
		objects[i], _ = mesh.Normal(r)
	}
	var all any = struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Items      []json.RawMessage `json:"items"`
	}{"v1", "List", objects}
	if single {
		if len(objects) == 0 {
			return nil
		}
		all = objects[0]
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if output == "json" {
		_, err = fmt.Fprintln(w, string(text))
		return err
	}
	return writeYAML(w, text)
}

// writeYAML writes JSON as YAML, its fields in the same order.
func writeYAML(w io.Writer, text []byte) error {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return err
	}
	plain(&root)
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&root); err != nil {
		return err
	}
	_, err := w.Write(out.Bytes())
	return err
}

// plain takes JSON's braces and quotes off; what would read as something else
// without its quotes keeps them.
func plain(n *yaml.Node) {
	if !yamltext.OldBoolean(n.Value) {
		n.Style = 0
	}
	for _, c := range n.Content {
		plain(c)
	}
}

// summary is what the table shows of a resource.
func summary(r *mesh.Resource) (hosts, details string) {
	switch spec := r.Spec.(type) {
	case *networking.ServiceEntry:
		return list(spec.Hosts), ports(spec.Ports) + " " + spec.Resolution.String()
	case *networking.VirtualService:
		return list(spec.Hosts), routes(spec)
	case *networking.DestinationRule:
		return spec.Host, ruling(spec)
	case *networking.Sidecar:
		return "", policy(spec)
	}
	return "", ""
}

func list(items []string) string { return "[" + strings.Join(items, " ") + "]" }

func ports(all []*networking.ServicePort) string {
	texts := make([]string, len(all))
	for i, p := range all {
		texts[i] = fmt.Sprintf("%d/%s", p.Number, strings.ToUpper(p.Protocol))
	}
	return strings.Join(texts, ",")
}

func routes(spec *networking.VirtualService) string {
	var texts []string
	for _, part := range []struct {
		name string
		n    int
	}{{"http", len(spec.Http)}, {"tls", len(spec.Tls)}, {"tcp", len(spec.Tcp)}} {
		if part.n > 0 {
			texts = append(texts, count(part.n, part.name+" route"))
		}
	}
	return strings.Join(texts, ", ")
}

// ruling is what a rule does about TLS and tunnels, and the names of its subsets.
func ruling(spec *networking.DestinationRule) string {
	var texts []string
	if tls := origination(spec.GetTrafficPolicy()); tls != "" {
		texts = append(texts, tls)
	}
	if t := spec.GetTrafficPolicy().GetTunnel(); t != nil {
		texts = append(texts, "tunnel to "+t.TargetHost)
	}
	if len(spec.Subsets) > 0 {
		names := make([]string, len(spec.Subsets))
		for i, s := range spec.Subsets {
			names[i] = s.Name
		}
		texts = append(texts, "subsets "+list(names))
	}
	return strings.Join(texts, ", ")
}

// origination is the TLS mode of a rule and, after a port's number, of that port.
func origination(policy *networking.TrafficPolicy) string {
	var texts []string
	if policy.GetTls() != nil {
		texts = append(texts, "tls "+policy.Tls.Mode.String())
	}
	for _, p := range policy.GetPortLevelSettings() {
		if p.Tls != nil {
			texts = append(texts, fmt.Sprintf("%d: tls %s", p.GetPort().GetNumber(), p.Tls.Mode))
		}
	}
	return strings.Join(texts, ", ")
}

func policy(spec *networking.Sidecar) string {
	var texts []string
	if spec.OutboundTrafficPolicy != nil {
		texts = append(texts, spec.OutboundTrafficPolicy.Mode.String())
	}
	if labels := spec.GetWorkloadSelector().GetLabels(); len(labels) > 0 {
		texts = append(texts, "for "+count(len(labels), "label"))
	}
	return strings.Join(texts, " ")
}
