package kube

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/kubeapi"
)

// A server that is overloaded has not said that there are no Nodes: a file without their
// ranges would have pods' traffic pass uncaptured.
func TestRangesAreKnownOnceTheServerHasSpokenOfNodes(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]bool{
		nil:                    true,
		kubeapi.ErrForbidden:   true,
		kubeapi.ErrMissing:     true,
		kubeapi.ErrUnreachable: false,
		errors.New("the server is overloaded (429)"): false,
	} {
		r := &ranges{changed: newLater(), found: map[string][]netip.Prefix{}, complete: map[kubeapi.Kind]bool{}, failed: map[kubeapi.Kind]error{}}
		r.update(kubeapi.Delta{Kind: kubeapi.ServiceCIDRs, Complete: true})
		if err != nil {
			err = fmt.Errorf("list: %w", err)
		}
		r.update(r.listed(nil, err))
		if _, _, known := r.file(nil); known != want {
			t.Errorf("%v: known %t", err, known)
		}
	}
}

// What all agents of a cluster ask for grows as their number does, and not as its square.
func TestManyNodesAreListedMoreSeldom(t *testing.T) {
	t.Parallel()
	for nodes, want := range map[int]time.Duration{0: 5 * time.Minute, fewNodes: 5 * time.Minute, 10 * fewNodes: 50 * time.Minute} {
		if got := between(lookAtNodes, nodes); got != want {
			t.Errorf("%d Nodes: %v, want %v", nodes, got, want)
		}
	}
}
