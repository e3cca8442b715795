package kube

import (
	"strings"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/internal/remedy"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/mesh"
	meshkube "github.com/sluice-cni/sluice/mesh/kube"
)

// News is agent.Config's: what became of a pod, as an Event on it.
func (n *Node) News(s core.News) {
	if s.Name.Name == "" {
		return
	}
	uid := n.objectUID(s.Name.Namespace, s.Name.Name, s.Name.UID)
	key := kubeapi.Key{Namespace: s.Name.Namespace, Name: s.Name.Name}
	switch {
	case s.State == core.PodFailed:
		n.events.Say(kubeapi.Pods, key, uid, true, NotEnrolled, "this pod's egress is not governed as it should be: "+oneLine(s.Reason)+
			"; sluice tries again. "+remedy.Here().Sluice("status "+s.Name.String())+" says more")
	case s.LeftAlone != "":
		n.events.Say(kubeapi.Pods, key, uid, false, AloneLeft, s.LeftAlone+"'s sidecar serves this pod, so sluice leaves it alone; take the sidecar out to have sluice govern it")
	default:
		n.events.Withdraw(uid, NotEnrolled)
	}
}

// objectUID is the UID of the object of a pod that the runtime knows by another, which a
// static one is.
func (n *Node) objectUID(namespace, name, runtime string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.of(namespace, name, runtime); p != nil {
		return p.uid
	}
	return runtime
}

// Judged is mesh/kube's Said: what is wrong with a resource, as an Event on it.
func (n *Node) Judged(v meshkube.Verdict) {
	warning, reason, text := len(v.Issues.Of(mesh.Warning)) > 0, Partly, "in force; "+said(v.Issues)
	if v.Issues.HasErrors() {
		warning, reason = true, Refused
		// Some agents know what it was before and others do not: they say the same.
		text = "not in force; what it was before stays in force, if it was: " + said(v.Issues.Of(mesh.Error))
	}
	n.events.Say(v.Kind, v.Key, v.UID, warning, reason, text)
}

// said are issues in one line, without the object that they are of.
func said(all mesh.Issues) string {
	var out []string
	for _, i := range all {
		i.File, i.Line, i.Column, i.Kind = "", 0, 0, ""
		out = append(out, strings.TrimPrefix(i.String(), i.Severity.String()+": "))
	}
	return strings.Join(out, "; ")
}

// Mistaken is selection/namespaces' Said: what of a Namespace or the policy's ConfigMap
// cannot be read, as an Event on it.
func (n *Node) Mistaken(k kubeapi.Kind, o kubeapi.Object, err error) {
	if err != nil {
		n.events.Say(k, o.Key, o.UID, true, BadPolicy, oneLine(err.Error()))
	}
}

func oneLine(text string) string { return strings.ReplaceAll(text, "\n", "; ") }
