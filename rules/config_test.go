package rules_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

func parse(t testing.TB, text string) rules.Config {
	t.Helper()
	c, _, err := rules.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return c
}

func TestListsComeAsArraysOrCommaStringsNumbersAsEither(t *testing.T) {
	want := parse(t, `{"includeIPRanges":["10.0.0.0/8","::/0"],"excludeIPRanges":["10.1.0.0/16"],"includeOutboundPorts":[80,"443","8000-8999"],
		"exemptUIDs":[7,1337],"excludeInterfaces":["net1"],"outboundPort":15101,"dnsCapture":true}`)
	for _, text := range []string{
		`{"includeIPRanges":"10.0.0.0/8, ::/0","excludeIPRanges":"10.1.0.0/16,","includeOutboundPorts":"443,80,8000-8999,80","exemptUIDs":"1337,7,7","excludeInterfaces":"net1","outboundPort":"15101","dnsCapture":"true"}`,
		`{"includeIPRanges":["10.0.0.0/8"," ::/0"],"excludeIPRanges":"10.1.2.3/16","includeOutboundPorts":["80",443,"8000-8500","8400-8999"],"exemptUIDs":["7","1337"],"excludeInterfaces":["net1","net1"],"outboundPort":"15101","dnsCapture":true}`,
	} {
		if got := parse(t, text); got.Hash() != want.Hash() {
			t.Errorf("%s\ngives %s\nwant  %s", text, show(got), show(want))
		}
	}
	one := parse(t, `{"exemptUIDs":1337,"includeOutboundPorts":80,"includeIPRanges":"10.0.0.7"}`)
	if one.ExemptUIDs.String() != "1337" || one.IncludeOutboundPorts.String() != "80" || one.IncludeIPRanges.String() != "10.0.0.7/32" {
		t.Errorf("single values: %s", show(one))
	}
}

func TestAbsentMeansDefaultAndEmptyMeansNone(t *testing.T) {
	if got := parse(t, `{}`); got.Hash() != rules.Default().Hash() || !got.IncludeIPRanges.All {
		t.Errorf("absent: %s", show(got))
	}
	for _, empty := range []string{`""`, `"  "`, `[]`} {
		if got := parse(t, `{"includeIPRanges":`+empty+`}`); !got.IncludeIPRanges.None() {
			t.Errorf("%s: %q", empty, got.IncludeIPRanges)
		}
	}
}

func TestEveryErrorIsReportedWithFieldValueAndRemedy(t *testing.T) {
	_, _, err := rules.Parse([]byte(`{
		"includeIPRanges": "10.0.0.0/8,,nope",
		"excludeIPRanges": ["10.0.0.0/8", 7, true],
		"includeOutboundPorts": "0,70000,http,10-5,80:90,*",
		"excludeOutboundPorts": [1.5, null],
		"exemptUIDs": "root,-1,4294967295",
		"excludeInterfaces": "eth0/1,sixteencharacters,eth*",
		"outboundPort": [15001],
		"dnsPort": "dns",
		"dnsCapture": "yes",
		"nonTCP": "drop",
		"exemptMark": {"a": 1},
		"exemption": null,
		"includeRanges": "*"}`))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`includeIPRanges element 2 "": empty; remove the extra comma`,
		`includeIPRanges element 3 "nope": not an IP address or CIDR range`,
		`excludeIPRanges element 3 "true": a boolean; use a string or a number`,
		`includeOutboundPorts element 1 "0": not a port; use 1 to 65535`,
		`includeOutboundPorts element 2 "70000": not a port`,
		`includeOutboundPorts element 3 "http": not a port`,
		`includeOutboundPorts element 4 "10-5": the range runs backwards; write 5-10`,
		`includeOutboundPorts element 5 "80:90": not a port; write a range as 80-90`,
		`includeOutboundPorts element 6 "*": stands for every port`,
		`excludeOutboundPorts element 2 "null": null is not a value`,
		`exemptUIDs element 1 "root": not a numeric id; use 0 to 4294967294`,
		`exemptUIDs element 2 "-1": not a numeric id`,
		`exemptUIDs element 3 "4294967295": not a numeric id`,
		`excludeInterfaces element 1 "eth0/1": not an interface name`,
		`excludeInterfaces element 2 "sixteencharacters": not an interface name`,
		`excludeInterfaces element 3 "eth*": wildcards cannot be used`,
		`outboundPort "[15001]": an array; this field takes one value`,
		`dnsPort "dns": not a port; use 1 to 65535`,
		`dnsCapture "yes": not a boolean; use true or false`,
		`nonTCP "drop": not a known value; use reject or allow`,
		`exemptMark "{\"a\": 1}": an object`,
		`exemption "null": null is not a value; remove the field to get its default`,
		`includeRanges: unknown field`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
}

func TestImpossibleCombinationsAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{"exemption":"mark"}`:                                         "exemption is mark, and every packet without a mark",
		`{"exemption":"mark","exemptMark":5,"exemptUIDs":7}`:           "has no effect when exemption is mark",
		`{"exemption":"mark","exemptMark":5,"exemptGIDs":7}`:           "exemptGIDs",
		`{"exemptMark":"0x539"}`:                                       "has no effect when exemption is uid",
		`{"dnsCapture":true,"dnsServers":""}`:                          "no server is named",
		`{"dnsCapture":true,"dnsPort":15001}`:                          "the same as outboundPort",
		`{"includeIPRanges":"*,10.0.0.0/8"}`:                           "nothing may stand beside it",
		`{"outboundPort":1,"outboundPort":2}`:                          "outboundPort: given twice",
		`[]`:                                                           "not a JSON object",
		`{"outboundPort":1} {}`:                                        "something follows",
		`{"outboundPort":`:                                             "not valid JSON",
		`{"INCLUDEIPRANGES":"*"}`:                                      "did you mean includeIPRanges",
		`{"includeIPRange":"*"}`:                                       "did you mean includeIPRanges",
		`{"excludeIPRanges":"::ffff:10.0.0.0/104"}`:                    "write 10.0.0.0/8",
		`{"dnsCapture":true,"dnsPort":15001,"dnsServers":"","x":true}`: "x: unknown field",
	} {
		if _, _, err := rules.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
}

func TestAConfigBuiltInCodeIsValidatedToo(t *testing.T) {
	if _, err := rules.NewPlan(rules.Config{}); err == nil {
		t.Error("the zero Config makes a plan")
	}
	if err := rules.Default().Validate(); err != nil {
		t.Error(err)
	}
}

func TestDoubtsAreSaid(t *testing.T) {
	for text, want := range map[string]string{
		`{"includeIPRanges":"10.0.0.0/8"}`: "includeIPRanges holds no IPv6 range: IPv6 goes direct",
		`{"includeIPRanges":"fd00::/8"}`:   "includeIPRanges holds no IPv4 range: IPv4 goes direct",
		`{"includeIPRanges":""}`:           "nothing is captured",
		`{"excludeIPRanges":"*"}`:          "excludeIPRanges is *: nothing is captured",
		`{"excludeOutboundPorts":"*"}`:     "excludeOutboundPorts is *: no TCP and no UDP that is sent is captured",
		`{"dnsServers":"10.96.0.10"}`:      "dnsServers has no effect: dnsCapture is off",
		`{"includeIPRanges":"10.0.0.1/8"}`: "10.0.0.1/8 means 10.0.0.0/8",
	} {
		_, warnings, err := rules.Parse([]byte(text))
		all := ""
		for _, w := range warnings {
			all += w.String() + "\n"
		}
		if err != nil || !strings.Contains(all, want) {
			t.Errorf("%s: %q, %v; want %q", text, all, err, want)
		}
	}
}

func TestAFlagsTextSetsOneFieldAndKeepsItOnError(t *testing.T) {
	c := rules.Default()
	for _, f := range rules.Fields() {
		if _, err := c.Set(f.Name, f.Example); err != nil {
			t.Errorf("the example of %s: %v", f.Name, err)
		}
		d := rules.Default()
		if _, err := d.Set(f.Name, f.Default); err != nil || d.Hash() != rules.Default().Hash() {
			t.Errorf("the default of %s is %q: %v", f.Name, f.Default, err)
		}
	}
	before := c.IncludeIPRanges.String()
	if _, err := c.Set("includeIPRanges", "nope"); err == nil || c.IncludeIPRanges.String() != before {
		t.Errorf("%v, %q", err, c.IncludeIPRanges)
	}
	if _, err := c.Set("nope", "1"); err == nil {
		t.Error("an unknown field was set")
	}
}

func TestAPrintedConfigReadsBackTheSame(t *testing.T) {
	r := rulestest.NewRandom(rulestest.Seed(t), 0)
	for range 500 {
		c := r.Config()
		data, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if back := parse(t, string(data)); back.Hash() != c.Hash() {
			t.Fatalf("%s reads back as %s", data, show(back))
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{}`, `{"includeIPRanges":["10.0.0.1/24"]}`, `{"exemptMark":"0x10","exemption":"mark"}`, `{"dnsCapture":true,"dnsPort":"5"}`, `{"includeOutboundPorts":"1-2,*"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, _, err := rules.Parse([]byte(s))
		if err != nil {
			return
		}
		if _, err := rules.NewPlan(c); err != nil {
			t.Fatalf("%s was accepted and makes no plan: %v", s, err)
		}
	})
}

func show(c rules.Config) string {
	data, err := json.Marshal(c)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
