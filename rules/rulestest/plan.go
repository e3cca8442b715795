package rulestest

import (
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/rules"
)

// Config is rules.Default with settings given as "name=value".
func Config(t testing.TB, settings ...string) rules.Config {
	t.Helper()
	c := rules.Default()
	for _, s := range settings {
		name, text, _ := strings.Cut(s, "=")
		_, err := c.Set(name, text)
		must(t, err)
	}
	return c
}

// Plan is the plan of such a Config.
func Plan(t testing.TB, settings ...string) rules.Plan {
	t.Helper()
	p, err := rules.NewPlan(Config(t, settings...))
	must(t, err)
	return p
}
