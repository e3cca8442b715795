package node

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/node/load"
	"github.com/sluice-cni/sluice/e2e/node/stage"
)

// Agent or holder die at any moment while pods come and go. What was connecting then
// waits and succeeds; only what a killed agent had in its hands is lost; nothing ever
// goes past the proxy.
func TestKilledAtRandomDuringChurn(t *testing.T) {
	needsRoot(t)
	kills, standing := 4, 4
	if *full {
		kills, standing = 50, 12
	}
	random := newRandom(t)
	n := stage.New(t, stage.Options{})
	n.StartHolder()
	n.StartAgent()
	before := baseline(t, n)
	c := startChurn(t, n, standing, rand.New(rand.NewPCG(random.Uint64(), 0)))
	k := &killer{t: t, n: n, random: random}
	for range kills {
		k.kill()
	}
	k.settle()
	pods := c.stop()
	figure(t, "%d kills (%s), %d pods came and %d went; longest without agent %v, without holder %v", 0,
		kills, k.sequence, c.came, c.went, k.longest["agent"].Round(time.Millisecond), k.longest["holder"].Round(time.Millisecond))

	lost, withAgent, withHolder := 0, 0, 0
	for _, f := range c.failures {
		switch {
		case k.hadByAgent(f):
			withAgent++
		case k.hadByHolderAlone(f):
			withHolder++
		default:
			if lost++; lost <= 10 {
				t.Errorf("a connection was lost that nobody dead had: %+v", f)
			}
		}
	}
	if lost > 10 {
		t.Errorf("… and %d more", lost-10)
	}
	figure(t, "%v connections good; %d lost with an agent that was killed, %d refused while nobody had a pod's sockets that only a dead holder had had; the slowest %v", 0,
		c.result.Good, withAgent, withHolder, c.result.Slowest.Round(time.Millisecond))
	each(t, pods, 4, (*stage.Pod).Check)
	allGoverned(t, pods)
	each(t, pods, 4, (*stage.Pod).Delete)
	n.GivenBack(before)
}

// newRandom is drawn from -seed, or from the clock, and says which.
func newRandom(t *testing.T) *rand.Rand {
	s := *seed
	if s == 0 {
		s = time.Now().UnixNano()
	}
	t.Logf("-seed %d", s)
	return rand.New(rand.NewPCG(uint64(s), 0))
}

// killer ends the node's processes and starts them again.
type killer struct {
	t        *testing.T
	n        *stage.Node
	random   *rand.Rand
	sequence string // what was killed, a letter each: a, h; small while it was starting
	deaths   []span // of agents
	holders  []span // without a whole holder: from a death to all being as before
	longest  map[string]time.Duration
}

type span struct{ from, to time.Time }

// kill ends one of the two at a random moment. The other is whole at that time: both at
// once is another test's. It may be killed again while it starts.
func (k *killer) kill() {
	which := []string{"agent", "holder"}[k.random.IntN(2)]
	k.settle()
	k.pause(400 * time.Millisecond)
	k.end(which, which[:1])
	down := time.Now()
	for again := k.random.IntN(3) == 0; again; again = k.random.IntN(3) == 0 {
		k.launch(which)
		k.pause(300 * time.Millisecond)
		k.end(which, string(which[0]-'a'+'A'))
	}
	k.pause(time.Second)
	k.launch(which)
	k.settle()
	if which == "holder" {
		k.holders = append(k.holders, span{down, time.Now()})
	}
	if k.longest == nil {
		k.longest = map[string]time.Duration{}
	}
	k.longest[which] = max(k.longest[which], time.Since(down))
}

func (k *killer) process(which string) *stage.Process {
	if which == "holder" {
		return k.n.Holder
	}
	return k.n.Agent()
}

func (k *killer) end(which, letter string) {
	k.sequence += letter
	at := time.Now()
	k.process(which).Kill()
	if which == "agent" {
		k.deaths = append(k.deaths, span{at, time.Now()})
	}
}

func (k *killer) launch(which string) {
	if which == "holder" {
		k.n.LaunchHolder()
	} else {
		k.n.LaunchAgent()
	}
}

// settle waits until both are whole.
func (k *killer) settle() {
	k.n.AwaitHolder(k.n.Holder)
	k.n.AwaitAgent(k.n.Agent())
}

// pause is a random time up to most: the test's faults come at random moments.
func (k *killer) pause(most time.Duration) { time.Sleep(time.Duration(k.random.Int64N(int64(most)))) }

// hadByAgent reports whether a connection was under way when an agent was killed: then
// it may have been accepted, and its end is the agent's.
func (k *killer) hadByAgent(f failure) bool {
	for _, d := range k.deaths {
		if !f.Began.After(d.to) && !f.Ended.Before(d.from) {
			return true
		}
	}
	return false
}

// handOver is how long a new pod may be with the holder alone, while an agent is there.
const handOver = time.Second

// hadByHolderAlone reports whether a pod was so new when a holder was killed that no
// agent had it yet, as when the holder is killed once more before an agent has come
// back: its connections are refused then until the next holder listens.
func (k *killer) hadByHolderAlone(f failure) bool {
	for _, d := range k.holders {
		if f.What != "late" && f.added.After(d.from.Add(-handOver)) && f.added.Before(d.to) && !f.Ended.Before(d.from) && !f.Began.After(d.to) {
			return true
		}
	}
	return false
}

// failure is one of a pod whose ADD returned at a time.
type failure struct {
	load.Failure
	pod   string
	added time.Time
}

// churn adds and deletes pods, each of which connects as long as it is there.
type churn struct {
	t          *testing.T
	n          *stage.Node
	random     *rand.Rand
	pods       []*stage.Pod
	loads      []*stage.Load
	added      map[*stage.Load]time.Time
	result     load.Result
	failures   []failure
	came, went int
	halt, done chan struct{}
}

func startChurn(t *testing.T, n *stage.Node, standing int, random *rand.Rand) *churn {
	t.Helper()
	c := &churn{t: t, n: n, random: random, added: map[*stage.Load]time.Time{}, result: load.Result{Good: map[load.Kind]int{}}, halt: make(chan struct{}), done: make(chan struct{})}
	for range standing {
		must(t, c.add())
	}
	go func() {
		defer close(c.done)
		for {
			select {
			case <-c.halt:
				return
			case <-time.After(time.Duration(c.random.Int64N(int64(300 * time.Millisecond)))):
			}
			err := c.remove(c.random.IntN(len(c.pods)))
			if err == nil {
				err = c.add()
			}
			if err != nil {
				t.Errorf("pods come and go: %v", err)
				return
			}
		}
	}()
	return c
}

func (c *churn) add() error {
	p, err := c.n.Pod("")
	if err != nil {
		return err
	}
	c.came++
	c.t.Cleanup(func() { p.NS.Close() })
	if err := p.Add(); err != nil {
		return fmt.Errorf("pod %s: %w", p.Name, err)
	}
	added := time.Now()
	l, err := p.Load(load.Spec{PerSecond: 10, Targets: []load.Target{web, hidden, database, strange, tls}, Patience: patience})
	if err != nil {
		return err
	}
	c.pods, c.loads = append(c.pods, p), append(c.loads, l)
	c.added[l] = added
	return nil
}

func (c *churn) remove(i int) error {
	p, l := c.pods[i], c.loads[i]
	c.pods, c.loads = append(c.pods[:i], c.pods[i+1:]...), append(c.loads[:i], c.loads[i+1:]...)
	if err := c.collect(l); err != nil {
		return err
	}
	c.went++
	return p.Delete()
}

func (c *churn) collect(l *stage.Load) error {
	r, err := l.Stop()
	if err != nil {
		return err
	}
	for k, v := range r.Good {
		c.result.Good[k] += v
	}
	for _, f := range r.Failures {
		c.failures = append(c.failures, failure{f, l.Pod.Name, c.added[l]})
	}
	c.result.Slowest = max(c.result.Slowest, r.Slowest)
	return nil
}

// stop ends the coming and going and returns the pods that stand.
func (c *churn) stop() []*stage.Pod {
	c.t.Helper()
	close(c.halt)
	<-c.done
	for _, l := range c.loads {
		must(c.t, c.collect(l))
	}
	return c.pods
}
