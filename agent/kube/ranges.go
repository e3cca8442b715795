package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/cidr/discover/rangesfile"
	"github.com/sluice-cni/sluice/internal/rest"
	"github.com/sluice-cni/sluice/kubeapi"
)

// ranges keeps the file of the cluster's ranges as ServiceCIDR and Node objects say.
type ranges struct {
	path    string
	node    *Node
	changed later

	mu       sync.Mutex
	found    map[string][]netip.Prefix // by the object: "ServiceCIDR kubernetes"
	complete map[kubeapi.Kind]bool
	failed   map[kubeapi.Kind]error
}

// Nodes are listed now and then, and not watched: each one's status changes every few
// minutes, which every agent would be told, with all that a Node holds. Where there are more
// than fewNodes they are listed as much more seldom, so that what all agents ask for grows
// as their number does, and not as its square.
const (
	lookAtNodes = 5 * time.Minute
	fewNodes    = 150
	lookAgain   = 15 * time.Second // after a list that failed, and up to twice that
)

// Ranges has the file at path hold what includeIPRanges auto stands for: the ranges of
// the cluster's ServiceCIDR objects (Kubernetes 1.33 has them) and the Nodes' podCIDRs,
// that of a new Node some minutes after it came. A file that somebody else wrote, as
// sluice cidr --write does, is left alone. It must be called before the Feed runs.
func (n *Node) Ranges(path string) {
	r := &ranges{
		path: path, node: n, changed: newLater(), found: map[string][]netip.Prefix{},
		complete: map[kubeapi.Kind]bool{}, failed: map[kubeapi.Kind]error{},
	}
	n.feed.Follow(kubeapi.ServiceCIDRs, kubeapi.Selector{}, r.update)
	n.tasks = append(n.tasks, r.run, r.followNodes)
}

// followNodes lists the Nodes until ctx ends, every so often.
func (r *ranges) followNodes(ctx context.Context) {
	for {
		nodes, err := r.node.cluster.List(ctx, kubeapi.Nodes, kubeapi.Selector{})
		if ctx.Err() != nil {
			return
		}
		next := min(r.node.often, lookAgain)
		if err == nil {
			r.node.mu.Lock()
			r.node.hashes = hashesOf(nodes)
			r.node.mu.Unlock()
			next = between(r.node.often, len(nodes))
		}
		r.update(r.listed(nodes, err))
		if rest.For(ctx, next+rand.N(next/5+1)) != nil {
			return
		}
	}
}

// between is how long after a list of so many Nodes the next one is.
func between(often time.Duration, nodes int) time.Duration {
	return often * time.Duration(max(fewNodes, nodes)) / fewNodes
}

// listed is what came of a list of the Nodes. An agent that may not see them waits for
// no more; from a server that fails there is more to come.
func (r *ranges) listed(nodes []kubeapi.Object, err error) kubeapi.Delta {
	d := kubeapi.Delta{Kind: kubeapi.Nodes, Changed: nodes, Err: err}
	if err == nil {
		d.Gone = r.without(nodes)
	}
	d.Complete = err == nil || errors.Is(err, kubeapi.ErrForbidden) || errors.Is(err, kubeapi.ErrMissing)
	return d
}

// without are Nodes that were found and are not there any more.
func (r *ranges) without(nodes []kubeapi.Object) (gone []kubeapi.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	there := map[string]bool{}
	for _, o := range nodes {
		there[o.Name] = true
	}
	for of := range r.found {
		if name, node := strings.CutPrefix(of, kubeapi.Nodes.Name+" "); node && !there[name] {
			gone = append(gone, kubeapi.Key{Name: name})
		}
	}
	return gone
}

func hashesOf(objects []kubeapi.Object) (hashes []uint64) {
	for _, o := range objects {
		hashes = append(hashes, hashOf(o.Name))
	}
	return hashes
}

// readRanges are those of a ServiceCIDR or a Node.
func readRanges(o kubeapi.Object) (out []netip.Prefix, err error) {
	var of struct {
		Spec struct {
			CIDRs, PodCIDRs []string
			PodCIDR         string
		}
	}
	if err := json.Unmarshal(o.JSON, &of); err != nil {
		return nil, err
	}
	all := slices.Concat(of.Spec.CIDRs, of.Spec.PodCIDRs)
	if len(all) == 0 && of.Spec.PodCIDR != "" {
		all = []string{of.Spec.PodCIDR}
	}
	for _, text := range all {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, err
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func (r *ranges) update(d kubeapi.Delta) {
	r.mu.Lock()
	for _, key := range d.Gone {
		delete(r.found, d.Kind.Name+" "+key.Name)
	}
	for _, o := range d.Changed {
		name := d.Kind.Name + " " + o.Name
		found, err := readRanges(o)
		switch {
		case err != nil:
			r.node.log.Warn("an object's ranges cannot be read; the last ones stay", "object", name, "error", err)
		case len(found) == 0:
			delete(r.found, name)
		default:
			r.found[name] = found
		}
	}
	r.complete[d.Kind] = r.complete[d.Kind] || d.Complete
	if r.failed[d.Kind] = d.Err; errors.Is(d.Err, kubeapi.ErrUnreachable) {
		r.failed[d.Kind] = nil // what was last known of it stands
	}
	r.mu.Unlock()
	r.changed.touch()
}

func (r *ranges) run(ctx context.Context) {
	r.changed.run(ctx, func() string {
		wrong, err := r.write()
		if err != nil {
			wrong = err.Error()
		}
		return wrong
	}, func(wrong string) { r.node.log.Warn("includeIPRanges auto: "+wrong, "file", r.path) })
}

// write has the file hold the ranges, once all are known, and says what is missing.
func (r *ranges) write() (missing string, err error) {
	before, err := rangesfile.Load(r.path)
	f, missing, known := r.file(before.Sources)
	if !known {
		return "", nil
	}
	if len(f.Ranges) == 0 {
		return missing, nil
	}
	if err == nil {
		if !ours(before) {
			return "the file of ranges was written by somebody else and is left as it is; remove it to have the agent write it", nil
		}
		if slices.Equal(before.Ranges, f.Ranges) {
			return missing, nil
		}
	}
	f.Written = time.Now().UTC()
	return missing, rangesfile.Write(r.path, f)
}

// ours says that a file was written here: every source of it is an object.
func ours(f rangesfile.File) bool {
	return !slices.ContainsFunc(f.Sources, func(s rangesfile.Source) bool { return !strings.HasPrefix(s.From, fromCluster) })
}

const fromCluster = "the cluster's "

// file is what is known, and what is missing of it. Of a kind that the server does not
// show it has what the file had before: ranges that go from it are captured no more.
func (r *ranges) file(before []rangesfile.Source) (f rangesfile.File, missing string, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.complete[kubeapi.ServiceCIDRs] || !r.complete[kubeapi.Nodes] {
		return f, "", false
	}
	var all []netip.Prefix
	services, pods := false, false
	for _, name := range slices.Sorted(maps.Keys(r.found)) {
		kind := "pods"
		if strings.HasPrefix(name, kubeapi.ServiceCIDRs.Name+" ") {
			kind, services = "services", true
		} else {
			pods = true
		}
		for _, p := range r.found[name] {
			all = append(all, p)
			f.Sources = append(f.Sources, rangesfile.Source{Range: p.String(), Kind: kind, From: fromCluster + name})
		}
	}
	for _, s := range before {
		name, mine := strings.CutPrefix(s.From, fromCluster)
		kind, _, _ := strings.Cut(name, " ")
		for _, k := range []kubeapi.Kind{kubeapi.ServiceCIDRs, kubeapi.Nodes} {
			if p, err := netip.ParsePrefix(s.Range); err == nil && mine && k.Name == kind && r.failed[k] != nil && r.found[name] == nil {
				all = append(all, p)
				f.Sources = append(f.Sources, s)
			}
		}
	}
	for _, p := range cidr.Of(all...).Merged().Prefixes {
		f.Ranges = append(f.Ranges, p.String())
	}
	const remedy = "name the ranges in includeIPRanges"
	var lacks []string
	switch err := r.failed[kubeapi.ServiceCIDRs]; {
	case errors.Is(err, kubeapi.ErrMissing):
		lacks = append(lacks, "the cluster has no ServiceCIDR objects (Kubernetes 1.33 has them), so the Services' range is not known; "+remedy)
	case err != nil:
		lacks = append(lacks, err.Error())
	case !services:
		lacks = append(lacks, "no ServiceCIDR names a range; "+remedy)
	}
	switch err := r.failed[kubeapi.Nodes]; {
	case err != nil:
		lacks = append(lacks, err.Error())
	case !pods:
		lacks = append(lacks, fmt.Sprintf("no Node has podCIDRs, since the network plugin gives out pods' addresses by itself, so the pods' range is not known; %s", remedy))
	}
	return f, strings.Join(lacks, "; "), true
}
