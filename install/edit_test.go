package install

import (
	"strings"
	"testing"
)

const entry = `{"type":"sluice-cni","includeIPRanges":"auto"}`

func TestEntryIsAddedAsAHandWouldHaveAddedIt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ before, after string }{
		"one line": {
			`{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"ptp"}]}`,
			`{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"ptp"},` + entry + `]}`,
		},
		"indented": {
			"{\n  \"name\": \"n\",\n  \"plugins\": [\n    {\n      \"type\": \"ptp\"\n    }\n  ],\n  \"x\": 1\n}\n",
			"{\n  \"name\": \"n\",\n  \"plugins\": [\n    {\n      \"type\": \"ptp\"\n    },\n    {\n      \"type\": \"sluice-cni\",\n      \"includeIPRanges\": \"auto\"\n    }\n  ],\n  \"x\": 1\n}\n",
		},
		"tabs": {
			"{\"name\": \"n\",\n\t\"plugins\": [\n\t\t{\"type\": \"ptp\"}\n\t]}",
			"{\"name\": \"n\",\n\t\"plugins\": [\n\t\t{\"type\": \"ptp\"},\n\t\t{\n\t\t\t\"type\": \"sluice-cni\",\n\t\t\t\"includeIPRanges\": \"auto\"\n\t\t}\n\t]}",
		},
		"no plugins": {`{"name":"n","plugins":[ ]}`, `{"name":"n","plugins":[` + entry + `]}`},
		"none named": {`{"name":"n" }`, `{"name":"n", "plugins": [` + entry + `]}`},
		"changed": {
			`{"name":"n","plugins":[{"type":"ptp"}, {"type":"sluice-cni","old":1} ,{"type":"portmap"}]}`,
			`{"name":"n","plugins":[{"type":"ptp"}, ` + entry + ` ,{"type":"portmap"}]}`,
		},
		"twice": {
			`{"name":"n","plugins":[{"type":"sluice-cni","old":1},{"type":"ptp"},{"type":"sluice-cni"}]}`,
			`{"name":"n","plugins":[` + entry + `,{"type":"ptp"}]}`,
		},
		"laid out otherwise": {
			`{"name":"n","plugins":[{"type":"ptp"},{ "type": "sluice-cni", "includeIPRanges":"auto"}]}`,
			`{"name":"n","plugins":[{"type":"ptp"},{ "type": "sluice-cni", "includeIPRanges":"auto"}]}`,
		},
	} {
		l, err := parse("10-n.conflist", []byte(test.before))
		if err != nil {
			t.Fatal(name, err)
		}
		after, err := l.with([]byte(entry))
		if err != nil {
			t.Fatal(name, err)
		}
		if string(after) != test.after {
			t.Errorf("%s:\nwant %s\ngot  %s", name, test.after, after)
		}
	}
}

func TestEntryIsTakenOut(t *testing.T) {
	t.Parallel()
	for before, after := range map[string]string{
		`{"name":"n","plugins":[` + entry + `]}`:                                         `{"name":"n","plugins":[]}`,
		`{"name":"n","plugins":[` + entry + `,{"type":"ptp"}]}`:                          `{"name":"n","plugins":[{"type":"ptp"}]}`,
		`{"name":"n","plugins":[ {"type":"ptp"} , ` + entry + ` ]}`:                      `{"name":"n","plugins":[ {"type":"ptp"} ]}`,
		`{"name":"n","plugins":[{"type":"a"},` + entry + `,{"type":"b"},` + entry + `]}`: `{"name":"n","plugins":[{"type":"a"},{"type":"b"}]}`,
		`{"name":"n","plugins":[{"type":"ptp"}]}`:                                        `{"name":"n","plugins":[{"type":"ptp"}]}`,
	} {
		l, err := parse("10-n.conflist", []byte(before))
		if err != nil {
			t.Fatal(err)
		}
		got, err := l.without()
		if err != nil || string(got) != after {
			t.Errorf("%s:\nwant %s\ngot  %s, %v", before, after, got, err)
		}
	}
}

func TestWhatIsNoConfigurationIsNamedWithItsLine(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"":                            `line 1: unexpected EOF`,
		"[]":                          "line 1: a JSON object was expected",
		"{\n\"name\":\"n\",\n}":       "line 3: invalid character '}'",
		`{"plugins":[]}`:              `field "name": is missing`,
		`{"name":7}`:                  `field "name": value 7: not a string`,
		`{"name":"n","plugins":{}}`:   `field "plugins": line 1: a JSON array was expected`,
		`{"name":"n","plugins":[{}]}`: `field plugins[0]: field "type": is missing`,
		`{"name":"n","plugins":[]} x`: "line 1: nothing after its end was expected",
		`{"name":"n","loadOnlyInlinedPlugins":true}`: `field "plugins": is missing`,
	} {
		_, err := parse("10-n.conflist", []byte(raw))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `file "10-n.conflist"`) {
			t.Errorf("%s: %v does not say %q", raw, err, want)
		}
	}
}

// Whatever the list: the entry is in once, and taking it out gives the list back.
func FuzzList(f *testing.F) {
	for _, seed := range []string{
		`{"name":"n","plugins":[{"type":"ptp"}]}`, "{\n \"name\": \"n\", \"plugins\": [\n {\"type\":\"a\"}\t,\n{\"type\":\"b\"}\n]\n}",
		`{"name":"n","plugins":[],"plugins":[{"type":"\u0073luice-cni"}]}`, `{"name":"n"}`, `{"name":"n","plugins":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := parse("x.conflist", raw)
		if err != nil {
			return
		}
		after, err := l.with([]byte(entry))
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		there, err := parse("x.conflist", after)
		if err != nil {
			t.Fatalf("%q became %q: %v", raw, after, err)
		}
		n := 0
		for _, p := range there.plugins {
			if p.kind == pluginType {
				n++
			}
		}
		if n != 1 {
			t.Fatalf("%q became %q: %d entries", raw, after, n)
		}
		back, err := there.without()
		if err != nil {
			t.Fatal(err)
		}
		if !l.has() && len(l.plugins) > 0 && string(back) != string(raw) {
			t.Fatalf("%q came back as %q", raw, back)
		}
	})
}
