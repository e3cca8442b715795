package backend

import (
	"errors"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/iptables"
	"github.com/sluice-cni/sluice/rules/nft"
)

// Installed are the backends that have rules of ours in the namespace, usually one
// or none. It starts a program only where there may be rules of iptables.
func Installed(netnsFD int) ([]Backend, error) {
	var out []Backend
	var errs []error
	present, err := supported(nft.Present(netnsFD))
	errs = append(errs, err)
	if present {
		out = append(out, netlink{})
	}
	written, err := supported(nft.HasChains(netnsFD, iptables.ChainPrefix))
	errs = append(errs, err)
	if written {
		out, err = appendFound(out, iptables.NFT, netnsFD)
		errs = append(errs, err)
	}
	legacy, err := iptables.LegacyInUse(netnsFD)
	errs = append(errs, err)
	if legacy {
		out, err = appendFound(out, iptables.Legacy, netnsFD)
		errs = append(errs, err)
	}
	return out, errors.Join(errs...)
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
	found, err := Installed(netnsFD)
	errs := []error{err}
	for _, b := range found {
		if b.Name() != but {
			errs = append(errs, b.Remove(netnsFD))
		}
	}
	return errors.Join(errs...)
}
