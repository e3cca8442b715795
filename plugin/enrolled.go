package plugin

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/backend"
	"github.com/sluice-cni/sluice/selection"
)

// errNobodyListens: what is redirected is refused.
var errNobodyListens = errors.New("nobody listens where the rules redirect to")

// compareEnrolled is CHECK where an agent serves the pod. The agent changes the rules
// of a running pod when its ranges or its policy do, so they are held to their own
// record: to what was last applied, by whom ever. Whether somebody listens is read from
// the namespace's tables; a dial would arrive at the agent as the pod's.
func compareEnrolled(netnsFD int, d selection.Decision) error {
	found, err := backend.Installed(netnsFD)
	if err != nil {
		return err
	}
	switch {
	case len(found) == 0 && d.Config.FailurePolicy == rules.FailureBypass:
		return nil // nobody took it; an agent enrols it later
	case len(found) == 0:
		return rules.Drift{"there are no rules; add the pod again, or let the node's agent enrol it"}
	case len(found) > 1:
		return rules.Drift{fmt.Sprintf("rules are in %s and in %s; another ADD leaves one of them", found[0].Name(), found[1].Name())}
	}
	plan, err := recorded(netnsFD, found[0])
	if err != nil {
		return err
	}
	if err := found[0].Check(netnsFD, plan); err != nil {
		return err
	}
	if err := checkLoopback(netnsFD); err != nil {
		return err
	}
	return checkListeners(netnsFD, plan.Config)
}

// recorded is the plan that was last applied.
func recorded(netnsFD int, b backend.Backend) (rules.Plan, error) {
	applied, found, err := b.Read(netnsFD)
	switch {
	case err != nil:
		return rules.Plan{}, err
	case !found:
		return rules.Plan{}, rules.Drift{"the rules have no record of what they were made from"}
	case !applied.Node:
		return rules.Plan{}, rules.Drift{"the rules were made without agentSocket; add the pod again, or let the node's agent enrol it"}
	case applied.Disabled:
		return rules.Plan{}, rules.Drift{"capture is disabled, and the pod is selected; the node's agent enables it, or another ADD"}
	}
	return rules.NewPlan(applied.Config, applied.Options()...)
}

// checkListeners looks for each port that the rules redirect to, in one family at
// least: a namespace may lack the other.
func checkListeners(netnsFD int, config rules.Config) error {
	var open map[string]bool
	if err := inside(netnsFD, func() (err error) {
		open, err = listening()
		return err
	}); err != nil {
		return fmt.Errorf("look for the pod's sockets: %w", err)
	}
	want := []string{fmt.Sprintf("tcp %d", config.OutboundPort)}
	if config.DNSCapture {
		want = append(want, fmt.Sprintf("tcp %d", config.DNSPort), fmt.Sprintf("udp %d", config.DNSPort))
	}
	var errs []error
	for _, socket := range want {
		if !open[socket] {
			errs = append(errs, fmt.Errorf("%w: %s", errNobodyListens, socket))
		}
	}
	return errors.Join(errs...)
}

// Socket states of the kernel's tables (enum in include/net/tcp_states.h).
const (
	stateListen  = "0A"
	stateUnbound = "07" // of UDP: bound, not connected
)

// listening lists the namespace's listeners and unconnected UDP sockets, as "tcp 15001".
func listening() (map[string]bool, error) {
	out := map[string]bool{}
	for _, table := range []struct{ name, protocol, state string }{
		{"tcp", "tcp", stateListen}, {"tcp6", "tcp", stateListen}, {"udp", "udp", stateUnbound}, {"udp6", "udp", stateUnbound},
	} {
		data, err := os.ReadFile("/proc/thread-self/net/" + table.name)
		if errors.Is(err, os.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		lines := bufio.NewScanner(bytes.NewReader(data))
		for lines.Scan() {
			// sl local_address rem_address st ...; an address is hexadecimal, ADDR:PORT.
			fields := strings.Fields(lines.Text())
			if len(fields) < 4 || fields[3] != table.state {
				continue
			}
			_, port, _ := strings.Cut(fields[1], ":")
			if n, err := strconv.ParseUint(port, 16, 16); err == nil {
				out[fmt.Sprintf("%s %d", table.protocol, n)] = true
			}
		}
	}
	return out, nil
}
