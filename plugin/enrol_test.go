package plugin_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/backend"
	"github.com/sluice-cni/sluice/rules/nft"
	"golang.org/x/sys/unix"
)

// enrolled reads back what the pod's rules were made from.
func enrolled(t testing.TB, ns *lab.Namespace) nft.Applied {
	t.Helper()
	applied, found, err := nft.Read(ns.FD())
	if err != nil || !found {
		t.Fatalf("no rules in the namespace: %v", err)
	}
	if !applied.Node {
		t.Error("the rules are not those of a node's agent")
	}
	return applied
}

// The whole of it: sockets first, then the rules; what the pod sends waits at the holder
// and DEL takes everything back.
func TestAPodIsHeldBeforeItsRulesAreThere(t *testing.T) {
	t.Parallel()
	ns := pod(t)
	h := newHolder(t, func(h *holder) {
		h.onHold = func(holding wire.Holding, m wire.Message) {
			if found := tables(t, ns); len(found) > 0 {
				t.Errorf("rules before anybody holds the sockets: %v", found)
			}
			if len(m.Files) != len(holding.Sockets)+1 {
				t.Errorf("%d files for %d sockets and the namespace", len(m.Files), len(holding.Sockets))
			}
		}
	})
	stdin := conf(h.fields(`"includeIPRanges":"127.0.0.2","dnsCapture":true,"capabilities":{"dns":true},"runtimeConfig":{"dns":{"servers":["10.96.0.10"],"searches":["shop.svc.cluster.local"],"options":["ndots:5"]},"io.kubernetes.cri.pod-annotations":{"a":"b","sluice.dev/inject":"true"}}`))
	env := []string{"CNI_ARGS=K8S_POD_NAME=web;K8S_POD_NAMESPACE=shop;K8S_POD_UID=u-1"}
	out := call{verb: "ADD", netns: ns.Path(), stdin: stdin, env: env}.run(t)
	out.succeeded(t)
	if !sameJSON(t, out.stdout, previous) {
		t.Errorf("result %s", out.stdout)
	}
	enrolled(t, ns)

	holding, m := h.last()
	want := []wire.Socket{{Role: "tcp", Network: "tcp4", Port: 15001}, {Role: "dns-stream", Network: "tcp4", Port: 15053}, {Role: "dns-packet", Network: "udp4", Port: 15053},
		{Role: "tcp", Network: "tcp6", Port: 15001}, {Role: "dns-stream", Network: "tcp6", Port: 15053}, {Role: "dns-packet", Network: "udp6", Port: 15053}}
	if !slices.Equal(holding.Sockets, want) {
		t.Errorf("sockets %+v", holding.Sockets)
	}
	if holding.Pod != (wire.PodName{Namespace: "shop", Name: "web", UID: "u-1"}) || holding.Policy != wire.PolicyBlock || holding.Gate != 0 ||
		holding.Attachment != (wire.Attachment{ContainerID: "pod1", Interface: "eth0", Path: ns.Path()}) {
		t.Errorf("%+v", holding)
	}
	var st unix.Stat_t
	if err := unix.Stat(ns.Path(), &st); err != nil || holding.Netns != (wire.Netns{Device: st.Dev, Inode: st.Ino}) {
		t.Errorf("namespace %v, %v", holding.Netns, err)
	}
	d := h.document()
	if d.Network != "net" || d.Mark == 0 || len(d.Annotations) != 1 || d.Annotations[inject] != "true" || d.DNS == nil || d.DNS.Servers[0] != "10.96.0.10" || d.DNS.Options[0] != "ndots:5" ||
		string(d.Fields["dnsCapture"]) != "true" || d.Fields["agentSocket"] == nil || d.Fields["name"] != nil ||
		string(d.Fields["includeIPRanges"]) == "" {
		t.Errorf("document %+v", d)
	}

	l, err := net.FileListener(m.Files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var c net.Conn
	if err := ns.Do(func() (err error) { c, err = net.DialTimeout("tcp", "127.0.0.2:80", 5*time.Second); return err }); err != nil {
		t.Fatal(err)
	}
	c.Close()
	call{verb: "CHECK", netns: ns.Path(), stdin: stdin, env: env}.run(t).succeeded(t)
	l.Close()
	call{verb: "DEL", netns: ns.Path(), stdin: stdin, env: env}.run(t).succeeded(t)
	if h.holds() != 0 || len(tables(t, ns)) > 0 {
		t.Errorf("left: %d held, %v", h.holds(), tables(t, ns))
	}
}

// A pod may have 256 KiB of annotations, and JSON makes six bytes of one of these.
func TestOthersAnnotationsAreNotInTheWay(t *testing.T) {
	t.Parallel()
	ns, h := pod(t), newHolder(t, nil)
	annotations := map[string]string{"example.com/page": strings.Repeat("<", 255<<10), "sluice.dev/nonTCP": "allow"}
	call{verb: "ADD", netns: ns.Path(), stdin: annotated(t, h.fields(""), annotations)}.run(t).succeeded(t)
	if d := h.document(); len(d.Annotations) != 1 || d.Annotations["sluice.dev/nonTCP"] != "allow" {
		t.Errorf("%d annotations", len(d.Annotations))
	}
	// One that is sluice's own is malformed, and that is said in few words.
	annotations = map[string]string{"sluice.dev/nonTCP": strings.Repeat("<", 255<<10)}
	f := call{verb: "ADD", netns: pod(t).Path(), stdin: annotated(t, h.fields(""), annotations)}.run(t).failed(t)
	if f.Code != 7 || len(f.Details) > 10_000 || !strings.HasPrefix(f.Details, `annotation sluice.dev/nonTCP: nonTCP "<`) {
		t.Errorf("code %d, %d bytes", f.Code, len(f.Details))
	}
}

func TestWhatAnAgentCannotServeIsRefused(t *testing.T) {
	t.Parallel()
	h := newHolder(t, nil)
	for fields, want := range map[string]string{
		`"exemptUIDs":1337`:                                 `exemptUIDs "1337": an agent serves the pods`,
		`"exemption":"mark","exemptMark":7`:                 `exemption "mark": an agent serves`,
		`"includeInboundPorts":"*"`:                         `includeInboundPorts "*": an agent serves`,
		`"failurePolicy":"bypass","backend":"iptables-nft"`: `failurePolicy "bypass": needs nf_tables`,
	} {
		ns := pod(t)
		f := call{verb: "ADD", netns: ns.Path(), stdin: conf(h.fields(fields))}.run(t).failed(t)
		if f.Code != 7 || !strings.Contains(f.Details, want) {
			t.Errorf("%s: %+v", fields, f)
		}
	}
	f := call{verb: "ADD", netns: pod(t).Path(), stdin: annotated(t, h.fields(""), map[string]string{"sluice.dev/exemptUIDs": "0"})}.run(t).failed(t)
	if f.Code != 7 || !strings.Contains(f.Details, `annotation sluice.dev/exemptUIDs: exemptUIDs "0"`) {
		t.Errorf("%+v", f)
	}
	if h.holds() != 0 {
		t.Error("something is held")
	}
}

func TestABlockedPodWaitsForTheNodeAndSaysForWhom(t *testing.T) {
	t.Parallel()
	nobody := filepath.Join(t.TempDir(), "holder.sock")
	silent := newHolder(t, func(h *holder) {
		h.answer = func(_ *wire.Conn, raw net.Conn, _ wire.Message) { io.Copy(io.Discard, raw) }
	})
	for name, path := range map[string]string{"nobody": nobody, "hanging": silent.path} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := pod(t)
			stdin := conf(fmt.Sprintf(`"agentSocket":%q,"timeout":"2s"`, path))
			took := await.Fastest(4*time.Second, func() {
				f := call{verb: "ADD", netns: ns.Path(), stdin: stdin}.run(t).failed(t)
				if f.Code != 11 || !strings.Contains(f.Msg, "nobody at "+path+" took the pod's sockets") {
					t.Errorf("%+v", f)
				}
			})
			if took < time.Second || took > 4*time.Second {
				t.Errorf("took %v", took)
			}
			if left := tables(t, ns); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			call{verb: "DEL", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
		})
	}
}

func TestABypassPodStartsUncapturedWithoutTheNode(t *testing.T) {
	t.Parallel()
	ns := pod(t)
	stdin := conf(fmt.Sprintf(`"agentSocket":%q,"failurePolicy":"bypass"`, filepath.Join(t.TempDir(), "holder.sock")))
	var out outcome
	took := await.Fastest(5*time.Second, func() {
		out = call{verb: "ADD", netns: ns.Path(), stdin: stdin}.run(t)
		out.succeeded(t)
	})
	if took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if !sameJSON(t, out.stdout, previous) || !strings.Contains(out.stderr, "starts uncaptured") {
		t.Errorf("%+v", out)
	}
	if left := tables(t, ns); len(left) > 0 {
		t.Errorf("captured: %v", left)
	}
	call{verb: "CHECK", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
	call{verb: "DEL", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
}

// An agent's absence costs a bypass pod nothing: it is direct until one beats.
func TestABypassPodIsGatedByItsAgent(t *testing.T) {
	t.Parallel()
	for _, agent := range []bool{true, false} {
		testGate(t, agent)
	}
}

func testGate(t *testing.T, agent bool) {
	ns := pod(t)
	h := newHolder(t, func(h *holder) { h.reply.Agent = agent })
	stdin := conf(h.fields(`"failurePolicy":"bypass"`))
	call{verb: "ADD", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
	c := connect(t, ns)
	gate, err := c.GetSetByName(&nftables.Table{Name: "sluice", Family: nftables.TableFamilyINet}, rules.SetHeartbeat)
	if err != nil {
		t.Fatal(err)
	}
	beats, err := c.GetSetElements(gate)
	if err != nil || (len(beats) > 0) != agent {
		t.Errorf("agent there: %v, heartbeats %v, %v", agent, beats, err)
	}
	if applied := enrolled(t, ns); applied.Gate != 10*time.Second {
		t.Errorf("gate %v", applied.Gate)
	}
	if holding, _ := h.last(); holding.Policy != wire.PolicyBypass || holding.Gate != 10*time.Second {
		t.Errorf("%+v", holding)
	}
	call{verb: "CHECK", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
}

// Where agents are known by a mark the rules hold the one that the agent is told.
func TestTheMarkInTheRulesIsTheAgents(t *testing.T) {
	t.Parallel()
	h := newHolder(t, func(h *holder) { h.reply.Exemption = wire.ExemptByMark })
	marks := map[uint32]bool{}
	for range 3 {
		ns := pod(t)
		call{verb: "ADD", netns: ns.Path(), stdin: conf(h.fields(""))}.run(t).succeeded(t)
		applied, mark := enrolled(t, ns), h.document().Mark
		if applied.Config.Exemption != rules.ExemptByMark || applied.Config.ExemptMark != mark || mark == 0 {
			t.Errorf("rules %s %#x, document %#x", applied.Config.Exemption, applied.Config.ExemptMark, mark)
		}
		marks[mark] = true
		call{verb: "CHECK", netns: ns.Path(), stdin: conf(h.fields(""))}.run(t).succeeded(t)
		call{verb: "DEL", netns: ns.Path(), stdin: conf(h.fields(""))}.run(t).succeeded(t)
	}
	if len(marks) != 3 {
		t.Errorf("marks %v", marks)
	}
}

// iptables cannot tell sockets by their cgroup, whatever the agent says of itself.
func TestInIPTablesAgentsAreKnownByTheMark(t *testing.T) {
	t.Parallel()
	for _, name := range []rules.Backend{rules.BackendIPTablesNFT, rules.BackendIPTablesLegacy} {
		if _, _, err := backend.Choose(name); err != nil && lab.OwnUserNamespace() {
			t.Skipf("not run: %v", err)
		}
		h, ns := newHolder(t, nil), pod(t)
		stdin := conf(h.fields(fmt.Sprintf(`"backend":%q,"dnsCapture":true`, name)))
		call{verb: "ADD", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
		b, _, err := backend.Choose(name)
		if err != nil {
			t.Fatal(err)
		}
		applied, found, err := b.Read(ns.FD())
		if err != nil || !found || !applied.Node || applied.Config.ExemptMark != h.document().Mark {
			t.Errorf("%s: %+v %v %v", name, applied, found, err)
		}
		call{verb: "CHECK", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
		call{verb: "DEL", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
		if _, found, err := b.Read(ns.FD()); found || err != nil || h.holds() != 0 {
			t.Errorf("%s: left %v, %d held, %v", name, found, h.holds(), err)
		}
	}
	// Where auto ends there too, a bypass pod cannot be gated: it is refused, not left open.
	h, ns := newHolder(t, nil), pod(t)
	f := call{verb: "ADD", netns: ns.Path(), stdin: conf(h.fields(`"failurePolicy":"bypass"`)), prepare: wrap}.run(t).failed(t)
	if f.Code != 101 || h.holds() != 0 {
		t.Errorf("%+v", f)
	}
}

func TestRangesOfTheClusterAreRememberedAsSuch(t *testing.T) {
	t.Parallel()
	ns, h := pod(t), newHolder(t, nil)
	file := filepath.Join(t.TempDir(), "ranges.json")
	if err := os.WriteFile(file, []byte(`{"version":1,"written":"2026-01-01T00:00:00Z","ranges":["10.96.0.0/12"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	stdin := conf(h.fields(fmt.Sprintf(`"includeIPRanges":"auto","rangesFile":%q`, file)))
	call{verb: "ADD", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
	if applied := enrolled(t, ns); !applied.Auto || applied.Config.IncludeIPRanges.String() != "10.96.0.0/12" {
		t.Errorf("%+v", applied)
	}
	os.Remove(file) // CHECK is about the pod
	call{verb: "CHECK", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
}

func TestAnAddThatFailsAfterItWasHeldIsReleased(t *testing.T) {
	t.Parallel()
	h := newHolder(t, nil)
	ns := pod(t)
	f := call{verb: "ADD", netns: ns.Path(), stdin: conf(h.fields(`"backend":"nft"`)), prepare: wrap}.run(t).failed(t)
	if f.Code != 101 {
		t.Errorf("%+v", f)
	}
	if held, _ := h.said(); len(held) != 1 || h.holds() != 0 {
		t.Errorf("%d times held, %d now", len(held), h.holds())
	}
}

func TestAnUndeliverableResultTakesEverythingBack(t *testing.T) {
	t.Parallel()
	ns, h := pod(t), newHolder(t, nil)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	cmd := background(t, "ADD", ns.Path())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(conf(h.fields(""))), writer, io.Discard
	err = cmd.Run()
	writer.Close()
	if err == nil {
		t.Error("success without a result")
	}
	if left := tables(t, ns); len(left) > 0 || h.holds() != 0 {
		t.Errorf("left: %v, %d held", left, h.holds())
	}
}

func TestAddAgainConvergesOverSocketsThatAreHeld(t *testing.T) {
	t.Parallel()
	ns, h := pod(t), newHolder(t, nil)
	stdin := conf(h.fields(`"dnsCapture":true`))
	for range 3 {
		call{verb: "ADD", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
		call{verb: "CHECK", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
		if h.holds() != 1 {
			t.Errorf("%d held", h.holds())
		}
	}
}

func TestAPortThatThePodHasIsNamed(t *testing.T) {
	t.Parallel()
	ns, h := pod(t), newHolder(t, nil)
	var taken net.Listener
	if err := ns.Do(func() (err error) { taken, err = net.Listen("tcp4", "0.0.0.0:15001"); return err }); err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	f := call{verb: "ADD", netns: ns.Path(), stdin: conf(h.fields(`"timeout":"1s"`))}.run(t).failed(t)
	if f.Code != 11 || !strings.Contains(f.Details, "tcp4 port 15001") {
		t.Errorf("%+v", f)
	}
	if left := tables(t, ns); len(left) > 0 || h.holds() != 0 {
		t.Errorf("left: %v, %d held", left, h.holds())
	}
}

// Without IPv6 in the pod its sockets are IPv4's; what would be captured of IPv6 is
// refused, as nobody listens.
func TestAPodWithoutIPv6HasNoSocketsOfIt(t *testing.T) {
	t.Parallel()
	ns, h := pod(t), newHolder(t, nil)
	if err := ns.Do(func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/lo/disable_ipv6", []byte("1"), 0) }); err != nil {
		t.Fatal(err)
	}
	call{verb: "ADD", netns: ns.Path(), stdin: conf(h.fields(""))}.run(t).succeeded(t)
	if holding, _ := h.last(); len(holding.Sockets) != 1 || holding.Sockets[0].Network != "tcp4" {
		t.Errorf("%+v", holding.Sockets)
	}
	call{verb: "CHECK", netns: ns.Path(), stdin: conf(h.fields(""))}.run(t).succeeded(t)
}

func TestDelReleasesAndNeverFails(t *testing.T) {
	t.Parallel()
	silent := newHolder(t, func(h *holder) {
		h.answer = func(_ *wire.Conn, raw net.Conn, _ wire.Message) { io.Copy(io.Discard, raw) }
	})
	h := newHolder(t, nil)
	ns := pod(t)
	stdin := conf(h.fields(""))
	call{verb: "ADD", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
	for _, netns := range []string{"", ns.Path(), "", "/run/netns/gone"} {
		call{verb: "DEL", netns: netns, stdin: stdin}.run(t).succeeded(t)
		if h.holds() != 0 {
			t.Errorf("DEL with %q: %d held", netns, h.holds())
		}
	}
	if _, released := h.said(); released[0].ContainerID != "pod1" {
		t.Errorf("%+v", released[0])
	}
	if left := tables(t, ns); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	for _, stdin := range []string{
		conf(silent.fields("")),
		conf(silent.fields(`"includeIPRanges":"nope","policyFile":"x"`)),
		conf(fmt.Sprintf(`"agentSocket":%q`, filepath.Join(t.TempDir(), "none"))),
	} {
		took := await.Fastest(2*time.Second, func() {
			call{verb: "DEL", netns: pod(t).Path(), stdin: stdin}.run(t).succeeded(t)
		})
		if took > 2*time.Second {
			t.Errorf("took %v", took)
		}
	}
	// Only the interface that brought the rules takes them, and the sockets, away.
	call{verb: "ADD", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
	call{verb: "DEL", netns: ns.Path(), stdin: stdin, env: []string{"CNI_IFNAME=net1"}}.run(t).succeeded(t)
	if h.holds() != 1 {
		t.Errorf("DEL of another interface: %d held", h.holds())
	}
}

// The node knows a pod by the interface whose DEL ends it, whichever ADD came first.
func TestAPodOfSeveralInterfacesIsHeldOnce(t *testing.T) {
	t.Parallel()
	path, holds := startHolder(t)
	for _, interfaces := range []string{`["eth0","net1"]`, `"*"`} {
		for _, order := range [][]string{{"eth0", "net1"}, {"net1", "eth0"}} {
			ns := pod(t)
			addInterface(t, ns, "eth0")
			addInterface(t, ns, "net1")
			stdin := conf(fmt.Sprintf(`"agentSocket":%q,"interfaces":%s`, path, interfaces))
			with := func(verb, ifname string) {
				t.Helper()
				call{verb: verb, netns: ns.Path(), stdin: stdin, env: []string{"CNI_IFNAME=" + ifname}}.run(t).succeeded(t)
			}
			for _, ifname := range order {
				with("ADD", ifname)
				with("CHECK", ifname)
				if holds() != 1 {
					t.Errorf("%s: %d held after ADD of %s", interfaces, holds(), ifname)
				}
			}
			with("DEL", "net1")
			if holds() != 1 || len(tables(t, ns)) == 0 {
				t.Errorf("%s: %d held, rules %v after DEL of net1", interfaces, holds(), tables(t, ns))
			}
			with("DEL", "eth0")
			if holds() != 0 || len(tables(t, ns)) > 0 {
				t.Errorf("%s: %d held, rules %v after DEL of eth0", interfaces, holds(), tables(t, ns))
			}
		}
	}
}

func TestCheckLooksAtTheRecordTheRulesAndTheListeners(t *testing.T) {
	t.Parallel()
	h := newHolder(t, nil)
	start := func(fields string) (*lab.Namespace, string) {
		ns := pod(t)
		stdin := conf(h.fields(fields))
		call{verb: "ADD", netns: ns.Path(), stdin: stdin, env: []string{"CNI_CONTAINERID=" + filepath.Base(ns.Path())}}.run(t).succeeded(t)
		return ns, stdin
	}
	drifted := func(ns *lab.Namespace, stdin, want string) {
		t.Helper()
		f := call{verb: "CHECK", netns: ns.Path(), stdin: stdin}.run(t).failed(t)
		if f.Code != 103 || !strings.Contains(f.Details, want) {
			t.Errorf("want %q: %+v", want, f)
		}
	}
	// An agent has given the pod other ranges since: no drift, whatever the entry says.
	ns, stdin := start("")
	applied := enrolled(t, ns)
	applied.Config.Set("includeIPRanges", "10.0.0.0/8")
	plan, err := rules.NewPlan(applied.Config, applied.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	if err := nft.Apply(ns.FD(), plan); err != nil {
		t.Fatal(err)
	}
	if err := nft.Exempt(ns.FD(), rules.Agents{Levels: []int{1}, IDs: []uint64{4711}}); err != nil {
		t.Fatal(err)
	}
	call{verb: "CHECK", netns: ns.Path(), stdin: stdin}.run(t).succeeded(t)
	// A rule that somebody took away.
	tampered, stdin2 := start("")
	c := connect(t, tampered)
	redirects := slices.DeleteFunc(rulesIn(t, c), func(r *nftables.Rule) bool { return r.Chain.Name != "output_nat" })
	if err := errors.Join(c.DelRule(redirects[len(redirects)-1]), c.Flush()); err != nil {
		t.Fatal(err)
	}
	drifted(tampered, stdin2, "output_nat")
	// Rules of another mode, no rules, capture that was ended.
	alone := pod(t)
	call{verb: "ADD", netns: alone.Path(), stdin: conf("")}.run(t).succeeded(t)
	drifted(alone, stdin, "without agentSocket")
	drifted(pod(t), stdin, "there are no rules")
	off, _ := start("")
	if err := nft.Disable(off.FD()); err != nil {
		t.Fatal(err)
	}
	drifted(off, stdin, "capture is disabled")
	// Nobody listens any more.
	h.close()
	drifted(ns, stdin, "nobody listens where the rules redirect to: tcp 15001")
}

func TestGCReleasesWhatHasGoneOnly(t *testing.T) {
	t.Parallel()
	h := newHolder(t, nil)
	add := func(id string) *lab.Namespace {
		ns := pod(t)
		call{verb: "ADD", netns: ns.Path(), stdin: conf(h.fields("")), env: []string{"CNI_CONTAINERID=" + id}}.run(t).succeeded(t)
		return ns
	}
	add("valid")
	add("alive-elsewhere")
	gone := add("gone")
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	var entry map[string]json.RawMessage
	if err := json.Unmarshal([]byte(conf(h.fields(`"cni.dev/valid-attachments":[{"containerID":"valid","ifname":"eth0"}]`))), &entry); err != nil {
		t.Fatal(err)
	}
	entry["cniVersion"] = json.RawMessage(`"1.1.0"`)
	stdin, err := json.Marshal(entry)
	if err != nil {
		t.Fatal(err)
	}
	call{verb: "GC", stdin: string(stdin)}.run(t).succeeded(t)
	if _, released := h.said(); h.holds() != 2 || len(released) != 1 || released[0].ContainerID != "gone" {
		t.Errorf("%d held, released %+v", h.holds(), released)
	}
	h.close()
	call{verb: "GC", stdin: string(stdin)}.run(t).succeeded(t)
}

func TestStatusOnlyMentionsThatNobodyIsThere(t *testing.T) {
	t.Parallel()
	stdin := strings.Replace(conf(fmt.Sprintf(`"agentSocket":%q`, filepath.Join(t.TempDir(), "none"))), "1.0.0", "1.1.0", 1)
	out := call{verb: "STATUS", stdin: stdin}.run(t)
	out.succeeded(t)
	if !strings.Contains(out.stderr, "agentSocket: ") {
		t.Errorf("%+v", out)
	}
	h := newHolder(t, func(h *holder) {
		h.answer = func(*wire.Conn, net.Conn, wire.Message) { t.Error("STATUS speaks to the holder") }
	})
	out = call{verb: "STATUS", stdin: strings.Replace(conf(h.fields("")), "1.0.0", "1.1.0", 1)}.run(t)
	if out.succeeded(t); out.stderr != "" {
		t.Errorf("%+v", out)
	}
}
