package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/dns"
)

func TestNameOptionsReportEveryMistake(t *testing.T) {
	t.Parallel()
	var cfg proxy.Config
	err := (&nameOptions{mismatch: "ignore", unsafe: "10.0.0.0/8, x"}).apply(&cfg, dns.Through(nil))
	for _, want := range []string{`--on-address-mismatch "ignore": not an action`, `--unsafe-ranges: element 2 "x"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
	if err := (&nameOptions{mismatch: "refuse", unsafe: " "}).apply(&cfg, dns.Through(nil)); err == nil {
		t.Error("an empty list of ranges is taken")
	}
}

func TestAFileThatAFlagNamesMustBeThere(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	for command, argv := range map[*cobra.Command][]string{newProxyCommand(): nil, newExecCommand(): {"true"}} {
		command.SetArgs(append([]string{"--hosts-file", missing, "--resolv-conf", missing}, argv...))
		command.SetOut(io.Discard)
		command.SetErr(io.Discard)
		err := command.Execute()
		for _, want := range []string{"--hosts-file", "--resolv-conf"} {
			if want += fmt.Sprintf(" %q: cannot be read: no such file", missing); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not say %s", command.Name(), err, want)
			}
		}
	}
	var o nameOptions
	c := &cobra.Command{}
	o.flags(c, true)
	o.resolvConf, o.hosts = missing, missing
	if err := o.given(c); err != nil {
		t.Errorf("a default file that is missing: %v", err)
	}
	if err := c.Flags().Set("hosts-file", "off"); err != nil {
		t.Fatal(err)
	}
	if err := o.given(c); err != nil {
		t.Errorf("off: %v", err)
	}
}

func TestUnsafeRangesNoneAllowsAll(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"none": "", "10.0.0.0/8,::1": "10.0.0.0/8,::1/128", "*": "0.0.0.0/0,::/0",
		formatRanges(proxy.UnsafeRanges()): formatRanges(proxy.UnsafeRanges()),
	} {
		var cfg proxy.Config
		err := (&nameOptions{mismatch: "REDIRECT", unsafe: text}).apply(&cfg, dns.Through(nil))
		if err != nil || formatRanges(cfg.UnsafeRanges) != want || cfg.UnsafeRanges == nil || cfg.Resolver == nil {
			t.Errorf("%q: %v %v", text, cfg.UnsafeRanges, err)
		}
	}
}
