package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/dns"
)

// nameOptions say what a registered name binds to.
type nameOptions struct {
	mismatch   string
	unsafe     string
	resolvConf string
	hosts      string
}

// mismatches are the values of --on-address-mismatch.
var mismatches = map[string]proxy.AddressMismatch{
	"redirect": proxy.MismatchRedirect,
	"refuse":   proxy.MismatchRefuse,
}

// flags adds the flags. The hosts file is read by default where it is the
// machine's; in a pod it is one that any container of the pod can write.
func (o *nameOptions) flags(c *cobra.Command, readHosts bool) {
	hosts := "off"
	if readHosts {
		hosts = "/etc/hosts"
	}
	f := c.Flags()
	f.StringVar(&o.mismatch, "on-address-mismatch", "redirect",
		"`ACTION` for HTTP and TLS under a registered name (resolution NONE) that was sent to an address which is not the name's: redirect it to the name's own, or refuse it")
	f.StringVar(&o.unsafe, "unsafe-ranges", formatRanges(proxy.UnsafeRanges()),
		"`LIST` of ranges that DNS may not lead to, unless the ServiceEntry lists the address; none allows all")
	f.StringVar(&o.resolvConf, "resolv-conf", "/etc/resolv.conf", "`FILE` that names the DNS servers for registered names")
	f.StringVar(&o.hosts, "hosts-file", hosts, "`FILE` of addresses of registered names, which come before DNS, or off")
}

// apply sets the proxy up as the flags say; its lookups go through ask.
func (o *nameOptions) apply(cfg *proxy.Config, ask dns.Exchange) error {
	mismatch, ok := mismatches[strings.ToLower(o.mismatch)]
	var errs []error
	if !ok {
		errs = append(errs, fmt.Errorf("--on-address-mismatch %q: not an action; use redirect or refuse", o.mismatch))
	}
	ranges, err := parseRanges(o.unsafe)
	if err != nil {
		errs = append(errs, fmt.Errorf("--unsafe-ranges: %w", err))
	}
	hosts := o.hosts
	if hosts == "off" {
		hosts = os.DevNull
	}
	cfg.AddressMismatch, cfg.UnsafeRanges = mismatch, ranges
	cfg.Resolver = dns.New(dns.Config{ResolvConf: o.resolvConf, Hosts: hosts, Exchange: ask})
	return errors.Join(errs...)
}

// given makes sure that the files which flags name are there. A default file may be
// missing; one that somebody named is a misspelt path then, which would only show as
// names without addresses.
func (o *nameOptions) given(c *cobra.Command) error {
	var errs []error
	for _, flag := range []struct{ name, file string }{{"resolv-conf", o.resolvConf}, {"hosts-file", o.hosts}} {
		if !c.Flags().Changed(flag.name) || flag.name == "hosts-file" && flag.file == "off" {
			continue
		}
		if _, err := os.Stat(flag.file); err != nil {
			errs = append(errs, fmt.Errorf("--%s %q: cannot be read: %w", flag.name, flag.file, reason(err)))
		}
	}
	return errors.Join(errs...)
}

func formatRanges(ranges []netip.Prefix) string { return cidr.List{Prefixes: ranges}.String() }

// parseRanges reads a list of ranges or none, which is an empty list but no nil.
func parseRanges(text string) ([]netip.Prefix, error) {
	if strings.EqualFold(strings.TrimSpace(text), "none") {
		return []netip.Prefix{}, nil
	}
	list, _, err := cidr.Parse(text)
	switch {
	case err != nil:
		return nil, err
	case list.All:
		return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}, nil
	case list.None():
		return nil, errors.New("is empty; write none to allow all")
	}
	return list.Prefixes, nil
}
