package selection

import "github.com/sluice-cni/sluice/rules"

// sidecars are the annotations that meshes' injectors leave on a pod they gave a proxy
// to. They are there at ADD, since injectors run when the pod is created.
var sidecars = []struct{ annotation, mesh string }{
	{"sidecar.istio.io/status", "Istio"},
	{"linkerd.io/proxy-version", "Linkerd"},
}

// SidecarContainers are the containers' names by which a pod shows what an annotation did
// not, native sidecars among them: the mesh by the name.
func SidecarContainers() map[string]string {
	return map[string]string{"istio-proxy": "Istio", "linkerd-proxy": "Linkerd"}
}

// anothers names the mesh whose sidecar serves the pod, "" for none. Two that redirect
// what the same pod sends would each take the other's for the pod's.
func (p Pod) anothers() string {
	if p.Sidecar != "" {
		return p.Sidecar
	}
	for _, s := range sidecars {
		if p.Annotations[s.annotation] != "" {
			return s.mesh
		}
	}
	return ""
}

// beside warns of what else redirects what a captured pod sends.
func (p Pod) beside() (out []rules.Warning) {
	if mesh := p.anothers(); mesh != "" {
		out = append(out, rules.Warning{Field: Inject, Text: "is enforced, and " + mesh + "'s sidecar redirects what the pod sends too: one of the two gets what the other sent; take the pod out of one"})
	}
	if p.Labels["istio.io/dataplane-mode"] == "ambient" || p.Annotations["ambient.istio.io/redirection"] == "enabled" {
		out = append(out, rules.Warning{Field: Inject, Text: "chose a pod that Istio's ambient mode redirects too; label it istio.io/dataplane-mode=none, or take it out here with annotation " + AnnotationInject + " \"false\""})
	}
	return out
}
