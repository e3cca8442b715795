package sluicetest_test

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-cni/sluice/cmd/sluice/sluicetest"
)

// As in a container of the pod itself: root, with CAP_NET_ADMIN and nothing else, which
// may enter no namespace, its own neither.
func TestRulesOfTheOwnNamespaceTakeNetAdminOnly(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("setpriv", "--bounding-set=-all,+net_admin", "--inh-caps=-all", "/bin/sh", "-c",
		`"$0" rules apply --netns /proc/self/ns/net --pod-ip=10.1.0.7 --host-ip=10.0.0.7 --includeIPRanges=10.0.0.0/8 --exemptUIDs=1337 && "$0" rules check --netns /proc/self/ns/net`,
		sluicetest.File())
	cmd.Env = []string{"PATH=/nowhere"} // no iptables programs, as in the image
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "applied to /proc/self/ns/net by nft") || !strings.Contains(string(out), "are those of the configuration") {
		t.Errorf("%v\n%s", err, out)
	}
}
