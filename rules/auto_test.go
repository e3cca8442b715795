package rules_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/rules"
)

func discovered(text string, err error) func() (cidr.List, error) {
	return func() (cidr.List, error) {
		list, _, bad := cidr.Parse(text)
		return list, errors.Join(err, bad)
	}
}

func TestAutoRangesAreResolvedBeforeAPlanIsMade(t *testing.T) {
	for _, text := range []string{`{"includeIPRanges":"auto"}`, `{"includeIPRanges":["auto"]}`, `{"includeIPRanges":" auto,"}`} {
		c, warnings, err := rules.Parse([]byte(text))
		if err != nil || !c.AutoRanges || len(warnings) > 0 {
			t.Fatalf("%s: %v %v %v", text, c.AutoRanges, warnings, err)
		}
		if printed, err := c.MarshalJSON(); err != nil || !strings.Contains(string(printed), `"includeIPRanges":"auto"`) {
			t.Errorf("%s prints %s %v", text, printed, err)
		}
		if _, err := rules.NewPlan(c); err == nil || !strings.Contains(err.Error(), `includeIPRanges "auto"`) {
			t.Errorf("%s: a plan was made: %v", text, err)
		}
		c, warnings, err = c.Resolve(discovered("10.96.0.0/12", nil))
		if err != nil || c.AutoRanges || c.IncludeIPRanges.String() != "10.96.0.0/12" || len(warnings) != 1 || !strings.Contains(warnings[0].String(), "no IPv6") {
			t.Fatalf("%s: %v %v %v", text, c, warnings, err)
		}
		if _, err := rules.NewPlan(c); err != nil {
			t.Error(err)
		}
	}
}

func TestOnlyAutoAsksForTheClustersRanges(t *testing.T) {
	c := rules.Default()
	got, warnings, err := c.Resolve(func() (cidr.List, error) { panic("asked") })
	if err != nil || len(warnings) > 0 || got.Hash() != c.Hash() {
		t.Error(got, warnings, err)
	}
}

func TestAutoWithoutRangesIsAnError(t *testing.T) {
	c := rules.Default()
	if _, err := c.Set("includeIPRanges", "auto"); err != nil {
		t.Fatal(err)
	}
	for _, discover := range []func() (cidr.List, error){discovered("", nil), discovered("", errors.New("gone"))} {
		if got, _, err := c.Resolve(discover); err == nil || !strings.HasPrefix(err.Error(), `includeIPRanges "auto": `) {
			t.Errorf("%v %v", got.IncludeIPRanges, err)
		}
	}
}

func TestAutoStandsAlone(t *testing.T) {
	c := rules.Default()
	for text, want := range map[string]string{
		"auto,10.0.0.0/8": `element 1 "auto": stands for the cluster's ranges`,
		"10.0.0.0/8,auto": `element 2 "auto": stands for the cluster's ranges`,
		"AUTO":            "not an IP address",
	} {
		if _, err := c.Set("includeIPRanges", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := c.Set("excludeIPRanges", "auto"); err == nil {
		t.Error("excludeIPRanges is auto")
	}
	if _, err := c.Set("includeIPRanges", "auto"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Set("includeIPRanges", "*"); err != nil || c.AutoRanges {
		t.Error("a later value does not win over auto", err)
	}
}
