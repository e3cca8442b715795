package iptables

import "os"

// ChainPrefix begins the name of every chain of ours.
const ChainPrefix = prefix

// Present reports whether the namespace has chains of ours of this variant.
func (f *Firewall) Present(netnsFD int) (bool, error) {
	have, err := f.readAll(netnsFD)
	return !empty(have), err
}

// LegacyInUse reports whether the namespace uses ip_tables at all, without running
// a program.
func LegacyInUse(netnsFD int) (bool, error) {
	used := false
	err := inside(netnsFD, func() error {
		for _, name := range []string{"ip_tables_names", "ip6_tables_names"} {
			// A kernel without ip_tables has no such file.
			data, err := os.ReadFile("/proc/thread-self/net/" + name)
			used = used || err == nil && len(data) > 0
		}
		return nil
	})
	return used, err
}
