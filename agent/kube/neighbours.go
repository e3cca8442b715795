package kube

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/sluice-cni/sluice/internal/rest"
	"github.com/sluice-cni/sluice/kubeapi"
)

// BesideIt is the reason of Events on the Node about what else has a say in its pods'
// packets.
const BesideIt = "SluiceNeighbour"

// lookAround is how often what is beside sluice is looked for.
const lookAround = 10 * time.Minute

// ciliumConfig is Cilium's configuration, as its chart writes it.
var ciliumConfig = kubeapi.Key{Namespace: "kube-system", Name: "cilium-config"}

// Neighbours has what Cilium is told looked at, now and every ten minutes: settings of it
// that defeat a redirect in the pods are said in the log, in Beside and by an Event on
// the Node. Where there is no Cilium, or its configuration may not be read, nothing is.
func (n *Node) Neighbours() {
	n.tasks = append(n.tasks, func(ctx context.Context) {
		for ctx.Err() == nil {
			n.look(ctx)
			rest.For(ctx, lookAround)
		}
	})
}

// Beside are sentences about what is beside sluice and should be otherwise.
func (n *Node) Beside() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.beside)
}

func (n *Node) look(ctx context.Context) {
	o, err := n.cluster.Get(ctx, kubeapi.ConfigMaps, ciliumConfig)
	var found []string
	switch {
	case err == nil:
		found = ciliumTroubles(o.JSON)
	case errors.Is(err, kubeapi.ErrNotFound), errors.Is(err, kubeapi.ErrForbidden):
	default:
		return // ask again; what was found stands
	}
	n.mu.Lock()
	before := n.beside
	n.beside = found
	n.mu.Unlock()
	for _, text := range found {
		if !slices.Contains(before, text) {
			n.log.Warn("beside sluice: " + text)
			n.events.Say(kubeapi.Nodes, kubeapi.Key{Name: n.name}, "", true, BesideIt, text)
		}
	}
}

// ciliumTroubles are the settings of Cilium that sluice cannot work beside. Its socket
// load balancer puts a pod's address in a Service's place at connect(), before any rule
// in the pod sees the packet; hostNamespaceOnly keeps it out of pods. An exclusive
// Cilium takes every other plugin's configuration away.
func ciliumTroubles(configMap []byte) (out []string) {
	var m struct{ Data map[string]string }
	if json.Unmarshal(configMap, &m) != nil {
		return nil
	}
	if m.Data["cni-exclusive"] == "true" {
		out = append(out, "Cilium takes away every other plugin's configuration (cni-exclusive is true), so pods may start without sluice; set cni.exclusive=false in Cilium's chart")
	}
	balances := m.Data["bpf-lb-sock"] == "true" || m.Data["kube-proxy-replacement"] == "true" || m.Data["kube-proxy-replacement"] == "strict"
	if balances && m.Data["bpf-lb-sock-hostns-only"] != "true" {
		out = append(out, "Cilium's socket load balancer rewrites Services' addresses inside pods, so sluice sees pods' addresses and not the Services'; set socketLB.hostNamespaceOnly=true in Cilium's chart")
	}
	return out
}
