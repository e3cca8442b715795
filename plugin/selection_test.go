package plugin_test

import (
	"os/exec"
	"strings"
	"testing"
)

const inject = "sluice.dev/inject"

func TestSelection(t *testing.T) {
	t.Parallel()
	no, yes := map[string]string{inject: "false"}, map[string]string{inject: "true"}
	for _, tc := range []struct {
		name, fields string
		annotations  map[string]string
		namespace    string
		captured     bool
	}{
		{"by default everybody", "", nil, "shop", true},
		{"opt-out", "", no, "shop", false},
		{"opt-in where nobody asks", "", yes, "shop", true},
		{"opt-out that is enforced away", `"enforce":["inject"]`, no, "shop", true},
		{"opt-out where everything is enforced", `"enforce":"*"`, no, "shop", true},
		{"annotated only", `"selection":"annotated"`, nil, "shop", false},
		{"annotated only, opt-in", `"selection":"annotated"`, yes, "shop", true},
		{"annotated only, opt-in, everything else enforced", `"selection":"annotated","enforce":"*"`, yes, "shop", true},
		{"annotated only, opt-out", `"selection":"annotated"`, no, "shop", false},
		{"excluded namespace", `"excludeNamespaces":["kube-system"]`, yes, "kube-system", false},
		{"excluded namespace, enforced", `"excludeNamespaces":"a, kube-system","enforce":"*"`, nil, "kube-system", false},
		{"another namespace", `"excludeNamespaces":["kube-system"]`, nil, "shop", true},
		{"no pod of Kubernetes'", `"excludeNamespaces":["kube-system"]`, nil, "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ns := pod(t)
			env := []string{"CNI_ARGS="}
			if tc.namespace != "" {
				env = []string{"CNI_ARGS=K8S_POD_NAME=web;K8S_POD_NAMESPACE=" + tc.namespace}
			}
			stdin := annotated(t, tc.fields, tc.annotations)
			out := call{verb: "ADD", netns: ns.Path(), stdin: stdin, env: env}.run(t)
			out.succeeded(t)
			if !sameJSON(t, out.stdout, previous) {
				t.Errorf("result %s", out.stdout)
			}
			if got := len(tables(t, ns)) > 0; got != tc.captured {
				t.Errorf("captured: %v\n%s", got, out.stderr)
			}
			if !tc.captured && !strings.Contains(out.stderr, "pod "+tc.namespace+"/web passes through untouched: ") {
				t.Errorf("log: %q", out.stderr)
			}
			for _, verb := range []string{"CHECK", "DEL", "DEL"} {
				call{verb: verb, netns: ns.Path(), stdin: stdin, env: env}.run(t).succeeded(t)
			}
		})
	}
}

func TestAnUnselectedPodPassesWhateverIsBroken(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fields, netns string
		annotations   map[string]string
		prepare       func(*exec.Cmd)
	}{
		"bad ranges":          {fields: `"includeIPRanges":"nope"`},
		"unknown field":       {fields: `"nonsense":1`},
		"a field twice":       {fields: `"nonTCP":"allow","nonTCP":"allow"`},
		"bad timeout":         {fields: `"timeout":7`},
		"unknown annotation":  {annotations: map[string]string{"sluice.dev/nonsense": "1"}},
		"no nf_tables":        {prepare: wrap},
		"namespace gone":      {netns: "/run/netns/none"},
		"the host's own":      {netns: "/proc/self/ns/net"},
		"not permitted":       {prepare: asNobody(t)},
		"impossible together": {fields: `"exemption":"mark"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			annotations := map[string]string{inject: "false"}
			for k, v := range tc.annotations {
				annotations[k] = v
			}
			if tc.netns == "" {
				tc.netns = pod(t).Path()
			}
			for _, verb := range []string{"ADD", "CHECK", "DEL"} {
				out := call{verb: verb, netns: tc.netns, stdin: annotated(t, tc.fields, annotations), prepare: tc.prepare}.run(t)
				out.succeeded(t)
				if verb == "ADD" && !sameJSON(t, out.stdout, previous) {
					t.Errorf("result %s", out.stdout)
				}
			}
		})
	}
}

// What selects cannot be read: the pod could be one that must be captured.
func TestABrokenSelectionSelects(t *testing.T) {
	t.Parallel()
	for _, fields := range []string{`"selection":"none"`, `"enforce":["nope"]`, `"selection":"annotated","enforce":["inject"]`} {
		stdin := annotated(t, fields, map[string]string{inject: "true"})
		if f := (call{verb: "ADD", netns: pod(t).Path(), stdin: stdin}).run(t).failed(t); f.Code != 7 {
			t.Errorf("%s: %+v", fields, f)
		}
	}
	f := call{verb: "ADD", netns: pod(t).Path(), stdin: annotated(t, "", map[string]string{inject: "no"})}.run(t).failed(t)
	if f.Code != 7 || !strings.Contains(f.Details, `annotation sluice.dev/inject "no": not a known value; use true or false`) {
		t.Errorf("%+v", f)
	}
}

func TestArgumentsOfTheRuntimeNeverFail(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		"", "IgnoreUnknown=1", "UNKNOWN=1", "K8S_POD_NAME=a=b==;X==;K8S_POD_NAMESPACE=shop", ";;=;novalue;K8S_POD_UID", "K8S_POD_NAMESPACE=kube-system;K8S_POD_NAMESPACE=shop",
	} {
		ns := pod(t)
		out := call{verb: "ADD", netns: ns.Path(), stdin: conf(`"excludeNamespaces":"kube-system"`), env: []string{"CNI_ARGS=" + args}}.run(t)
		out.succeeded(t)
		if len(tables(t, ns)) == 0 {
			t.Errorf("%q: not captured", args)
		}
		call{verb: "CHECK", netns: ns.Path(), stdin: conf(""), env: []string{"CNI_ARGS=" + args}}.run(t).succeeded(t)
		call{verb: "DEL", netns: ns.Path(), stdin: conf(""), env: []string{"CNI_ARGS=" + args}}.run(t).succeeded(t)
	}
}
