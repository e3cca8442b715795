package install

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestAnEntryIsJudgedBeforeItIsWritten(t *testing.T) {
	t.Parallel()
	for entry, want := range map[string]string{
		// Its ranges are those of the cluster, which may be known only later.
		string(NodeEntry()): "",
		`{"type":"sluice-cni","includeIPRanges":["auto"]}`:         "",
		`{"type":"sluice-cni","includeIPRanges":["10.0.0.0/33"]}`:  `"33" is not a prefix length`,
		`{"type":"sluice-cni","plugins":[]}`:                       `field "plugins": belongs to the list`,
		`{"type":"bridge"}`:                                        `field "type": must be "sluice-cni"`,
		`[]`:                                                       "cannot unmarshal array",
		`{"type":"sluice-cni","colour":1,"includeIPRanges":["x"]}`: "colour: unknown field",
	} {
		err := CheckEntry(json.RawMessage(entry))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, not %q", entry, err, want)
		}
	}
}
