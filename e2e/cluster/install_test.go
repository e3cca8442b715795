package cluster_test

import (
	"testing"
)

// Installing, upgrading, going back and uninstalling fail no call of pods that run.
func TestInstallUpgradeAndUninstallFailNoCall(t *testing.T) {
	l := newLoad(t)
	l.more()
	l.govern("agent.podAnnotations.revision=one")
	l.more()
	l.allSucceeded("installed")

	l.replaces("agent", func() {
		l.replaces("holder", func() { l.Upgrade("agent.podAnnotations.revision=two", "holder.podAnnotations.revision=two") })
	})
	l.governed()
	l.more()
	l.allSucceeded("upgraded")
	l.nonePassed("upgraded")
	l.streamsGoOn("upgraded")

	l.replaces("agent", func() {
		l.replaces("holder", func() { l.helm("rollback", "sluice", "1") })
	})
	l.governed()
	l.more()
	l.allSucceeded("rolled back")
	l.nonePassed("rolled back")
	l.streamsGoOn("rolled back")

	l.restarted()
	l.streamsEnd()
	l.ready() // those that drained are gone

	l.helm("uninstall", "sluice", "--wait", "--timeout", "5m")
	l.more()
	l.allSucceeded("uninstalled")
	l.nothingIsLeft()
	l.Must("delete", "namespace", "load", "--timeout=60s") // DEL calls the retired plugin
}
