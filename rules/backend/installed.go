package backend

import (
	"errors"
	"strings"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/iptables"
	"github.com/sluice-cni/sluice/rules/nft"
)

// Installed are the backends that have rules of ours in the namespace, usually one
// or none. It starts a program only where there may be rules of iptables.
func Installed(netnsFD int) ([]Backend, error) { return installed(netnsFD, "") }

// installed leaves out one backend that need not be looked for.
func installed(netnsFD int, but rules.Backend) ([]Backend, error) {
	var out []Backend
	var errs []error
	for _, look := range []struct {
		name rules.Backend
		look func([]Backend, int) ([]Backend, error)
	}{
		{rules.BackendNFT, lookForNFT},
		{rules.BackendIPTablesNFT, lookForIPTablesNFT},
		{rules.BackendIPTablesLegacy, lookForIPTablesLegacy},
	} {
		if look.name == but {
			continue
		}
		var err error
		out, err = look.look(out, netnsFD)
		errs = append(errs, err)
	}
	return out, errors.Join(errs...)
}

func lookForNFT(to []Backend, netnsFD int) ([]Backend, error) {
	present, err := supported(nft.Present(netnsFD))
	if present {
		to = append(to, netlink{})
	}
	return to, err
}

func lookForIPTablesNFT(to []Backend, netnsFD int) ([]Backend, error) {
	written, err := supported(nft.HasChains(netnsFD, iptables.ChainPrefix))
	if err != nil || !written {
		return to, err
	}
	return appendFound(to, iptables.NFT, netnsFD)
}

func lookForIPTablesLegacy(to []Backend, netnsFD int) ([]Backend, error) {
	used, err := iptables.LegacyInUse(netnsFD)
	if err != nil || !used {
		return to, err
	}
	return appendFound(to, iptables.Legacy, netnsFD)
}

// supported takes a kernel without nf_tables for one that has no rules there.
func supported(present bool, err error) (bool, error) {
	if errors.Is(err, rules.ErrUnsupported) {
		return false, nil
	}
	return present, err
}

// appendFound adds a variant whose programs show rules of ours. Without the
// programs ip_tables in use are somebody else's: ours were made by them.
func appendFound(to []Backend, v iptables.Variant, netnsFD int) ([]Backend, error) {
	fw, err := iptables.Find(v)
	if errors.Is(err, rules.ErrUnsupported) {
		return to, nil
	}
	if err != nil {
		return to, err
	}
	present, err := fw.Present(netnsFD)
	if present {
		to = append(to, programs{fw})
	}
	return to, err
}

// Remove takes out our rules, whichever backend made them; none there is success.
func Remove(netnsFD int) error { return removeOthers(netnsFD, "") }

// Disable ends capture and keeps connections, whichever backend made the rules.
func Disable(netnsFD int) error {
	found, err := Installed(netnsFD)
	errs := []error{err}
	for _, b := range found {
		errs = append(errs, b.Disable(netnsFD))
	}
	return errors.Join(errs...)
}

func removeOthers(netnsFD int, but rules.Backend) error {
	found, err := installed(netnsFD, but)
	errs := []error{err}
	for _, b := range found {
		errs = append(errs, b.Remove(netnsFD))
	}
	return errors.Join(errs...)
}

// Names lists backends as a person reads them.
func Names(all []Backend) string {
	var out []string
	for _, b := range all {
		out = append(out, string(b.Name()))
	}
	return strings.Join(out, ", ")
}
