package agent

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/agent/link"
	"github.com/sluice-cni/sluice/agent/pods"
	"github.com/sluice-cni/sluice/holder/client"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/observed"
	"github.com/sluice-cni/sluice/selection"
)

// Config is what an Agent needs.
type Config struct {
	// Holder is the path of the holder's socket.
	Holder string
	// Build is this program's version.
	Build string
	// Agents are by what pods' rules know this agent's sockets; none where ByMark.
	Agents wire.Agents
	// ByMark: the kernel cannot tell them by cgroup, Why not, and each pod's mark serves.
	ByMark bool
	Why    string
	// Cgroup is the path of the agent's own, "" where ByMark.
	Cgroup string
	// Common is what the pods' proxies share.
	Common *pods.Common
	// Entry is the plugin's entry for pods that were found running.
	Entry selection.Conf
	// Policy brings what selects pods; PolicyFile is where the plugin reads it.
	Policy     selection.Source
	PolicyFile string
	// RangesFile has what includeIPRanges auto stands for.
	RangesFile string
	// RangesGrace is how long after its start the agent takes it for the course of things
	// that the file is not there: somebody in this process is about to write it. 0: at
	// no time.
	RangesGrace time.Duration
	// Facts know pods by name: container runtimes, Kubernetes.
	Facts []Facts
	// Known is Kubernetes' word of a pod that one of Facts named, which may be newer than
	// theirs: a runtime has the labels and annotations that the pod began with. It is asked
	// in each sweep, for each pod. false: it knows nothing of that pod. nil: nobody asks.
	Known func(selection.Pod) (selection.Pod, bool)
	// News is told what the log says became of a pod, for who has something to do with
	// it. It is called on the core's goroutine and must not wait; nil: nobody is told.
	News func(core.News)
	// Beside are sentences about other programs that stand in the way, for Status; nil:
	// nobody looks.
	Beside func() []string
	// Cluster says how the API server is that the agent follows; nil: it follows none.
	Cluster func() Cluster
	// Resources says how many are in force, and how many errors there are in them.
	Resources func() (resources, errors int)
	// Issues are what there is to say about them; nil: nothing.
	Issues func() mesh.Issues
	// DrainLimit is how long connections go on that a pod, or this agent, has to give up.
	DrainLimit time.Duration
	// Instance is the pod that this process runs in, by its UID; "": none. Where there is
	// one the process is started again when it ends. So it does not end by itself: while
	// another agent serves it stands by, and the holder has the younger pod's serve.
	Instance string
	// InstanceNumber is that pod's, of NumberInstance; 0: it is not known, and the holder
	// goes by which it saw first.
	InstanceNumber int64
	// Took is called when this agent serves every pod, Retiring each time that it stops
	// to, and Resumed when it goes on all the same, since its successor is gone.
	Took, Retiring, Resumed func()
	// Collects: the agent decides how often this process's garbage is collected (GOGC).
	Collects bool
	Log      *slog.Logger
}

// Agent is the node's agent.
type Agent struct {
	cfg    Config
	log    *slog.Logger
	loop   *loop
	host   *pods.Host
	link   *link.Link
	words  *queue[word] // for the holder, in order
	sweep  *sweeper
	counts counts
	memory tidier
	// newsLog has the bound of all lines about pods.
	newsLog *slog.Logger

	policyMu sync.Mutex // of PolicyFile; before givenMu
	givenMu  sync.Mutex
	given    given

	// turn is whose it is to begin or to stop serving: the holder's word and the end of
	// this process may come at once.
	turn    sync.Mutex
	took    func()
	serving atomic.Pointer[time.Time] // since when
	retired atomic.Bool
	ending  atomic.Bool // told to end: nothing resumes
	leaving atomic.Bool // told to let every pod go, for good
	over    chan struct{}
	finish  func()

	actions sync.WaitGroup
	quick   places // for what the kernel does
	slow    places // for what waits for others
	life    context.Context
}

// Places for actions. Those of the kernel are short and take a processor each.
const (
	quickPlaces = 4
	slowPlaces  = 32
	slowLimit   = 10 * time.Second // for an answer of the holder's
)

// New makes an Agent; Run starts it.
func New(cfg Config) *Agent {
	a := &Agent{
		cfg: cfg, log: cfg.Log,
		words:  newQueue[word](),
		over:   make(chan struct{}),
		memory: tidier{collects: cfg.Collects},
		quick:  make(places, quickPlaces),
		slow:   make(places, slowPlaces),
	}
	a.cfg.Retiring, a.cfg.Resumed = orNothing(cfg.Retiring), orNothing(cfg.Resumed)
	a.took = sync.OnceFunc(orNothing(cfg.Took))
	a.finish = sync.OnceFunc(func() { close(a.over) })
	settings := core.Settings{ByMark: cfg.ByMark, DrainLimit: cfg.DrainLimit, Stays: cfg.Instance != ""}
	if len(cfg.Facts) > 0 {
		settings.FactsWait = factsWait
	}
	a.loop = newLoop(settings)
	a.loop.news, a.newsLog = a.noteNews, cfg.Log
	if cfg.Common != nil && cfg.Common.Logs != nil {
		a.newsLog = cfg.Common.Logs.Pod()
	}
	a.loop.perform, a.loop.alive = a.perform, func() { a.say((*client.Session).Alive) }
	a.link = link.New(cfg.Holder, (*handler)(a), cfg.Log)
	if cfg.Common != nil && cfg.Common.Proxy.Observed == nil {
		cfg.Common.Proxy.Observed = observed.New() // all pods' together
	}
	a.host = pods.NewHost(cfg.Common, holder{a.link})
	a.host.Fell = func(e core.Fell) { a.loop.tell(e) }
	a.sweep = newSweeper(a)
	return a
}

// Nudge has the node looked through now, not in up to ten seconds: somebody knows of a pod
// that may have begun, or has changed. Several that come together are one.
func (a *Agent) Nudge() { a.sweep.wake() }

func orNothing(f func()) func() {
	if f == nil {
		return func() {}
	}
	return f
}

// factsWait is how long a pod's labels are waited for before it is served without.
const factsWait = 10 * time.Second

// Follow puts a configuration in force in every pod.
func (a *Agent) Follow(s *mesh.Snapshot) {
	a.host.Snapshot(s)
	a.loop.tell(core.SnapshotReady{})
}

// Run serves until ctx ends or another agent takes over; then it accepts nothing more,
// and returns when the last connection has ended, or the drain limit is over. In a pod
// (Config.Instance) it returns after ctx ended only.
func (a *Agent) Run(ctx context.Context) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	a.life = life
	defer context.AfterFunc(ctx, a.retire)()
	var parts sync.WaitGroup
	for _, part := range []func(context.Context){a.loop.run, a.link.Run, a.speak, a.sweep.run, a.followRanges, a.followPolicy, a.memory.run, a.watchExposure} {
		parts.Go(func() { part(life) })
	}
	<-a.over
	end()
	parts.Wait()
	a.actions.Wait()
	a.host.Close()
	a.log.Info("ends: no connection is left, or the drain limit has passed")
	return nil
}

// retire is the end that ctx asks for.
func (a *Agent) retire() {
	a.ending.Store(true)
	if a.retired.Load() { // the holder heard that, and might have it serve again
		a.say(func(s *client.Session) error { return s.Retired(true) })
	}
	a.stopServing()
}

func (a *Agent) stopServing() {
	a.turn.Lock()
	defer a.turn.Unlock()
	a.retired.Store(true)
	a.cfg.Retiring()
	a.loop.tell(core.Retire{Ends: a.ending.Load()})
}

// perform does what the core wants, elsewhere.
func (a *Agent) perform(action core.Action) {
	switch action := action.(type) {
	case core.PodAction:
		ended := a.memory.begin(action)
		a.actions.Go(func() {
			done, drained := a.do(action)
			ended()
			a.counts.ended(done)
			a.noteFailure(done)
			a.loop.tell(done)
			if drained != nil {
				<-drained
				a.loop.tell(core.Drained{Pod: action.At().Pod, Stop: action.At().Seq})
			}
		})
	case core.Take:
		now := time.Now()
		a.serving.CompareAndSwap(nil, &now)
		a.took()
		a.actions.Go(a.keepPolicyAgain)
		a.say((*client.Session).Take)
		a.log.Info("serving every pod that the holder has")
	case core.Seen:
		a.say(func(s *client.Session) error { return s.Seen(action.Seq) })
	case core.Retired:
		a.say(func(s *client.Session) error { return s.Retired(a.ending.Load()) })
	case core.Ended:
		a.words.put(word{func(*client.Session) error { return nil }, a.finish})
	}
}

func (a *Agent) do(action core.PodAction) (core.Done, <-chan struct{}) {
	free, limit := a.quick, time.Duration(0)
	switch action.(type) {
	case core.OpenAndHold, core.Keep, core.Release, core.Stop:
		free, limit = a.slow, slowLimit
	}
	defer free.take(placeTime)()
	ctx := a.life
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	return a.host.Perform(ctx, action)
}

// word is something for the holder. What cannot be told since there is no session is
// not told later: the next one begins with a hello that has it all.
type word struct {
	say   func(*client.Session) error
	after func() // called once it was told, or not; nil: nothing is
}

// say has the holder told, after all that was said before.
func (a *Agent) say(what func(*client.Session) error) { a.words.put(word{say: what}) }

func (a *Agent) speak(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.words.ready:
			for _, w := range a.words.take() {
				if err := a.link.With(w.say); err != nil {
					a.log.Debug("the holder cannot be told", "error", err)
				}
				if w.after != nil {
					w.after()
				}
			}
		}
	}
}
