package kind

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/e2e/cluster/world"
)

// trace is what a run could leave on the machine, by what it is of.
type trace map[string][]string

// traces are the machine's links, mounts, firewall rules and those settings that a kubelet
// writes.
func traces() trace {
	t := trace{}
	links, err := net.Interfaces()
	for _, l := range links {
		t["links"] = append(t["links"], l.Name)
	}
	mounts, err2 := os.ReadFile("/proc/self/mounts")
	t["mounts"] = strings.Split(string(mounts), "\n")
	rules, err3 := exec.Command("nft", "list", "ruleset").CombinedOutput()
	t["rules"] = strings.Split(string(rules), "\n")
	for name := range world.Sysctls {
		value, _ := os.ReadFile("/proc/sys/" + name) // not every kernel has each
		t["settings"] = append(t["settings"], name+"="+strings.TrimSpace(string(value)))
	}
	t["errors"] = []string{fmt.Sprint(err, err2, err3)}
	return t
}

// changes are what is there now and was not, and the other way round.
func (t trace) changes(now trace) string {
	var all strings.Builder
	for of := range t {
		for _, c := range []struct {
			sign      string
			have, not []string
		}{{"+", now[of], t[of]}, {"-", t[of], now[of]}} {
			for _, line := range c.have {
				if !slices.Contains(c.not, line) {
					fmt.Fprintf(&all, "%s: %s %s\n", of, c.sign, line)
				}
			}
		}
	}
	return all.String()
}
