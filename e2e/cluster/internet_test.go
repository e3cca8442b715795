package cluster_test

import (
	"github.com/sluice-cni/sluice/e2e/cluster/suite"
	"github.com/sluice-cni/sluice/e2e/cluster/world"
)

// act puts the page's two hosts onto the world's internet.
func act(w *world.World) { suite.Act(w.Internet) }
