package nft_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

// settings of the walk. The first two differ in sets only.
var settings = [][]string{
	{"includeIPRanges=10.50.0.1", "dnsCapture=true"},
	{"includeIPRanges=10.50.0.1,fd50::1", "dnsCapture=true"},
	{"includeIPRanges=10.50.0.1", "nonTCP=allow"},
	{"includeIPRanges=10.50.0.0/24,fd50::1", "failurePolicy=bypass"},
}

// state is what a namespace's rules should be.
type state struct {
	there, disabled, running, node bool
	settings                       int
	exempt                         bool // the agent is
}

func (s state) captures(host string) bool {
	return s.there && !s.disabled && (host == "10.50.0.1" || s.settings%2 == 1)
}

// walk leads a pod's rules from state to state.
type walk struct {
	rulestest.Pair
	state
	agent *agentProcess
	own   rules.Agents
	port  string
	// established are the connections that no step may harm, and who answers on them.
	established map[net.Conn]string
}

func (w *walk) plan(t *testing.T, s state, more ...rules.Option) rules.Plan {
	t.Helper()
	options := more
	if s.running {
		options = append(options, rules.Running())
	}
	if s.node {
		options = append(options, rules.NodeMode())
	}
	if s.settings == 3 {
		options = append(options, rules.Gated(time.Hour))
	}
	p, err := rules.NewPlan(rulestest.Config(t, settings[s.settings]...), options...)
	must(t, err)
	return p
}

// step makes one change, and says which.
func (w *walk) step(t *testing.T, r *rand.Rand) string {
	t.Helper()
	fd := w.Pod.FD()
	switch kind := r.IntN(12); {
	case kind < 5:
		next := state{there: true, running: w.there && w.running, node: r.IntN(4) > 0, settings: r.IntN(len(settings))}
		if !w.there { // connections that there are have no entry in conntrack yet
			next.running = len(w.established) > 0
		}
		var more []rules.Option
		if next.exempt = next.node && w.node && w.exempt; next.node && r.IntN(2) == 0 {
			next.exempt = r.IntN(3) > 0
			more = append(more, rules.Exempting(w.agents(next.exempt)))
		}
		must(t, nft.Apply(fd, w.plan(t, next, more...)))
		w.state = next
		return fmt.Sprintf("apply %+v", next)
	case kind == 5 && w.there && w.node:
		w.exempt = r.IntN(3) > 0
		must(t, nft.Exempt(fd, w.agents(w.exempt)))
		return fmt.Sprintf("exempt %t", w.exempt)
	case kind < 8 && w.there && !w.disabled && w.settings < 2:
		next := w.state
		next.settings = 1 - w.settings
		must(t, nft.ReplaceSets(fd, w.plan(t, w.state).Hash, w.plan(t, next, rules.FromAuto())))
		w.state = next
		return fmt.Sprintf("replace sets by %d", next.settings)
	case kind < 10:
		must(t, nft.Disable(fd))
		w.disabled = w.there
		return "disable"
	case kind == 10:
		must(t, nft.Refresh(fd))
		return "refresh"
	}
	must(t, nft.Remove(fd))
	w.state = state{}
	for c, who := range w.established {
		if who == "proxy" { // forgotten with the last rule that redirects
			c.Close()
			delete(w.established, c)
		}
	}
	return "remove"
}

func (w *walk) agents(exempt bool) rules.Agents {
	if exempt {
		return w.own
	}
	return rules.Agents{}
}

// judge compares the namespace with the state: the record, the rules, new connections
// of the pod and of the agent, and those that there were.
func (w *walk) judge(t *testing.T) {
	t.Helper()
	for c, want := range w.established {
		if who := rulestest.Ask(c); who != want {
			t.Errorf("an established connection to %s: %s, want %s", c.RemoteAddr(), who, want)
		}
	}
	got, found, err := nft.Read(w.Pod.FD())
	if err != nil || found != w.there || got.Disabled != w.disabled || got.Running != w.running || got.Node != w.node {
		t.Errorf("the record: %+v, %t, %v", got, found, err)
	}
	if w.there {
		var more []rules.Option
		if w.node {
			more = append(more, rules.Exempting(w.agents(w.exempt)))
		}
		err := nft.Check(w.Pod.FD(), w.plan(t, w.state, more...))
		if w.disabled != (err != nil && strings.Contains(err.Error(), "disabled")) || !w.disabled && err != nil {
			t.Errorf("check: %v", err)
		}
	}
	for _, host := range []string{"10.50.0.1", "fd50::1"} {
		pod, agent := "there", "there"
		if w.captures(host) {
			pod = "proxy"
		}
		if w.captures(host) && !w.exempt {
			agent = "proxy"
		}
		c := dial(t, w.Pod, host, w.port)
		if who := rulestest.Ask(c); who != pod {
			t.Errorf("a new connection to %s: %s, want %s", host, who, pod)
		}
		if len(w.established) < 12 {
			w.established[c] = pod
		} else {
			c.Close()
		}
		if who := w.agent.ask(t, "ask "+net.JoinHostPort(host, w.port)); who != agent {
			t.Errorf("the agent's connection to %s: %s, want %s", host, who, agent)
		}
	}
}

// Whatever the rules are, every change leads to what it says and harms no connection:
// neither one that goes direct, nor one that is redirected, nor one that is older than
// the rules.
func TestEveryStateLeadsToEveryOtherAndConnectionsLiveOn(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	needsCgroups(t)
	r := rand.New(rand.NewPCG(rulestest.Seed(t), 0))
	for range 3 {
		p := rulestest.NewPair(t)
		w := &walk{Pair: p, agent: startAgent(t, p.Pod, newCgroup(t, 0)), established: map[net.Conn]string{}}
		w.own = w.agent.own(t)
		w.port = rulestest.Echo(t, p.Server, ":0", "there")
		rulestest.Echo(t, p.Pod, ":15001", "proxy")
		w.judge(t)
		var steps []string
		for range 40 {
			steps = append(steps, w.step(t, r))
			if w.judge(t); t.Failed() {
				t.Fatalf("after:\n%s", strings.Join(steps, "\n"))
			}
		}
	}
}

// A pod that is found running is enrolled with its agent's exemption in one step: the
// connections it has, and those that the agent has in its namespace, go on.
func TestAFoundPodKeepsItsConnections(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	p := rulestest.NewPair(t)
	port := rulestest.Echo(t, p.Server, ":0", "there")
	rulestest.Echo(t, p.Pod, ":15001", "proxy")
	agent := startAgent(t, p.Pod, newCgroup(t, 0))
	for _, host := range []string{"10.50.0.1", "fd50::1"} {
		old := dial(t, p.Pod, host, port)
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		inbound, err := p.Pod.Listen("tcp", net.JoinHostPort(map[string]string{"10.50.0.1": "10.50.0.2", "fd50::1": "fd50::2"}[host], "0"))
		must(t, err)
		defer inbound.Close()
		client, err := p.Server.Dial(ctx, "tcp", inbound.Addr().String())
		must(t, err)
		defer client.Close()
		served, err := inbound.Accept()
		must(t, err)
		defer served.Close()

		apply(t, p.Pod, nodePlan(t, []rules.Option{rules.Running(), rules.Exempting(agent.own(t))}, "dnsCapture=true"))
		if who := rulestest.Ask(old); who != "there" {
			t.Errorf("the old connection to %s: %s", host, who)
		}
		served.SetDeadline(time.Now().Add(3 * time.Second))
		if _, err := served.Write([]byte("there")); err != nil {
			t.Errorf("the old connection from %s: %v", host, err)
		}
		if who := rulestest.Ask(client); who != "there" {
			t.Errorf("the old connection from %s: %s", host, who)
		}
		if who := rulestest.Ask(dial(t, p.Pod, host, port)); who != "proxy" {
			t.Errorf("a new connection to %s: %s", host, who)
		}
		if who := agent.ask(t, "ask "+net.JoinHostPort(host, port)); who != "there" {
			t.Errorf("the agent's connection to %s: %s", host, who)
		}
		must(t, nft.Remove(p.Pod.FD()))
	}
}
