package core

import (
	"time"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/selection"
)

// Description is what is known of a pod, for Decide and for its proxy.
type Description struct {
	Name     selection.Pod      // a runtime's or Kubernetes' word where there is one, else the plugin's
	DNS      *selection.DNS     // nil: nobody said
	Document selection.Document // of ADD; zero for pods found while running
	Ports    Ports              // where its sockets listen; zero before they are open: as configured
	Mark     uint32             // drawn for the agent's sockets in this pod; 0: none. Rules use it where Decision.Mark says so
	Facts    bool               // a runtime or Kubernetes spoke: labels are known
}

// Decision is what a pod should be.
type Decision struct {
	Selected bool
	Why      string // what decided it, a few words
	// Err is why there is no valid configuration: a malformed annotation, ranges that
	// are not known. The pod's rules stay as they are; without any it is not enrolled.
	Err string

	Hash  string // Config.Hash of what the rules' record would say
	Shape string // equal for two decisions whose rules differ in their sets' elements only
	Auto  bool   // depends on the ranges behind "auto"
	DNS   bool   // needs the DNS sockets
	// Mark is what the rules exempt, the description's; 0: the agents' cgroups.
	Mark uint32
	// Gate is how long the rules redirect after a Beat; 0 means that they always do
	// (failure policy block).
	Gate time.Duration
	// Outbound is the policy's word about what nothing is registered for, in
	// selection's words; "" for what resources say. It is for the proxy: rules do not
	// know it. No pod has a say in it: it is valid beside an Err.
	Outbound string
	// LeftAlone is the mesh whose sidecar serves the pod, which is why it is not
	// selected; "" for none.
	LeftAlone string
	Warnings  []string
	Config    *rules.Config // for the edge; the core never looks inside
}
