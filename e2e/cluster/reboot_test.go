package cluster_test

import (
	"testing"
)

// After a reboot no pod sends a packet past the proxy, its first ones least of all.
func TestANodesPodsAreGovernedFromTheirFirstPacketAfterItsReboot(t *testing.T) {
	l := newLoad(t)
	l.govern()
	l.streamsEnd()
	pods := 6
	if *full {
		pods = 30
	}
	l.comers(pods)
	for range 2 {
		before := map[string]int{}
		for pod := range l.running("comers-") {
			before[pod] = l.starts(pod)
		}
		l.Reboot()
		for pod, n := range before {
			l.awaitStart(pod, n)
		}
		l.nonePassed("after the reboot")
		l.ready()
	}
	l.governed()
	l.more()
}
