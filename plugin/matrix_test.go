package plugin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/nftables"
)

// TestEveryVerbInEveryVersionAndFamily drives the built binary through libcni, as
// containerd and CRI-O do: versions × families × what can happen to a pod.
func TestEveryVerbInEveryVersionAndFamily(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		for _, family := range []string{"v4", "v6", "dual"} {
			for name, happens := range events {
				t.Run(strings.Join([]string{version, family, name}, "/"), func(t *testing.T) {
					t.Parallel()
					happens(t, attach(t, version, "ptp", family), version)
				})
			}
		}
	}
}

// events are what can happen. An attachment has not been added when one begins.
var events = map[string]func(*testing.T, *attachment, string){
	"ADD twice": func(t *testing.T, a *attachment, version string) {
		a.mustAdd(t)
		// The plugin before ours refuses a second interface, so the rest of the chain
		// runs again alone, as a runtime's retry after a crash has it.
		a.list = a.only(t, version, a.lastResult(t))
		a.mustAdd(t)
		a.checkIs(t, version, "")
	},
	"killed, then ADD": func(t *testing.T, a *attachment, version string) {
		a.mustAdd(t)
		a.list = a.only(t, version, a.lastResult(t))
		stdin := a.stdin(t, version)
		for _, step := range []int{0, 4, 9, 14, 19, 24} {
			call{verb: "ADD", netns: a.pod.Path(), stdin: stdin}.killedBefore(t, step)
			a.mustAdd(t)
			a.checkIs(t, version, "")
		}
	},
	"killed in DEL, then DEL": func(t *testing.T, a *attachment, version string) {
		a.mustAdd(t)
		a.list = a.only(t, version, a.lastResult(t))
		for _, step := range []int{0, 3, 6} {
			call{verb: "DEL", netns: a.pod.Path(), stdin: a.stdin(t, version)}.killedBefore(t, step)
		}
		a.mustDel(t)
		a.hasNoRules(t)
	},
	"tampered rules": func(t *testing.T, a *attachment, version string) {
		a.mustAdd(t)
		c := connect(t, a.pod)
		for _, chain := range []string{"output_nat", "output_filter", "excluded"} {
			all := rulesIn(t, c)
			at := slices.IndexFunc(all, func(r *nftables.Rule) bool { return r.Chain.Name == chain })
			if err := c.DelRule(all[at]); err != nil {
				t.Fatal(err)
			}
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
			a.checkIs(t, version, nameOf(all[at]))
			call{verb: "ADD", netns: a.pod.Path(), stdin: a.stdin(t, version)}.run(t).succeeded(t)
			a.checkIs(t, version, "")
		}
	},
	"DEL twice, and without a namespace": func(t *testing.T, a *attachment, version string) {
		a.mustAdd(t)
		a.mustDel(t)
		a.hasNoRules(t)
		a.mustDel(t)
		a.runtime.NetNS = ""
		a.mustDel(t)
	},
	"DEL after the namespace has gone": func(t *testing.T, a *attachment, version string) {
		a.mustAdd(t)
		a.pod.Close()
		a.mustDel(t)
	},
	"DEL without ADD": func(t *testing.T, a *attachment, version string) {
		a.mustDel(t)
	},
	"no prevResult": func(t *testing.T, a *attachment, version string) {
		a.list = a.only(t, version, nil)
		var e *types.Error
		if _, err := a.add(); !errors.As(err, &e) || e.Code != 7 || e.Msg != "prevResult is missing" {
			t.Errorf("%v", err)
		}
		a.hasNoRules(t)
		a.mustDel(t)
	},
	"missing namespace": func(t *testing.T, a *attachment, version string) {
		a.mustAdd(t)
		stdin := a.stdin(t, version)
		for _, verb := range []string{"ADD", "CHECK"} {
			f := call{verb: verb, netns: "/run/netns/none", stdin: stdin}.run(t).failed(t)
			if f.Code != 8 && !(verb == "CHECK" && version == "0.3.1" && f.Code == 1) {
				t.Errorf("%s: %+v", verb, f)
			}
		}
	},
	"garbage input": func(t *testing.T, a *attachment, version string) {
		for _, stdin := range []string{"", "{", "[]", "null", "7", `{"cniVersion":"` + version + `"`, strings.Repeat("[", 100_000), "\x00\xff"} {
			for _, verb := range []string{"ADD", "CHECK", "DEL", "GC", "STATUS"} {
				if f := (call{verb: verb, netns: a.pod.Path(), stdin: stdin}).run(t).failed(t); f.Code != 6 && f.Code != 7 && f.Code != 1 {
					t.Errorf("%s %.20q: %+v", verb, stdin, f)
				}
			}
		}
		a.hasNoRules(t)
	},
	"unknown arguments": func(t *testing.T, a *attachment, version string) {
		a.runtime.Args = [][2]string{{"UNHEARD_OF", "x"}, {"K8S_POD_NAME", "a=b=="}, {"K8S_POD_INFRA_CONTAINER_ID", "c"}}
		a.list = a.only(t, version, fmt.Appendf(nil, `{"cniVersion":%q,"ips":[]}`, version))
		a.mustAdd(t)
		a.mustDel(t)
	},
	"GC with and without a list": func(t *testing.T, a *attachment, version string) {
		a.mustAdd(t)
		stdin := a.stdin(t, version)
		for _, list := range []string{"", `"cni.dev/valid-attachments":[],`, `"cni.dev/valid-attachments":[{"containerID":"pod","ifname":"eth0"}],`} {
			out := call{verb: "GC", stdin: "{" + list + stdin[1:]}.run(t)
			if version != "1.1.0" {
				if f := out.failed(t); f.Code != 1 {
					t.Errorf("%+v", f)
				}
				continue
			}
			out.succeeded(t)
			if out.stdout != "" || (list == "") != strings.Contains(out.stderr, "nothing is collected") {
				t.Errorf("%q: %+v", list, out)
			}
		}
		if version == "1.1.0" {
			f := call{verb: "GC", stdin: `{"cni.dev/valid-attachments":7,` + stdin[1:]}.run(t).failed(t)
			if f.Code != 7 {
				t.Errorf("%+v", f)
			}
			a.statusAndGC(t) // GC by libcni, and DEL for what is not valid before it
			return
		}
		a.checkIs(t, version, "")
	},
	"STATUS": func(t *testing.T, a *attachment, version string) {
		err := a.do(func(ctx context.Context) error { return a.cni.GetStatusNetworkList(ctx, a.list) })
		if err != nil {
			t.Error(err)
		}
		out := call{verb: "STATUS", stdin: fmt.Sprintf(`{"cniVersion":%q,"name":"podnet","type":"sluice-cni","nonTCP":"maybe"}`, version)}.run(t)
		if f := out.failed(t); version == "1.1.0" && f.Code != 50 || version != "1.1.0" && f.Code != 1 {
			t.Errorf("%+v", f)
		}
	},
	"VERSION": func(t *testing.T, a *attachment, version string) {
		info, err := a.cni.GetVersionInfo(context.Background(), "sluice-cni")
		if err != nil || !slices.Contains(info.SupportedVersions(), version) || len(info.SupportedVersions()) != 4 {
			t.Errorf("%v, %v", info, err)
		}
	},
}

func (a *attachment) mustAdd(t *testing.T) {
	t.Helper()
	if _, err := a.add(); err != nil {
		t.Fatal("ADD: ", err)
	}
}

func (a *attachment) mustDel(t *testing.T) {
	t.Helper()
	if err := a.del(); err != nil {
		t.Fatal("DEL: ", err)
	}
}

func (a *attachment) hasNoRules(t *testing.T) {
	t.Helper()
	if left := tables(t, a.pod); len(left) > 0 {
		t.Errorf("rules: %v", left)
	}
}

// checkIs runs CHECK of the plugin alone; want is the rule it must name, "" for
// success. Version 0.3.1 has no CHECK.
func (a *attachment) checkIs(t *testing.T, version, want string) {
	t.Helper()
	out := call{verb: "CHECK", netns: a.pod.Path(), stdin: a.stdin(t, version)}.run(t)
	switch {
	case version == "0.3.1":
		if f := out.failed(t); f.Code != 1 {
			t.Errorf("CHECK in 0.3.1: %+v", f)
		}
	case want == "":
		out.succeeded(t)
	default:
		if f := out.failed(t); f.Code != 103 || !strings.Contains(f.Details, want) {
			t.Errorf("want %q: %+v", want, f)
		}
	}
}

// only is the list without the plugins before ours; prevResult may be nil.
func (a *attachment) only(t *testing.T, version string, prevResult []byte) *libcni.NetworkConfigList {
	t.Helper()
	var entry map[string]json.RawMessage
	if err := json.Unmarshal(a.list.Plugins[len(a.list.Plugins)-1].Bytes, &entry); err != nil {
		t.Fatal(err)
	}
	delete(entry, "prevResult")
	if prevResult != nil {
		entry["prevResult"] = prevResult
	}
	list, err := json.Marshal(map[string]any{"cniVersion": version, "name": "podnet", "plugins": []any{entry}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := libcni.ConfListFromBytes(list)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// lastResult is the chain's result as libcni keeps it.
func (a *attachment) lastResult(t *testing.T) []byte {
	t.Helper()
	result, err := a.cni.GetNetworkListCachedResult(a.list, a.runtime)
	if err != nil || result == nil {
		t.Fatal("no cached result: ", err)
	}
	out, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// stdin is what the plugin alone gets from libcni.
func (a *attachment) stdin(t *testing.T, version string) string {
	t.Helper()
	var entry map[string]json.RawMessage
	if err := json.Unmarshal(a.only(t, version, a.lastResult(t)).Plugins[0].Bytes, &entry); err != nil {
		t.Fatal(err)
	}
	entry["cniVersion"], entry["name"] = json.RawMessage(strconv.Quote(version)), json.RawMessage(`"podnet"`)
	out, err := json.Marshal(entry)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
