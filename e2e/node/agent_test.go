package node

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/node/load"
	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/internal/await"
)

// What pods ask for in these tests.
var (
	web      = load.Target{Kind: load.HTTP, Address: stage.Web + ":80", Name: stage.WebName}
	tls      = load.Target{Kind: load.TLS, Address: stage.Web + ":443", Name: stage.TLSName}
	database = load.Target{Kind: load.TCP, Address: stage.Database + ":5432", Name: "a line that comes back"}
	names    = load.Target{Kind: load.DNS, Address: stage.Resolver + ":53", Name: stage.WebName}
	hidden   = load.Target{Kind: load.Probe, Address: stage.Hidden + ":9999"}
	// forged is a name that nobody registers, at the web server: refused where the pod is
	// captured, answered where it is not.
	forged = load.Target{Kind: load.HTTP, Address: stage.Web + ":80", Name: "other.example"}
)

// aNode has a holder and an agent.
func aNode(t *testing.T, o stage.Options) *stage.Node {
	t.Helper()
	needsRoot(t)
	n := stage.New(t, o)
	n.StartHolder()
	n.StartAgent()
	return n
}

// added is a pod after its ADD.
func added(t *testing.T, n *stage.Node) *stage.Pod {
	t.Helper()
	p, err := n.Pod("")
	must(t, err)
	must(t, p.Add())
	t.Cleanup(func() { p.Delete() })
	return p
}

// governed requires that all that is registered is reached, and nothing else.
func governed(t *testing.T, p *stage.Pod) {
	t.Helper()
	for _, to := range []load.Target{web, tls, database, names} {
		if err := p.Do(to, patience); err != nil {
			t.Errorf("%s to %s: %v", to.Kind, to.Address, err)
		}
	}
	if err := p.Do(forged, patience); err == nil {
		t.Error("a name that nobody registers was served")
	}
	must(t, p.Do(hidden, time.Second))
	if leaked := p.Node().Internet.Leaked.Load(); leaked != 0 {
		t.Errorf("%d connections left the pod past its proxy", leaked)
	}
}

func isEnrolled(n *stage.Node, p *stage.Pod) bool { return state(n, p) == "enrolled" }

// state is a pod's, in the agent's words.
func state(n *stage.Node, p *stage.Pod) string {
	s, err := n.Status()
	if err != nil {
		return err.Error()
	}
	for _, pod := range s.Pods {
		if pod.Name.Name == p.Name {
			return strings.TrimSpace(pod.State + " " + pod.Reason)
		}
	}
	return "unknown"
}

func TestAPodIsGovernedFromItsFirstConnection(t *testing.T) {
	n := aNode(t, stage.Options{})
	before, err := n.Measure()
	must(t, err)
	for range 3 {
		p := added(t, n)
		governed(t, p)
		if m, err := n.Metrics(); err != nil || m[`sluice_pods{state="enrolled"}`] != 1 || m["sluice_agent_serving"] != 1 {
			t.Errorf("metrics: %v pods enrolled, serving %v, %v", m[`sluice_pods{state="enrolled"}`], m["sluice_agent_serving"], err)
		}
		must(t, p.Check())
		must(t, p.Delete())
	}
	n.GivenBack(before)
}

func TestConnectionsWaitForTheNextAgent(t *testing.T) {
	n := aNode(t, stage.Options{})
	p := added(t, n)
	governed(t, p)
	n.Agent().Kill()
	l, err := p.Load(load.Spec{PerSecond: 50, Targets: []load.Target{web, database}, Patience: patience})
	must(t, err)
	q, err := n.Pod("")
	must(t, err)
	must(t, q.Add()) // the holder answers without an agent
	t.Cleanup(func() { q.Delete() })
	n.StartAgent()
	governed(t, q)
	r, err := l.Stop()
	must(t, err)
	for _, f := range r.Failures {
		t.Errorf("%s: %s: %s", f.Kind, f.What, f.Error)
	}
	governed(t, p)
}

func TestAnUpgradeLosesNoConnection(t *testing.T) {
	n := aNode(t, stage.Options{})
	p := added(t, n)
	governed(t, p)
	l, err := p.Load(load.Spec{PerSecond: 100, Targets: []load.Target{web, tls, database, names}})
	must(t, err)
	for range 3 {
		old := n.Agent()
		n.StartAgent()
		select {
		case <-old.Ended:
		case <-time.After(patience):
			t.Fatalf("%s has not ended", old.Name)
		}
	}
	r, err := l.Stop()
	must(t, err)
	for _, f := range r.Failures {
		t.Errorf("%s: %s: %s", f.Kind, f.What, f.Error)
	}
	if len(r.Good) != 4 {
		t.Errorf("good: %v", r.Good)
	}
	governed(t, p)
}

func TestAnAgentThatIsToldToEndServesWhatItAccepted(t *testing.T) {
	n := aNode(t, stage.Options{})
	p := added(t, n)
	l, err := p.Load(load.Spec{PerSecond: 100, Targets: []load.Target{web, database}, Patience: patience})
	must(t, err)
	await.True(t, "connections are served", func() bool { return isEnrolled(n, p) })
	old := n.Agent()
	old.Terminate()
	<-old.Ended
	if code := old.State.ExitCode(); code != 0 {
		t.Errorf("it ended with %d:\n%s", code, old.LogEnd(2000))
	}
	n.StartAgent()
	r, err := l.Stop()
	must(t, err)
	for _, f := range r.Failures {
		t.Errorf("%s: %s: %s", f.Kind, f.What, f.Error)
	}
}

// A pod that ran before is captured, and let go again, under load that never notices.
func TestARunningPodIsCapturedAndLetGoUnderLoad(t *testing.T) {
	n := aNode(t, stage.Options{Runtime: true})
	n.Policy("exemptNamespaces: [default]\n")
	await.True(t, "the policy is in force", func() bool { return strings.Contains(n.Agent().Log(), "policy in force") })
	p, err := n.Pod("")
	must(t, err)
	t.Cleanup(func() { p.Delete() })
	p.Known(true)
	direct := func() bool { return p.Do(forged, patience) == nil }
	if !direct() {
		t.Fatal("a pod that is not selected is captured")
	}
	l, err := p.Load(load.Spec{PerSecond: 100, Targets: []load.Target{web, database, tls}})
	must(t, err)
	for i := range 3 {
		n.Policy(fmt.Sprintf("# %d\n", i))
		await.True(t, "it is captured", func() bool { return isEnrolled(n, p) })
		if direct() {
			t.Error("an enrolled pod is not captured")
		}
		n.Policy(fmt.Sprintf("exemptNamespaces: [default] # %d\n", i))
		await.True(t, "it is let go", func() bool { return strings.HasPrefix(state(n, p), "untouched") })
		if !direct() {
			t.Error("a pod that was let go is captured")
		}
	}
	r, err := l.Stop()
	must(t, err)
	for _, f := range r.Failures {
		t.Errorf("%s: %s: %s", f.Kind, f.What, f.Error)
	}
}

// Under bypass the pod goes direct within the gate's time when nobody serves it, and is
// captured again when somebody does.
func TestABypassPodGoesDirectWhileNobodyServesIt(t *testing.T) {
	n := aNode(t, stage.Options{Entry: map[string]any{"failurePolicy": "bypass"}})
	p := added(t, n)
	captured := func() bool { return p.Do(forged, 5*time.Second) != nil }
	await.True(t, "it is captured", func() bool { return isEnrolled(n, p) && captured() })
	n.Agent().Kill()
	died := time.Now()
	await.True(t, "it goes direct", func() bool { return !captured() })
	t.Logf("direct %v after the agent was killed", time.Since(died).Round(time.Millisecond))
	n.StartAgent()
	await.True(t, "it is captured again", captured)
	if !*full { // the rest takes another of the gate's times
		return
	}
	n.Agent().Kill()
	n.Holder.Kill()
	await.True(t, "it goes direct with neither agent nor holder", func() bool { return !captured() })
	// Without an agent a pod goes direct from its first packet.
	n.StartHolder()
	q := added(t, n)
	if err := q.Do(forged, 5*time.Second); err != nil {
		t.Errorf("a new pod without an agent: %v", err)
	}
	n.StartAgent()
	for _, pod := range []*stage.Pod{p, q} {
		await.True(t, "it is captured by the next agent", func() bool { return pod.Do(forged, 5*time.Second) != nil })
	}
}

func TestBothAreKilledAndNothingGoesDirect(t *testing.T) {
	n := aNode(t, stage.Options{})
	p := added(t, n)
	governed(t, p)
	n.Agent().Kill()
	n.Holder.Kill()
	if err := p.Do(web, 5*time.Second); err == nil {
		t.Error("it was served by nobody")
	}
	n.StartHolder()
	n.StartAgent()
	await.True(t, "it is served again", func() bool { return p.Do(web, patience) == nil })
	governed(t, p)
}

// `sluice uninstall` has the agent let every pod go: new connections go direct, those
// that were carried go on, and nothing of sluice is left in the pods.
func TestLeavingLetsEveryPodGo(t *testing.T) {
	n := aNode(t, stage.Options{})
	pods := []*stage.Pod{added(t, n), added(t, n)}
	await.True(t, "they are captured", func() bool { return n.Enrolled() == len(pods) })
	l, err := pods[0].Load(load.Spec{PerSecond: 100, Targets: []load.Target{web, database, tls}})
	must(t, err)
	must(t, n.Leave())
	r, err := l.Stop()
	must(t, err)
	for _, f := range r.Failures {
		t.Errorf("%s: %s: %s", f.Kind, f.What, f.Error)
	}
	for _, p := range pods {
		if err := p.Do(forged, patience); err != nil {
			t.Errorf("%s is captured still: %v", p.Name, err)
		}
		must(t, p.Delete())
	}
	if s, err := n.HolderStatus(); err != nil || len(s.Pods) != 0 {
		t.Errorf("the holder has %v, %v", s.Pods, err)
	}
}

// An upgrade to an agent that dies at once leaves the old one to serve, to answer, and
// to be asked for its metrics.
func TestTheOldAgentGoesOnWhenTheNewOneDies(t *testing.T) {
	n := aNode(t, stage.Options{DrainLimit: patience, Agent: []string{"--metrics-listen", "127.0.0.1:15090"}})
	p := added(t, n)
	await.True(t, "it is captured", func() bool { return isEnrolled(n, p) })
	startStream(t, p, 10*time.Minute) // so that the old agent has something to drain
	await.True(t, "a connection lasts", func() bool { return n.Internet.Streams.Load() == 1 })
	old := n.Agent()
	n.StartAgent()
	n.Agent().Kill()
	await.True(t, "the old one answers", func() bool {
		s, err := n.Status()
		return err == nil && s.PID == old.PID && s.Ready
	})
	governed(t, p)
	await.True(t, "its metrics are at the address", func() bool {
		c, err := net.Dial("tcp", "127.0.0.1:15090")
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// A policy that turns dnsCapture on gives running pods sockets for DNS beside those they
// have, and whoever comes after has them all.
func TestRunningPodsGetSocketsForDNS(t *testing.T) {
	n := aNode(t, stage.Options{Entry: map[string]any{"dnsCapture": false}})
	p := added(t, n)
	await.True(t, "it is captured", func() bool { return isEnrolled(n, p) })
	n.Policy("defaults: {dnsCapture: true}\n")
	answered := func() bool {
		s, err := n.HolderStatus()
		return err == nil && len(s.Pods) == 1 && len(s.Pods[0].Sockets) == 6 && isEnrolled(n, p)
	}
	await.True(t, "it has six sockets", answered)
	governed(t, p)
	n.StartAgent()
	governed(t, p)
	n.StartHolder()
	await.True(t, "the next holder has them", answered)
	n.Agent().Kill()
	n.StartAgent()
	await.True(t, "an agent that begins has them", answered)
	governed(t, p)
	q := added(t, n)
	governed(t, q)
}
