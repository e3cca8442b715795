package backend

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/iptables"
	"github.com/sluice-cni/sluice/rules/nft"
)

// candidate is a backend that may or may not work on this machine.
type candidate struct {
	name rules.Backend
	// find makes the backend, with a word on what it found.
	find func() (b Backend, found string, err error)
	// usable looks closer, where being found is not enough to prefer it.
	usable func(Backend) error
}

// candidates are all backends in the order in which auto prefers them: nf_tables
// needs no program and covers packet sockets; of the programs, those that write
// nf_tables, since the kernel's ip_tables are on their way out.
func candidates() []candidate {
	return []candidate{
		{rules.BackendNFT, findNetlink, nil},
		{rules.BackendIPTablesNFT, finder(iptables.NFT), Backend.Missing},
		{rules.BackendIPTablesLegacy, finder(iptables.Legacy), Backend.Missing},
	}
}

func findNetlink() (Backend, string, error) {
	b, found, _ := assumeNetlink()
	return b, found, nft.Probe()
}

// assumeNetlink is for who applies at once, which asks the same of the kernel.
func assumeNetlink() (Backend, string, error) {
	return netlink{}, "the kernel has nf_tables", nil
}

func finder(v iptables.Variant) func() (Backend, string, error) {
	return func() (Backend, string, error) {
		fw, err := iptables.Find(v)
		if err != nil {
			return nil, "", err
		}
		return programs{fw}, fw.String(), nil
	}
}

// Choose is the backend that is wanted, or with auto the first that this machine
// has: nft, else iptables-nft, else iptables-legacy. The reason says what was found
// and, for each that was passed over, what is missing.
func Choose(want rules.Backend) (Backend, string, error) {
	return choose(candidates(), want)
}

func choose(from []candidate, want rules.Backend) (Backend, string, error) {
	var passed []error
	for _, c := range from {
		if want != rules.BackendAuto && want != c.name {
			continue
		}
		b, found, err := c.find()
		if err == nil && want == rules.BackendAuto && c.usable != nil {
			err = c.usable(b)
		}
		if err == nil {
			return b, reason(c.name, found, want, passed), nil
		}
		passed = append(passed, fmt.Errorf("%s: %w", c.name, err))
		if errors.Is(err, rules.ErrNotPermitted) {
			break // the others would say the same, less clearly
		}
	}
	if len(passed) == 0 {
		return nil, "", fmt.Errorf("backend %q: not a known value; use auto, nft, iptables-nft or iptables-legacy", string(want))
	}
	return nil, "", fmt.Errorf("backend %q cannot be used: %w", string(want), errors.Join(passed...))
}

func reason(name rules.Backend, found string, want rules.Backend, passed []error) string {
	text := fmt.Sprintf("%s (%s)", name, found)
	if want != rules.BackendAuto {
		return text + ", as configured"
	}
	if len(passed) == 0 {
		return text + ", the first choice"
	}
	var why []string
	for _, err := range passed {
		why = append(why, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return text + ", since not " + strings.Join(why, ", nor ")
}

// Apply puts the plan into the namespace with the backend that is wanted, then
// takes out what another has left there: in this order, so that there is always
// one of them. With auto, a kernel that turns out to lack a part that this plan
// needs gets the next backend.
func Apply(want rules.Backend, netnsFD int, plan rules.Plan) (Backend, string, error) {
	from := candidates()
	from[0].find = assumeNetlink
	return apply(from, want, netnsFD, plan)
}

func apply(from []candidate, want rules.Backend, netnsFD int, plan rules.Plan) (Backend, string, error) {
	var passed []error
	for {
		b, why, err := choose(from, want)
		if err != nil {
			return nil, "", errors.Join(append(passed, err)...)
		}
		err = b.Apply(netnsFD, plan)
		if err == nil {
			for _, p := range passed {
				why += "; " + strings.ReplaceAll(p.Error(), "\n", "; ")
			}
			return b, why, removeOthers(netnsFD, b.Name())
		}
		if want != rules.BackendAuto || !errors.Is(err, rules.ErrUnsupported) {
			return nil, "", err
		}
		passed = append(passed, fmt.Errorf("%s failed: %w", b.Name(), err))
		from = after(from, b.Name())
		if len(from) == 0 {
			return nil, "", errors.Join(passed...)
		}
	}
}

// after are the candidates that come later than one.
func after(from []candidate, name rules.Backend) []candidate {
	for i, c := range from {
		if c.name == name {
			return from[i+1:]
		}
	}
	return nil
}
