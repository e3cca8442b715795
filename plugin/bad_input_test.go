package plugin_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/internal/lab"
)

func TestBadInputIsOneClearErrorAndLeavesNothing(t *testing.T) {
	t.Parallel()
	plain := `"name":"net","type":"sluice-cni"`
	for _, tc := range []struct {
		name, stdin string
		code        int
		want        []string
	}{
		{"garbage", `{"cniVersion":`, 6, nil},
		{"no prevResult", `{"cniVersion":"1.0.0",` + plain + `}`, 7, []string{"prevResult is missing", "chained plugin"}},
		{"null prevResult", `{"cniVersion":"1.0.0",` + plain + `,"prevResult":null}`, 7, []string{"prevResult is missing"}},
		{"odd prevResult", `{"cniVersion":"1.0.0",` + plain + `,"prevResult":{"cniVersion":"1.0.0","ips":"none"}}`, 7, []string{"prevResult cannot be read"}},
		{"prevResult no object", `{"cniVersion":"1.0.0",` + plain + `,"prevResult":[]}`, 7, []string{"prevResult cannot be read"}},
		{"prevResult of no version", `{"cniVersion":"1.0.0",` + plain + `,"prevResult":{"cniVersion":"9.9.9"}}`, 7, []string{"prevResult cannot be read"}},
		{"unknown fields", conf(`"includeIPRange":"*","excludeports":[1]`), 7, []string{"excludeports: unknown field", "includeIPRange: unknown field"}},
		{"wrong case", conf(`"includeIpRanges":"*"`), 7, []string{"did you mean includeIPRanges"}},
		{"several bad values", conf(`"includeIPRanges":"10.0.0.0/33,nope","excludeOutboundPorts":["70000"],"exemptUIDs":"root"`), 7,
			[]string{`includeIPRanges element 1 "10.0.0.0/33"`, `includeIPRanges element 2 "nope"`, `excludeOutboundPorts element 1 "70000"`, `exemptUIDs element 1 "root"`}},
		{"impossible combination", conf(`"exemption":"mark","exemptUIDs":"1337"`), 7, []string{"exemptMark", "exemptUIDs"}},
		{"given twice", conf(`"outboundPort":1,"outboundPort":2`), 7, []string{"outboundPort: given twice"}},
		{"old version", `{"cniVersion":"0.2.0",` + plain + `,"prevResult":` + previous + `}`, 1, []string{"incompatible CNI versions"}},
		{"no name", `{"cniVersion":"1.0.0","type":"sluice-cni","prevResult":` + previous + `}`, 7, []string{"name"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ns := pod(t)
			f := call{verb: "ADD", netns: ns.Path(), stdin: tc.stdin}.run(t).failed(t)
			if f.Code != tc.code {
				t.Errorf("code %d, want %d: %+v", f.Code, tc.code, f)
			}
			for _, want := range tc.want {
				if !strings.Contains(f.Msg+" "+f.Details, want) {
					t.Errorf("%+v does not say %q", f, want)
				}
			}
			if left := tables(t, ns); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestErrorsCarryTheListsVersion(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		f := call{verb: "ADD", netns: pod(t).Path(), stdin: fmt.Sprintf(`{"cniVersion":%q,"name":"net","type":"sluice-cni"}`, version)}.run(t).failed(t)
		if f.CNIVersion != version {
			t.Errorf("error in version %s, want %s", f.CNIVersion, version)
		}
	}
}

func TestStandardKeysOfAnyPluginAreAccepted(t *testing.T) {
	t.Parallel()
	stdin := conf(`"cniVersions":["0.4.0","1.0.0"],"capabilities":{"portMappings":true},"runtimeConfig":{"a":1},"args":{"cni":{"b":2}},"ipam":{"type":"x"},"dns":{},"ipMasq":true,"disableCheck":false,"disableGC":false,"loadOnlyInlinedPlugins":true,"cni.dev/valid-attachments":[],"cni.dev/other":1`)
	call{verb: "ADD", netns: pod(t).Path(), stdin: stdin}.run(t).succeeded(t)
}

func TestOnlyANetworkNamespaceOfAPodIsProgrammed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for netns, want := range map[string]string{
		"/run/netns/none":        "does not exist",
		file:                     "is no network namespace",
		"/proc/self/ns/mnt":      "is no network namespace",
		"/proc/self/ns/net":      "host's own",
		"/proc/thread-self/ns/x": "does not exist",
	} {
		for _, verb := range []string{"ADD", "CHECK"} {
			f := call{verb: verb, netns: netns, stdin: conf("")}.run(t).failed(t)
			if f.Code != 8 || !strings.Contains(f.Msg, want) {
				t.Errorf("%s in %s: %+v; want %q", verb, netns, f, want)
			}
		}
		del := call{verb: "DEL", netns: netns, stdin: conf("")}.run(t)
		if del.code != 0 || del.stdout != "" {
			t.Errorf("DEL in %s: %+v", netns, del)
		}
	}
	if f := (call{verb: "ADD", stdin: conf("")}).run(t).failed(t); f.Code != 4 {
		t.Errorf("ADD without CNI_NETNS: %+v", f)
	}
	here, err := lab.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	if left := tables(t, here); len(left) > 0 {
		t.Errorf("left on the host: %v", left)
	}
}

// Under much garbage, as of a pod with long annotations, no descriptor may come to stand
// for another: once standard input's did, and the rules went into the host's namespace.
func TestGarbageCollectedInTheMiddleChangesNoNamespaceButThePods(t *testing.T) {
	t.Parallel()
	here, err := lab.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	annotations := map[string]string{"example.com/page": strings.Repeat("<", 255<<10)}
	for mode, fields := range map[string]string{
		"a proxy in the pod": `"dnsCapture":true`,
		"the node's agent":   newHolder(t, nil).fields(`"dnsCapture":true`),
	} {
		ns := pod(t)
		for _, verb := range []string{"ADD", "CHECK", "ADD", "CHECK", "DEL", "DEL"} {
			call{verb: verb, netns: ns.Path(), stdin: annotated(t, fields, annotations), env: []string{"GOGC=1"}}.run(t).succeeded(t)
			if left := tables(t, here); len(left) > 0 {
				t.Fatalf("%s, %s: on the host are %v", mode, verb, left)
			}
			if found := tables(t, ns); len(found) > 0 != (verb != "DEL") {
				t.Errorf("%s, %s: the pod has %v", mode, verb, found)
			}
		}
		if f := (call{verb: "CHECK", netns: ns.Path(), stdin: annotated(t, fields, annotations), env: []string{"GOGC=1"}}).run(t).failed(t); f.Code != 103 {
			t.Errorf("%s: CHECK of a pod without rules: %+v", mode, f)
		}
	}
}
