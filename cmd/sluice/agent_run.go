package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/agent"
	"github.com/sluice-cni/sluice/agent/cgroup"
	"github.com/sluice-cni/sluice/agent/cri"
	"github.com/sluice-cni/sluice/agent/handover"
	"github.com/sluice-cni/sluice/agent/podlog"
	"github.com/sluice-cni/sluice/agent/pods"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/remedy"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/dns"
	"github.com/sluice-cni/sluice/proxy/dnsproxy"
	"github.com/sluice-cni/sluice/proxy/loop"
	"github.com/sluice-cni/sluice/proxy/metrics"
	"github.com/sluice-cni/sluice/proxy/relay"
	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/selection/policydir"
	"github.com/sluice-cni/sluice/vip/ledger"
)

// podDescriptors is what a pod with dnsCapture takes beside its connections: its
// namespace, each of its six sockets twice, to be served and to be kept, and two for
// questions to resolvers (proxy.Share).
const podDescriptors = 15

// podConnections is how many connections one pod may have, unless told otherwise.
const podConnections = 2000

func runAgent(c *cobra.Command, o agentOptions) error {
	log := slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
	o.kubernetes.node = cmp.Or(o.kubernetes.node, os.Getenv("NODE_NAME"))
	o.metrics = ipv6Bracketed(o.metrics)
	common := &pods.Common{Logs: podlog.New(log.Handler()), DrainLimit: o.drainLimit, Metrics: metrics.New(buildVersion())}
	policy, policyErr := outboundPolicy(c)
	format, formatErr := accessLogFormat(o.format)
	var namesErr error
	common.Names, namesErr = dnsConfig(c)
	common.Names.ResolvConf = o.names.resolvConf
	entry, entryErr := o.entry()
	exchange := common.Metrics.CountDNS(dns.Through(nil))
	bindErr := errors.Join(o.names.apply(&common.Proxy, exchange), o.names.given(c))
	pressureErr := errors.Join(o.pressure.apply(&common.Proxy)...)
	if err := errors.Join(o.check(), o.kubernetes.check(flagValue(c, "config")), policyErr, formatErr, namesErr, entryErr, checkMetricsAddress(o.metrics), bindErr, pressureErr); err != nil {
		return usage(err, "see 'sluice agent --help'")
	}
	runtimeSocket, err := findCRI(o.cri)
	if err != nil {
		return err
	}
	useNodesPrograms(log)
	limitPods(common)
	common.Proxy.Register = commandLine(c, "create -f -")
	var k *inCluster
	if o.kubernetes.from != "" {
		if k, err = o.cluster(log); err != nil {
			return err
		}
		common.Register = remedy.Apply
	}
	common.Proxy.SharedResolver = true // serveNode runs it
	// Before any socket: each belongs to the cgroup that it was made in, for good.
	known, err := o.exemption(log)
	if err != nil {
		return err
	}
	if common.Proxy.Credentials, err = k.credentials(c, log); err != nil {
		return err
	}
	out, closeLog, err := openOutput("access-log", o.accessLog, c.OutOrStdout())
	if err != nil {
		return err
	}
	defer closeLog()
	defer reopenOnSignal(out, log)()
	if out != nil {
		common.Proxy.AccessLogs = proxy.NewAccessLog(out, format, log)
	}
	if err := handover.OwnDir(o.ownState()); err != nil {
		return hinted(fmt.Errorf("--state-dir %q: %w", o.stateDir, reason(err)), "name a directory that this agent may write to")
	}
	var store resources
	opened, open := context.WithCancel(c.Context())
	defer open()
	// The agent before this one keeps the book until it retires.
	reassign := func() {
		if <-opened.Done(); store != nil {
			store.Reassign()
		}
	}
	addresses, err := ledger.OpenWaiting(c.Context(), o.ownState(), log, reassign)
	if err != nil {
		return hinted(err, "--state-dir names a directory that this agent may write to")
	}
	defer addresses.Close()
	store, err = o.openResources(c, k, virtual(addresses, mesh.Options{Policy: policy}), log)
	open()
	if err != nil {
		return err
	}
	closeShared, err := shareAmongPods(common)
	if err != nil {
		return err
	}
	defer closeShared()
	socket, err := handover.Listen(o.adminSocket(), log)
	if err != nil {
		return hinted(err, "--run-dir names a directory that this agent may write to")
	}
	defer socket.Remove()
	scrape := handover.At(o.metrics, log)
	cfg := agent.Config{
		Holder: o.holderSocket(), Build: buildVersion(),
		Agents: known.agents, ByMark: known.byMark, Why: known.why, Cgroup: known.cgroup,
		Common: common, Entry: entry, Policy: k.policy(policydir.New(o.policyDir, log), log), PolicyFile: o.policyFile(), RangesFile: o.ranges,
		Resources:  func() (int, int) { return held(store), store.Errors() },
		DrainLimit: o.drainLimit, Took: socket.Take,
		Retiring: func() { addresses.Close(); scrape.End(); socket.Give() },
		Resumed: func() {
			if err := addresses.Retake(c.Context(), reassign); err != nil {
				log.Warn("virtual addresses are not kept; a restart may give names others", "error", err)
			}
			socket.Retake()
			scrape.Resume()
		},
		Instance: o.instance(), InstanceNumber: o.instanceNumber(log),
		Collects: os.Getenv("GOGC") == "",
		Log:      log,
	}
	if k != nil { // in a directory 'sluice validate' shows them
		cfg.Issues = store.Issues
		k.join(&cfg)
	}
	if runtimeSocket != "" {
		runtime := cri.New(runtimeSocket)
		defer runtime.Close()
		cfg.Facts = append(cfg.Facts, agent.Runtime{Client: runtime})
		log.Info("asking the container runtime about pods", "socket", runtimeSocket)
	} else if k != nil {
		log.Warn("no container runtime is asked (--cri): labels of pods do not count, nor annotations that changed since they began")
	}
	log.Info("certificate authorities where a resource names none", "of",
		cmp.Or(os.Getenv("SSL_CERT_FILE"), os.Getenv("SSL_CERT_DIR"), trusted(bundles, certificateFolders)))
	a := agent.New(cfg)
	if k != nil {
		k.agent = a
	}
	a.Show(common.Metrics)
	countStore(common.Metrics, store)
	return untilSecondSignal(c.Context(), log, func(ctx context.Context) error {
		return serveNode(ctx, a, store, k, common, socket, scrape, log)
	})
}

// serveNode runs the agent and all it stands on, which outlives its draining.
func serveNode(ctx context.Context, a *agent.Agent, store resources, k *inCluster, common *pods.Common, socket *handover.Socket, scrape *handover.Address, log *slog.Logger) error {
	said := newInForce(log)
	store.SubscribeWithErrors(func(s *mesh.Snapshot, errors int) {
		a.Follow(s)
		said.say(s, errors)
	})
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	var beside sync.WaitGroup
	run := func(name string, task func(context.Context) error) {
		beside.Go(func() {
			if err := task(life); life.Err() == nil {
				sayFailed(log, name, err)
			}
		})
	}
	run("following the resources", store.Run)
	run("saying what is in force", said.run)
	for name, task := range k.tasks() {
		run(name, task)
	}
	run("the resolver", func(ctx context.Context) error { common.Proxy.Resolver.Run(ctx); return nil })
	if common.Proxy.AccessLogs != nil {
		run("the access log", func(ctx context.Context) error { common.Proxy.AccessLogs.Run(ctx); return nil })
	}
	endpoint := a.Health(metrics.Endpoint{Metrics: common.Metrics, Ready: a.Ready, Log: log}.Handler())
	run("the admin socket", func(ctx context.Context) error { return socket.Serve(ctx, a.Handler(endpoint)) })
	run("keeping the admin socket", socket.Keep)
	run("the metrics endpoint", func(ctx context.Context) error { scrape.Serve(ctx, endpoint); return nil })
	err := a.Run(ctx)
	end()
	beside.Wait()
	return err
}

// limitPods sets what one pod may hold of what all have; proxy.Limits has the rest, for
// who has a Share.
func limitPods(common *pods.Common) {
	l := &common.Proxy.Limits
	if l.Connections == 0 {
		l.Connections = podConnections
	}
	common.Names.Limits = dnsproxy.LimitsOfOneOfMany()
	common.Shares = proxy.NewShares(proxy.Totals{Fixed: podDescriptors})
}

// shareAmongPods makes what all pods' proxies use together.
func shareAmongPods(common *pods.Common) (stop func(), err error) {
	loops := new(loop.Group)
	if _, err := loops.Open(); err != nil { // once for all: else they would begin and end with the pods
		return nil, err
	}
	carry := relay.New(relay.Config{})
	common.Proxy.Loops, common.Proxy.Relay = loops, carry
	return func() { carry.Close(); loops.Close() }, nil
}

// exemption is by what the pods' rules know this agent.
type exemption struct {
	agents wire.Agents
	byMark bool
	why    string
	cgroup string
}

func (o agentOptions) exemption(log *slog.Logger) (exemption, error) {
	own, err := cgroup.Join(o.cgroup)
	if err != nil && o.cgroup != "" {
		return exemption{}, fmt.Errorf("--cgroup %q: %w", o.cgroup, err)
	}
	if err == nil {
		var agents, measured = wire.Agents{}, error(nil)
		found, measured := nft.OwnAgents()
		if agents = (wire.Agents{Levels: found.Levels, IDs: found.IDs}); measured == nil {
			log.Info("the pods' rules know this agent by its cgroup", "cgroup", own, "ids", agents.IDs, "levels", agents.Levels)
			return exemption{agents: agents, cgroup: own}, nil
		}
		err = measured
	}
	if errors.Is(err, nft.ErrNotPermitted) {
		return exemption{}, hinted(err, "the agent needs root on the host")
	}
	log.Warn("the pods' rules know this agent by a mark: it does not protect against containers with NET_RAW or NET_ADMIN, which "+remedy.Here().Sluice("status")+" names", "why", err)
	return exemption{byMark: true, why: err.Error()}, nil
}
