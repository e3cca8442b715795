package plugin

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/selection"
)

func document(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../docs/cni.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// column is the first column of the table under a heading.
func column(t *testing.T, text, heading string) (out []string) {
	t.Helper()
	_, section, found := strings.Cut(text, "\n## "+heading+"\n")
	if !found {
		t.Fatalf("no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for _, row := range regexp.MustCompile("(?m)^\\| `?([^|`]+?)`? \\|").FindAllStringSubmatch(section, -1) {
		out = append(out, row[1])
	}
	return out[1:] // without the table's own heading
}

func TestTheDocumentListsEveryKeyVerbAndCode(t *testing.T) {
	text := document(t)
	keys := column(t, text, "Keys")
	slices.Sort(keys)
	if want := slices.Sorted(slices.Values(selection.Keys())); !slices.Equal(keys, want) {
		t.Errorf("keys %v, want %v", keys, want)
	}
	if verbs := column(t, text, "Verbs"); !slices.Equal(verbs, []string{"ADD", "CHECK", "DEL", "GC", "STATUS", "VERSION"}) {
		t.Errorf("verbs %v", verbs)
	}
	want := []uint{types.ErrIncompatibleCNIVersion, types.ErrInvalidEnvironmentVariables, types.ErrIOFailure, types.ErrDecodingFailure,
		types.ErrInvalidNetworkConfig, types.ErrInvalidNetNS, types.ErrTryAgainLater, types.ErrPluginNotAvailable,
		codeNotPermitted, codeUnsupported, codeRules, codeDrift, types.ErrInternal}
	var codes []uint
	for _, code := range column(t, text, "Errors") {
		var n uint
		if err := json.Unmarshal([]byte(code), &n); err != nil {
			t.Error(err)
		}
		codes = append(codes, n)
	}
	if !slices.Equal(codes, want) {
		t.Errorf("codes %v, want %v", codes, want)
	}
	for _, key := range append(selection.StandardKeys(), selection.AnnotationInject, capability, validAttachments[:8]) {
		if !strings.Contains(text, key) {
			t.Errorf("nothing about %s", key)
		}
	}
	for _, version := range versions().SupportedVersions() {
		if !strings.Contains(text, version) {
			t.Errorf("nothing about version %s", version)
		}
	}
}

// Each example value in the table is taken by its key, and its default is the
// plugin's.
func TestTheDocumentsExamplesWork(t *testing.T) {
	text := document(t)
	defaults, err := selection.ReadConf(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| `" + selection.KeySelection + "` | `" + defaults.Selection + "` |", "| `" + selection.KeyInterfaces + "` | `" + strings.Join(defaults.Interfaces, ",") + "` |",
		"| `" + selection.KeyTimeout + "` | `" + defaults.Timeout.String() + "` |", "| `" + selection.KeyRangesFile + "` | `" + defaults.RangesFile + "` |"} {
		if !strings.Contains(text, want) {
			t.Errorf("the document lacks %s", want)
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-zA-Z]+)` \\| [^|]* \\| `([^|]+)` \\|").FindAllStringSubmatch(text, -1) {
		value := row[2]
		if !strings.ContainsAny(value, `["`) {
			value = `"` + value + `"`
		}
		object := map[string]json.RawMessage{row[1]: json.RawMessage(value)}
		if row[1] == selection.KeyPolicyFile {
			object[selection.KeyAgentSocket] = json.RawMessage(`"/run/sluice/holder.sock"`)
		}
		if _, err := selection.ReadConf(object); err != nil {
			t.Errorf("%s: %v", row[0], err)
		}
	}
	for _, example := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(text, -1) {
		var list struct{ Plugins []json.RawMessage }
		if err := json.Unmarshal([]byte(example[1]), &list); err != nil || len(list.Plugins) == 0 {
			t.Fatalf("%v in %s", err, example[1])
		}
		ours := list.Plugins[len(list.Plugins)-1]
		everything := func() (cidr.List, error) { return cidr.Everything(), nil }
		if _, _, err := readConf(&skel.CmdArgs{StdinData: ours}).plan(everything); err != nil {
			t.Errorf("%v in %s", err, ours)
		}
	}
}
