package main

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/agent"
	"github.com/sluice-cni/sluice/agent/client"
	"github.com/sluice-cni/sluice/agent/handover"
	"github.com/sluice-cni/sluice/holder"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/proxy"
)

// agentAnswers serves answers by path at a unix socket in dir.
func agentAnswers(t *testing.T, dir string, answers map[string]any) {
	t.Helper()
	anAgent(t, filepath.Join(dir, handover.SocketName), func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		json.NewEncoder(w).Encode(answer)
	})
}

// anAgent has a unix socket answered as an agent does.
func anAgent(t *testing.T, path string, answer http.HandlerFunc) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(answer)
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
}

func runSluice(t *testing.T, args ...string) (out, errors string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, streams{in: strings.NewReader(""), out: &o, err: &e})
	return o.String(), e.String(), code
}

func TestStatusOfAPolicyWithMistakesAndOfRangesThatNobodyWants(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	agentAnswers(t, dir, map[string]any{agent.StatusPath: agent.Status{NodeStatus: agent.NodeStatus{Policy: 6, PolicyErr: "namespace shop: no"}}})
	out, _, _ := runSluice(t, "status", "--run-dir", dir)
	if !strings.Contains(out, "policy        generation 6; left out of it: namespace shop: no\nranges        -\n") {
		t.Error(out)
	}
}

func TestStatusShowsTheNodeAndItsPods(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	since := time.Now().Add(-90 * time.Minute)
	agentAnswers(t, dir, map[string]any{agent.StatusPath: agent.Status{
		NodeStatus: agent.NodeStatus{
			Build: "1.2.3", PID: 4711, Connected: true, Ready: true, Exemption: "cgroup", Cgroup: "/sluice-agent-4711",
			Policy: 3, Ranges: 5, Resources: 100, Errors: 1, Serving: 2, Draining: 1, Goroutines: 60, Descriptors: 70,
			Beside: []string{"Cilium does what it should not"}, Cluster: "the API server has not answered since noon",
			Used: proxy.Usage{Connections: 12, Memory: 3 << 20}, Most: proxy.Usage{Connections: 9000, Memory: 256 << 20},
		},
		Pods: []agent.PodStatus{
			{
				Name: wire.PodName{Namespace: "shop", Name: "web", UID: "u-1"}, Netns: "4-101", Path: "/run/netns/cni-1", Container: "c1",
				State: "enrolled", Decided: "namespace shop: select", Rules: "applied", Hash: "abc", Policy: "block", Ranges: []string{"10.0.0.0/8", "fd00::/8"},
				Auto: true, DNS: true, Outbound: "Observe", Exemption: "cgroup", Connections: 7, Draining: 1, Drifts: 1, Since: &since, Warnings: []string{"everybody's", "one\x1b[31m", "two"},
				Settings: map[string]string{"excludeOutboundPorts": "22,6443", "excludeIPRanges": "10.96.0.0/12", "dnsServers": ""},
			},
			{Netns: "4-102", State: "failed", Reason: "cannot serve it: too many open files", Rules: "applied", Policy: "bypass", Ranges: []string{"*"}, Warnings: []string{"everybody's"}},
			{Name: wire.PodName{Namespace: "kube-system", Name: "dns"}, Netns: "4-103", State: "untouched", Rules: "none"},
		},
	}})
	out, errs, code := runSluice(t, "status", "--run-dir", dir)
	if code != 0 || errs != "" {
		t.Errorf("exit %d: %s", code, errs)
	}
	same(t, out, `agent         serves 2 pods, 1 drain
process       4711, sluice 1.2.3, 60 goroutines, 70 files open
holder        connected
exemption     cgroup /sluice-agent-4711
policy        generation 3
ranges        5 for includeIPRanges auto
resources     100, 1 error: 'sluice validate' shows them
cluster       the API server has not answered since noon
connections   12 of 9000 with those to servers, 3 of 256 MiB of buffers

warning: Cilium does what it should not

POD           STATE      POLICY   RANGES     CONNECTIONS           SERVED FOR   REASON
shop/web      enrolled   block    2 (auto)   7, older ones drain   90m          warning: one\u001b[31m (and 1 more)
netns 4-102   failed     bypass   *          0                     -            cannot serve it: too many open files

warning, 2 pods: everybody's

and 1 pod untouched; --all lists all
`)
	out, errs, code = runSluice(t, "status", "shop/web", "--run-dir", dir)
	if code != 0 || errs != "" {
		t.Errorf("exit %d: %s", code, errs)
	}
	same(t, out, `pod                    shop/web
uid                    u-1
state                  enrolled
decided by             namespace shop: select
rules                  applied abc
failure policy         block
ranges                 2 (auto)
                       10.0.0.0/8
                       fd00::/8
exemption              cgroup
connections            7, older ones drain
served for             90m
namespace              4-101 /run/netns/cni-1
container              c1
outboundPolicy         Observe, whatever resources say
DNS                    captured
dnsServers             ""
excludeIPRanges        10.96.0.0/12
excludeOutboundPorts   22,6443
rules changed          1 time by somebody else, and put right
warning                everybody's
warning                one\u001b[31m
warning                two
`)
	if _, errs, code = runSluice(t, "status", "shop/none", "--run-dir", dir); code != 1 || !strings.Contains(errs, `pod "shop/none": the agent knows no such pod`) {
		t.Errorf("exit %d: %s", code, errs)
	}
	var back agent.Status
	if out, _, code = runSluice(t, "status", "-o", "json", "--run-dir", dir); code != 0 || json.Unmarshal([]byte(out), &back) != nil || len(back.Pods) != 3 {
		t.Errorf("exit %d: %s", code, out)
	}
}

// holderAnswers has a holder at its socket in dir answer one question.
func holderAnswers(t *testing.T, dir string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, holder.SocketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.AcceptUnix()
		if err != nil {
			return
		}
		conn := wire.NewConn(c)
		defer conn.Close()
		if m, err := conn.Receive(time.Now().Add(await.Patience)); err != nil || m.Kind != wire.Status {
			return
		}
		conn.Send(wire.Status, wire.HolderStatus{Build: "1.2.3", PID: 17, Pods: []wire.PodStatus{
			{Netns: wire.Netns{Device: 4, Inode: 101}, Pod: wire.PodName{Namespace: "shop", Name: "web"}, Policy: "block", State: wire.StateRefusing, Reason: "no agent for 30s"},
		}})
	}()
}

const whatTheHolderHas = `holder   process 17, sluice 1.2.3, holds 1 pod

POD        STATE      POLICY   REASON
shop/web   refusing   block    no agent for 30s
`

// The holder is asked where no agent answers; that is an error all the same.
func TestStatusWithoutAnAgentShowsWhatTheHolderHas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	holderAnswers(t, dir)
	out, errs, code := runSluice(t, "status", "--run-dir", dir)
	same(t, out, whatTheHolderHas)
	if code != 1 || !strings.Contains(errs, "no agent answers on this node") || !strings.Contains(errs, "hint: start 'sluice agent'") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// One that was stopped (SIGSTOP) has its socket open, and the kernel lets others connect.
func TestStatusOfAnAgentThatStandsStillShowsWhatTheHolderHas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, handover.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	holderAnswers(t, dir)
	begun := time.Now()
	out, errs, code := runSluice(t, "status", "--run-dir", dir)
	same(t, out, whatTheHolderHas)
	if code != 1 || !strings.Contains(errs, "the agent has not answered for 5s") || !strings.Contains(errs, "hint: look at its process and its log; this is what the holder knows") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if took := time.Since(begun); took > 4*client.Patience {
		t.Errorf("it took %v", took)
	}
}

func TestPodsOfTheAgentAreAskedByName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	agentAnswers(t, dir, map[string]any{agent.PodsPath + "shop/web/v1/clusters": map[string]any{"items": []any{map[string]any{"name": "outbound|80||a.test"}}}})
	socket := filepath.Join(dir, handover.SocketName)
	if out, errs, code := runSluice(t, "clusters", "--pod", "shop/web", "--admin", socket); code != 0 || !strings.Contains(out, "outbound|80||a.test") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	_, errs, code := runSluice(t, "clusters", "--pod", "shop/none", "--admin", socket)
	if code != 1 || strings.Contains(errs, "--admin") || !strings.Contains(errs, "hint: 'sluice status --all' lists") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if _, errs, code := runSluice(t, "clusters", "--pod", "web", "--admin", socket); code != 2 || !strings.Contains(errs, `--pod "web": not a pod; use NAMESPACE/NAME`) {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func same(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
