package iptables_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/rules/iptables"
)

// tables runs a program of iptables in a namespace, as a person would.
func tables(t testing.TB, ns *lab.Namespace, fw *iptables.Firewall, program string, args ...string) string {
	t.Helper()
	base, suffix, _ := strings.Cut(program, "-")
	name := base + "-" + string(fw.Variant())
	if suffix != "" {
		name += "-" + suffix
	}
	var out []byte
	err := ns.Do(func() (err error) {
		out, err = exec.Command(name, args...).CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

var notOurs = regexp.MustCompile(`(?m)^#.*\n| \[[0-9:]+\]`)

// saved is everything that is loaded, without times and counters. The programs do
// not always show the tables in the same order.
func saved(t testing.TB, ns *lab.Namespace, fw *iptables.Firewall) string {
	t.Helper()
	var out strings.Builder
	for _, program := range []string{"iptables-save", "ip6tables-save"} {
		for _, table := range []string{"filter", "raw", "nat"} {
			out.WriteString(notOurs.ReplaceAllString(tables(t, ns, fw, program, "-t", table), ""))
		}
	}
	return out.String()
}

// ours are the lines of saved that concern our chains.
func ours(saved string) string {
	var out []string
	for line := range strings.Lines(saved) {
		if strings.Contains(line, "SLUICE_") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}
