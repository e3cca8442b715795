package iptables

import "fmt"

// Saved is what iptables-save shows of one family in a namespace, everybody's rules.
func (f *Firewall) Saved(netnsFD int, v6 bool) (text string, err error) {
	fam := ipv4
	if v6 {
		fam = ipv6
	}
	err = inside(netnsFD, func() error {
		text, err = f.host.run(nil, "", f.programs[fam].save)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read the %s rules: %w", fam.name, err)
	}
	return text, nil
}
