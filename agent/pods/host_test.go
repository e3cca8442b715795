package pods_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/agent/pods"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/iptables"
	"github.com/sluice-cni/sluice/rules/nft"
)

func TestARunningPodIsEnrolledAndLeftWithoutBreakingAConnection(t *testing.T) {
	s := newStage(t)
	s.direct()
	before := s.echo()
	files := s.enrol()
	s.governed()
	during := s.echo()
	for name, check := range map[string]func() error{"before": before, "during": during} {
		if err := check(); err != nil {
			t.Errorf("a connection from %s the enrolment: %v", name, err)
		}
	}
	s.do(core.Disable{Target: s.target(files)})
	s.direct()
	s.do(core.Stop{Target: s.target(files), Drain: patience})
	if err := during(); err != nil {
		t.Errorf("a connection that drains: %v", err)
	}
	if err := before(); err != nil {
		t.Errorf("one that was never captured: %v", err)
	}
	select {
	case <-s.drained:
		t.Error("drained, although a connection is open")
	default:
	}
	s.do(core.Stop{Target: s.target(files)}) // nothing is served: nothing to cut
	if got := s.host.Served()[s.id]; got != (pods.Served{}) {
		t.Errorf("served: %+v", got)
	}
	s.do(core.Remove{Target: s.target(files)})
	s.do(core.Release{Target: s.target(files)})
	if len(s.holder.held) != 0 {
		t.Errorf("the holder has %v", s.holder.held)
	}
	if r := s.do(core.ReadBack{Target: s.target(0)}).Rules; r.State != core.RulesNone {
		t.Errorf("rules are left: %+v", r)
	}
}

func TestADrainEndsWithItsLastConnection(t *testing.T) {
	s := newStage(t)
	files := s.enrol()
	s.governed()
	s.do(core.Stop{Target: s.target(files), Drain: patience, Close: true})
	select {
	case <-s.drained:
	case <-time.After(patience):
		t.Fatal("not drained")
	}
}

func TestADrainIsCutAtItsLimit(t *testing.T) {
	s := newStage(t)
	files := s.enrol()
	check := s.echo()
	must(t, check())
	s.do(core.Stop{Target: s.target(files), Drain: 100 * time.Millisecond})
	select {
	case <-s.drained:
	case <-time.After(patience):
		t.Fatal("not drained")
	}
	if err := check(); err == nil {
		t.Error("the connection goes on")
	}
}

func TestRangesAreReplacedInRulesThatAreThere(t *testing.T) {
	s := newStage(t)
	files := s.enrol()
	check := s.echo()
	before := s.decision()
	old := before.Hash
	r := s.do(core.ReadBack{Target: s.target(files)}).Rules
	if r.State != core.RulesApplied || r.Hash != before.Hash || r.Running || r.Ports.Outbound != s.config.OutboundPort || r.Config == nil {
		t.Errorf("read back %+v", r)
	}
	s.include("198.51.100.0/24")
	s.do(core.ReplaceSets{Target: s.target(files), From: before.Hash, Decision: s.decision()})
	s.direct()
	if err := check(); err != nil {
		t.Errorf("a connection that was captured: %v", err)
	}
	if drift := s.do(core.Check{Target: s.target(files), Hash: s.decision().Hash, Agents: own}).Drift; drift != "" {
		t.Errorf("drift: %s", drift)
	}
	a := core.ReplaceSets{Target: s.target(files), From: old, Decision: before}
	if done, _ := s.host.Perform(context.Background(), a); !errors.Is(done.Err, core.ErrOtherRules) {
		t.Errorf("sets of other rules: %v", done.Err)
	}
	now := s.decision().Hash
	s.include("203.0.113.0/24")
	s.do(core.ReplaceSets{Target: s.target(files), From: now, Decision: s.decision()})
	s.governed()
}

func TestWhatSomebodyElseChangedIsDrift(t *testing.T) {
	s := newStage(t)
	files := s.enrol()
	for range 2 { // by comparison, and by the kernel's word that nothing has changed
		if drift := s.do(core.Check{Target: s.target(files), Hash: s.decision().Hash, Agents: own}).Drift; drift != "" {
			t.Errorf("drift before anybody changed anything: %s", drift)
		}
	}
	for name, a := range map[string]core.Check{
		"nobody exempt":   {Target: s.target(files), Hash: s.decision().Hash},
		"a configuration": {Target: s.target(files), Hash: "another", Agents: own},
	} {
		if s.do(a).Drift == "" {
			t.Errorf("%s is not what the rules have, and that is no drift", name)
		}
	}
	must(t, nft.Exempt(s.pod.FD(), rules.Agents{}))
	drift := s.do(core.Check{Target: s.target(files), Hash: s.decision().Hash, Agents: own}).Drift
	if drift == "" {
		t.Error("nobody is exempt, and that is no drift")
	}
	s.do(core.Exempt{Target: s.target(files), Agents: own})
	s.governed()
	must(t, nft.Disable(s.pod.FD()))
	drift = s.do(core.Check{Target: s.target(files), Hash: s.decision().Hash, Agents: own}).Drift
	if !strings.Contains(drift, "disabled") {
		t.Errorf("drift of disabled rules: %q", drift)
	}
}

func TestANamespaceThatIsNotTheOneIsGone(t *testing.T) {
	s := newStage(t)
	other := labtest.New(t)
	for name, target := range map[string]core.Target{
		"another":    {Pod: s.id, Path: other.FDPath()},
		"no file":    {Pod: s.id, Path: "/run/netns/nowhere"},
		"no process": {Pod: s.id, PID: 1 << 22},
	} {
		done, _ := s.host.Perform(context.Background(), core.ReadBack{Target: target})
		if !errors.Is(done.Err, core.ErrGone) {
			t.Errorf("%s: %v", name, done.Err)
		}
	}
	done, _ := s.host.Perform(context.Background(), core.Exempt{Target: s.target(0), Agents: own})
	if !errors.Is(done.Err, core.ErrNoRules) {
		t.Errorf("exempt without rules: %v", done.Err)
	}
}

func TestAPortThatTheApplicationHasIsLeftToIt(t *testing.T) {
	s := newStage(t)
	l, err := s.pod.Listen("tcp4", "127.0.0.1:15001")
	must(t, err)
	defer l.Close()
	s.enrol()
	if s.config.OutboundPort == 15001 {
		t.Fatal("port 15001 is the application's")
	}
	s.governed()
}

func TestAPodComesFromTheHolderAndIsItsAgain(t *testing.T) {
	s := newStage(t)
	files := s.enrol()
	holding, kept, ok := s.host.Kept(s.id)
	if !ok || len(kept) != len(holding.Sockets)+1 {
		t.Fatalf("kept %+v, %d files", holding, len(kept))
	}
	if id, fresh, err := s.host.Adopt(holding, kept); err != nil || fresh || id != files {
		t.Errorf("what this agent opened itself is %d, fresh %t, %v", id, fresh, err)
	}
	have := s.host.Have()
	if len(have) != 1 || have[0].Netns != s.id || have[0].Cookie == 0 {
		t.Errorf("have %+v", have)
	}
	// Another agent takes the same sockets, and both accept.
	other := s.another()
	_, kept, _ = s.host.Kept(s.id)
	id, fresh, err := other.Adopt(holding, kept)
	if err != nil || !fresh {
		t.Fatal(err)
	}
	done, _ := other.Perform(context.Background(), core.Start{Target: s.target(id), Decision: s.decision()})
	must(t, done.Err)
	s.do(core.Stop{Target: s.target(files), Drain: patience, Close: true})
	s.governed()
}

func TestFilesThatAreNotThePodsAreRefused(t *testing.T) {
	s := newStage(t)
	other := labtest.New(t)
	for name, tc := range map[string]struct {
		holding wire.Holding
		files   func() []*os.File
	}{
		"another namespace":   {wire.Holding{Netns: s.id}, func() []*os.File { return []*os.File{opened(t, other.FDPath())} }},
		"no namespace":        {wire.Holding{Netns: s.id}, func() []*os.File { return []*os.File{opened(t, os.DevNull)} }},
		"too few sockets":     {wire.Holding{Netns: s.id, Sockets: []wire.Socket{{}}}, func() []*os.File { return []*os.File{opened(t, s.pod.FDPath())} }},
		"nothing":             {wire.Holding{Netns: s.id}, func() []*os.File { return nil }},
		"the host's own here": {wire.Holding{Netns: s.id}, func() []*os.File { return []*os.File{opened(t, "/proc/thread-self/ns/net")} }},
	} {
		if _, _, err := s.host.Adopt(tc.holding, tc.files()); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if len(s.host.Have()) != 0 {
		t.Errorf("have %v", s.host.Have())
	}
}

func TestDNSIsAnsweredInsideThePod(t *testing.T) {
	s := newStage(t)
	s.config.DNSCapture = true
	s.enrol()
	s.resolved("udp4")
	s.resolved("tcp4")
}

// Who asks what becomes of a connection is told of no address that the pod is never given.
func TestAPodsProxyKnowsWhetherThePodHasVirtualAddresses(t *testing.T) {
	t.Parallel()
	for _, captured := range []bool{true, false} {
		t.Run(fmt.Sprintf("dnsCapture %t", captured), func(t *testing.T) {
			s := newStage(t)
			s.config.DNSCapture = captured
			s.enrol()
			if none := s.host.Server(s.id).Manner(netip.AddrPort{}).NoVirtual; none == captured {
				t.Errorf("it has none: %t", none)
			}
		})
	}
}

func opened(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	return f
}

// Where the kernel cannot tell sockets by cgroup, those of the agent have a mark.
func TestAPodMayKnowTheAgentByAMark(t *testing.T) {
	s := newStage(t)
	opened := s.do(core.OpenAndHold{Target: s.target(0), Decision: s.decision(), Ports: core.Ports{Outbound: 15001}})
	if opened.Mark == 0 {
		t.Fatal("no mark was drawn")
	}
	s.config.OutboundPort, s.config.Exemption, s.config.ExemptMark = opened.Ports.Outbound, rules.ExemptByMark, opened.Mark
	s.do(core.Start{Target: s.target(opened.Files), Decision: s.decision(), Description: core.Description{Mark: opened.Mark}})
	s.do(core.Apply{Target: s.target(opened.Files), Decision: s.decision(), Running: true})
	s.governed()
	if r := s.do(core.ReadBack{Target: s.target(opened.Files)}).Rules; r.Mark != opened.Mark {
		t.Errorf("read back mark %d, not %d", r.Mark, opened.Mark)
	}
}

// Rules of iptables know a mark wherever they are: who wants to be exempt in them is told
// to read which.
func TestRulesOfIPTablesSayThatAMarkIsExempt(t *testing.T) {
	_, err := iptables.Find(iptables.NFT)
	labtest.NeedsInstalled(t, err)
	s := newStage(t)
	opened := s.do(core.OpenAndHold{Target: s.target(0), Decision: s.decision(), Ports: core.Ports{Outbound: 15001}})
	s.config.OutboundPort, s.config.Exemption, s.config.ExemptMark = opened.Ports.Outbound, rules.ExemptByMark, opened.Mark
	s.config.Backend = rules.BackendIPTablesNFT
	at := s.target(opened.Files)
	s.do(core.Start{Target: at, Decision: s.decision(), Description: core.Description{Mark: opened.Mark}})
	s.do(core.Apply{Target: at, Decision: s.decision(), Running: true, Agents: own})
	s.governed()
	if done, _ := s.host.Perform(context.Background(), core.Exempt{Target: at, Agents: own}); !errors.Is(done.Err, core.ErrOtherRules) || errors.Is(done.Err, core.ErrNoRules) {
		t.Errorf("to exempt the agent by its cgroup: %v", done.Err)
	}
	if r := s.do(core.ReadBack{Target: at}).Rules; r.Mark != opened.Mark || r.Hash != s.decision().Hash {
		t.Errorf("read back %+v, not mark %d", r, opened.Mark)
	}
	if drift := s.do(core.Check{Target: at, Hash: s.decision().Hash, Agents: own}).Drift; drift != "" {
		t.Errorf("drift: %s", drift)
	}
}

// Who may act in the pod's namespace can shut its sockets (ss -K). The proxy that served
// them says that it fell, and the next one has them listen again. One for packets gets an
// error from that, once.
func TestAProxyWhoseSocketsWereShutIsStartedAgain(t *testing.T) {
	for name, roles := range map[string][]string{
		"all":          {wire.RoleTCP, wire.RoleDNSStream},
		"DNS over TCP": {wire.RoleDNSStream},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.config.DNSCapture = true
			fell := make(chan core.Fell, 4)
			s.host.Fell = func(e core.Fell) { fell <- e }
			files := s.enrol()
			s.governed()
			s.shut(roles...)
			select {
			case e := <-fell:
				if e.Pod != s.id || e.Files != files || e.Err == nil {
					t.Errorf("%+v", e)
				}
			case <-time.After(patience):
				t.Fatal("nobody said that it fell")
			}
			s.do(core.Start{Target: s.target(files), Decision: s.decision()})
			s.governed()
			s.resolved("udp4")
			s.resolved("tcp4")
		})
	}
}

// A namespace that is gone keeps nobody who drained from before.
func TestAnEndAtOnceEndsEarlierDrainsToo(t *testing.T) {
	s := newStage(t)
	files := s.enrol()
	check := s.echo()
	must(t, check())
	s.do(core.Stop{Target: s.target(files), Drain: patience * 10})
	drained := s.drained
	must(t, check())
	s.do(core.Stop{Target: s.target(files), Close: true})
	select {
	case <-drained:
	case <-time.After(patience):
		t.Error("it drains still")
	}
	if check() == nil {
		t.Error("its connection is open")
	}
}

// A session with the holder that begins while it is asked to hold a pod says nothing of it.
func TestWhatTheHolderIsAskedToHoldIsNotSaidToBeHeld(t *testing.T) {
	s := newStage(t)
	s.holder.ask = func() {
		if have := s.host.Have(); len(have) != 0 {
			t.Errorf("it says that it has %v", have)
		}
		if _, _, known := s.host.Kept(s.id); known {
			t.Error("it would give it twice")
		}
	}
	s.enrol()
	if have := s.host.Have(); len(have) != 1 {
		t.Errorf("then it has %v", have)
	}
}
