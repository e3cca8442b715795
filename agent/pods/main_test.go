package pods_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/sluice-cni/sluice/agent/cgroup"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules/nft"
)

// own is by what pods' rules know this process.
var own wire.Agents

func TestMain(m *testing.M) {
	if os.Getenv(applicationEnv) != "" {
		if err := runApplications(); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	inside := os.Getenv("SLUICE_LAB_ISOLATED") != ""
	if inside && !lab.OwnUserNamespace() { // an ordinary user moves no process
		if err := identify(); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
	}
	labtest.Main(m)
}

// identify gives the process a cgroup of its own before it makes any socket.
func identify() error {
	if err := startApplications(); err != nil {
		return err
	}
	if _, err := cgroup.Join(""); err != nil {
		return err
	}
	agents, err := nft.OwnAgents()
	own = wire.Agents{Levels: agents.Levels, IDs: agents.IDs}
	return err
}
