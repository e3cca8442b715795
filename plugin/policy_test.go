package plugin_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/selection"
	"golang.org/x/sys/unix"
)

// policyFile writes a policy as an agent does.
func policyFile(t testing.TB, text string) string {
	t.Helper()
	p := &selection.Policy{}
	if err := json.Unmarshal([]byte(text), p); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "policy.json")
	if err := p.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func inNamespace(name string) []string {
	return []string{"CNI_ARGS=K8S_POD_NAME=web;K8S_POD_NAMESPACE=" + name}
}

func TestThePolicySelectsAndConfigures(t *testing.T) {
	t.Parallel()
	path := policyFile(t, `{"exemptNamespaces":["kube-system"],"enforce":["excludeIPRanges"],"defaults":{"excludeIPRanges":"192.0.2.0/24"},
		"namespaces":{"shop":{"enforce":["inject"]},"legacy":{"select":false},"loose":{"onInvalid":"pass"},"hard":{"onInvalid":"pass","enforce":["inject"]}}}`)
	out := map[string]string{inject: "false"}
	bad := map[string]string{"sluice.dev/nonTCP": "perhaps"}
	for _, tc := range []struct {
		name, namespace string
		annotations     map[string]string
		captured        bool
		fails, says     string
	}{
		{"usual", "web", nil, true, "", ""},
		{"opt-out", "web", out, false, "", "inject is false"},
		{"opt-out that the namespace's policy does not allow", "shop", out, true, "", ""},
		{"exempt", "kube-system", nil, false, "", "exemptNamespaces"},
		{"not selected", "legacy", nil, false, "", "select false"},
		{"a field that is enforced", "web", map[string]string{"traffic.sidecar.istio.io/excludeOutboundIPRanges": "*"}, true, "", "is enforced by the policy"},
		{"malformed", "web", bad, false, `annotation sluice.dev/nonTCP: nonTCP "perhaps": not a known value`, ""},
		{"malformed, and passes", "loose", bad, false, "", "passes through untouched: its annotations are malformed"},
		{"malformed, and inject is enforced", "hard", bad, false, `nonTCP "perhaps"`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ns, h := pod(t), newHolder(t, nil)
			stdin := annotated(t, h.fields(fmt.Sprintf(`"policyFile":%q`, path)), tc.annotations)
			env := inNamespace(tc.namespace)
			out := call{verb: "ADD", netns: ns.Path(), stdin: stdin, env: env}.run(t)
			if tc.fails != "" {
				if f := out.failed(t); f.Code != 7 || !strings.Contains(f.Details, tc.fails) {
					t.Errorf("%+v", f)
				}
			} else {
				out.succeeded(t)
				call{verb: "CHECK", netns: ns.Path(), stdin: stdin, env: env}.run(t).succeeded(t)
			}
			if got := len(tables(t, ns)) > 0; got != tc.captured || (h.holds() == 1) != tc.captured {
				t.Errorf("captured %v, %d held: %s", got, h.holds(), out.stderr)
			}
			if tc.captured && value(t, enrolled(t, ns).Config, "excludeIPRanges") != "192.0.2.0/24" {
				t.Error("the policy's value is not in force")
			}
			if !strings.Contains(out.stderr, tc.says) {
				t.Errorf("said %q, want %q", out.stderr, tc.says)
			}
			call{verb: "DEL", netns: ns.Path(), stdin: stdin, env: env}.run(t).succeeded(t)
		})
	}
}

// One pod's malformed annotations are that pod's.
func TestAMalformedPodFailsAloneWhileOthersStart(t *testing.T) {
	t.Parallel()
	h := newHolder(t, nil)
	path := policyFile(t, `{}`)
	for i := range 4 {
		ns, annotations := pod(t), map[string]string{}
		if i%2 == 0 {
			annotations["sluice.dev/outboundPort"] = "many"
		}
		stdin := annotated(t, h.fields(fmt.Sprintf(`"policyFile":%q`, path)), annotations)
		out := call{verb: "ADD", netns: ns.Path(), stdin: stdin, env: []string{fmt.Sprintf("CNI_CONTAINERID=pod%d", i)}}.run(t)
		if i%2 == 0 {
			if f := out.failed(t); f.Code != 7 || !strings.Contains(f.Details, "sluice.dev/outboundPort") {
				t.Errorf("%+v", f)
			}
			continue
		}
		out.succeeded(t)
	}
	if h.holds() != 2 {
		t.Errorf("%d held", h.holds())
	}
}

func TestANodeWithoutAPolicyPassesPodsThroughAndSaysSo(t *testing.T) {
	t.Parallel()
	ns, h := pod(t), newHolder(t, nil)
	stdin := conf(h.fields(fmt.Sprintf(`"policyFile":%q,"enforce":["inject"]`, filepath.Join(t.TempDir(), "policy.json"))))
	out := call{verb: "ADD", netns: ns.Path(), stdin: stdin}.run(t)
	out.succeeded(t)
	if !sameJSON(t, out.stdout, previous) || !strings.Contains(out.stderr, "no policy has been compiled yet on this node") || h.holds() != 0 || len(tables(t, ns)) > 0 {
		t.Errorf("%+v", out)
	}
	for _, verb := range []string{"CHECK", "DEL"} {
		call{verb: verb, netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
	}
}

func TestATornPolicyFailsWhoMayHaveToBeCaptured(t *testing.T) {
	t.Parallel()
	h := newHolder(t, nil)
	whole, err := os.ReadFile(policyFile(t, `{"enforce":["inject"]}`))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"empty": {}, "cut": whole[:len(whole)/2], "changed": bytes.Replace(whole, []byte("inject"), []byte("nonTCP"), 1)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"empty", "cut", "changed", "fifo", "."} {
		stdin := annotated(t, h.fields(fmt.Sprintf(`"policyFile":%q,"excludeNamespaces":["kube-system"]`, filepath.Join(dir, name))), map[string]string{inject: "false"})
		ns := pod(t)
		f := call{verb: "ADD", netns: ns.Path(), stdin: stdin, env: inNamespace("shop")}.run(t).failed(t)
		if f.Code != 11 || !strings.Contains(f.Msg, "policy cannot be read") || !strings.Contains(f.Details, filepath.Join(dir, name)) {
			t.Errorf("%s: %+v", name, f)
		}
		if left := tables(t, ns); len(left) > 0 || h.holds() > 0 {
			t.Errorf("left: %v", left)
		}
		for _, verb := range []string{"ADD", "CHECK", "DEL"} {
			call{verb: verb, netns: ns.Path(), stdin: stdin, env: inNamespace("kube-system")}.run(t).succeeded(t)
		}
		call{verb: "DEL", netns: ns.Path(), stdin: stdin, env: inNamespace("shop")}.run(t).succeeded(t)
		call{verb: "STATUS", stdin: strings.Replace(stdin, "1.0.0", "1.1.0", 1)}.run(t).succeeded(t)
	}
}

// A pod that is not selected is none of the node's business: whatever is broken there.
func TestAnUnselectedPodPassesWhateverIsBrokenOnTheNode(t *testing.T) {
	t.Parallel()
	silent := newHolder(t, func(h *holder) {
		h.answer = func(_ *wire.Conn, raw net.Conn, m wire.Message) {
			if m.Kind == wire.Hold {
				t.Error("an unselected pod is offered to the node")
			}
			io.Copy(io.Discard, raw)
		}
	})
	nobody := fmt.Sprintf(`"agentSocket":%q`, filepath.Join(t.TempDir(), "none"))
	torn := filepath.Join(t.TempDir(), "torn")
	if err := os.WriteFile(torn, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		fields, netns string
		prepare       func(*exec.Cmd)
	}{
		"no socket":                {fields: nobody},
		"a hanging holder":         {fields: silent.fields("")},
		"a torn policy":            {fields: nobody + fmt.Sprintf(`,"policyFile":%q`, torn)},
		"a policy that is exempt":  {fields: nobody + fmt.Sprintf(`,"policyFile":%q`, policyFile(t, `{"exemptNamespaces":["kube-system"]}`))},
		"bad ranges":               {fields: nobody + `,"includeIPRanges":"nope"`},
		"no ranges":                {fields: nobody + `,"includeIPRanges":"auto","rangesFile":"/no/such/file"`},
		"a bad path":               {fields: `"agentSocket":"x","policyFile":7`},
		"what no agent can serve":  {fields: nobody + `,"exemptUIDs":"1337"`},
		"no nf_tables":             {fields: nobody, prepare: wrap},
		"no namespace":             {fields: nobody, netns: "/run/netns/none"},
		"not permitted":            {fields: nobody, prepare: asNobody(t)},
		"malformed capability dns": {fields: nobody + `,"runtimeConfig":{"dns":7}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.netns == "" {
				tc.netns = pod(t).Path()
			}
			for _, verb := range []string{"ADD", "CHECK", "DEL"} {
				out := call{verb: verb, netns: tc.netns, stdin: conf(tc.fields + `,"excludeNamespaces":["kube-system"]`), env: inNamespace("kube-system"), prepare: tc.prepare}.run(t)
				out.succeeded(t)
				if verb == "ADD" && !sameJSON(t, out.stdout, previous) {
					t.Errorf("result %s", out.stdout)
				}
			}
		})
	}
}

// What the holder answers is judged like everything that comes from outside.
func TestAHostileHolderIsNoWorseThanNone(t *testing.T) {
	t.Parallel()
	junk := bytes.Repeat([]byte("GET / HTTP/1.1\r\n\r\n"), 4096)
	for name, answer := range map[string]func(*wire.Conn, net.Conn, wire.Message){
		"garbage":       func(_ *wire.Conn, raw net.Conn, _ wire.Message) { raw.Write(junk) },
		"end":           func(*wire.Conn, net.Conn, wire.Message) {},
		"half a header": func(_ *wire.Conn, raw net.Conn, _ wire.Message) { raw.Write([]byte("SLU\x01")) },
		"another version": func(_ *wire.Conn, raw net.Conn, _ wire.Message) {
			raw.Write([]byte("SLU\xff\x02\x00\x00\x00\x00\x00\x00\x02{}"))
		},
		"too long": func(_ *wire.Conn, raw net.Conn, _ wire.Message) {
			raw.Write([]byte("SLU\x01\x02\x00\x00\x00\xff\xff\xff\xff{}"))
		},
		"no JSON":      func(c *wire.Conn, _ net.Conn, _ wire.Message) { c.Send(wire.Held, json.RawMessage(`"held"`)) },
		"another kind": func(c *wire.Conn, _ net.Conn, _ wire.Message) { c.Send(wire.Welcome, wire.WelcomeReply{}) },
		"refused": func(c *wire.Conn, _ net.Conn, _ wire.Message) {
			c.Send(wire.Refused, wire.Refusal{Code: wire.CodeFull, Text: "no room\n\x1b[31m"})
		},
		"refused strangely": func(c *wire.Conn, _ net.Conn, _ wire.Message) {
			c.Send(wire.Refused, wire.Refusal{Code: "new", Text: strings.Repeat("x", 100_000)})
		},
		"files":   func(c *wire.Conn, _ net.Conn, m wire.Message) { c.Send(wire.Held, json.RawMessage(`7`), m.Files...) },
		"silence": func(_ *wire.Conn, raw net.Conn, _ wire.Message) { io.Copy(io.Discard, raw) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHolder(t, func(h *holder) { h.answer = answer })
			ns := pod(t)
			out := call{verb: "ADD", netns: ns.Path(), stdin: conf(h.fields(`"timeout":"1s"`))}.run(t)
			f := out.failed(t)
			if f.Code != 11 || len(f.Details) > 9000 || strings.ContainsAny(f.Details, "\x1b\n") {
				t.Errorf("%d bytes: %+v", len(f.Details), f)
			}
			if left := tables(t, ns); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			call{verb: "DEL", netns: ns.Path(), stdin: conf(h.fields(""))}.run(t).succeeded(t)
		})
	}
}
