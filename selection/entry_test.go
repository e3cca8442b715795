package selection_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/selection"
)

func TestTheEntryOfEveryShapeOfConfiguration(t *testing.T) {
	t.Parallel()
	const entry = `{"type":"sluice-cni","name":"net","capabilities":{"a":true},"includeIPRanges":"auto","selection":"all","rangesFile":"/r.json","nonTCP":"allow"}`
	for name, tc := range map[string]struct{ text, fields, file, err string }{
		"fields":      {`{"nonTCP":"allow"}`, "nonTCP", "", ""},
		"entry":       {entry, "includeIPRanges nonTCP", "/r.json", ""},
		"list":        {`{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge","mtu":1500},` + entry + `]}`, "includeIPRanges nonTCP", "/r.json", ""},
		"other list":  {`{"plugins":[{"type":"bridge"}]}`, "", "", "none of them has the type sluice-cni"},
		"no list":     {`{"plugins":7}`, "", "", "not a list"},
		"no object":   {`7`, "", "", "not a JSON object"},
		"bad setting": {`{"rangesFile":"r.json"}`, "", "", "rangesFile"},
	} {
		object, err := selection.Entry([]byte(tc.text))
		var c selection.Conf
		if err == nil {
			c, err = selection.ReadConf(object)
		}
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		got := strings.Join(slices.Sorted(maps.Keys(c.Fields)), " ")
		if err != nil || got != tc.fields || tc.file != "" && c.RangesFile != tc.file {
			t.Errorf("%s: %q %q %v", name, got, c.RangesFile, err)
		}
	}
}
