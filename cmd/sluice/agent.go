package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/agent"
	"github.com/sluice-cni/sluice/agent/handover"
	"github.com/sluice-cni/sluice/cidr/discover/rangesfile"
	"github.com/sluice-cni/sluice/holder"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/selection"
	"github.com/sluice-cni/sluice/selection/policydir"
)

// defaultStateDir is where what outlives a reboot is kept.
const defaultStateDir = "/var/lib/sluice"

type agentOptions struct {
	runDir, stateDir  string
	policyDir         string
	cniConf           string
	ranges            string
	cri               string
	cgroup            string
	drainLimit        time.Duration
	accessLog, format string
	metrics           string
	podUID            string
	kubernetes        kubernetesOptions
	names             nameOptions
	pressure          pressureOptions
}

func newAgentCommand() *cobra.Command {
	var o agentOptions
	c := &cobra.Command{
		Use:   "agent",
		Short: "Serve the connections of every pod on this node",
		Long: `agent is the proxy of every pod on the node: one process, with listeners inside each
pod's network namespace and connections to servers made there too, so that servers and
network policies see the pod. Each pod has its own view of the resources, its own limits
and its own labels in the metrics.

The CNI plugin hands each new pod to 'sluice holder', which keeps the pod's sockets; the
agent takes them from there. While no agent runs, connections wait at the holder for up
to 30 s. So an agent may be killed or replaced at any time: start the new one beside the
old; it takes over, and the old one ends when its connections have, after --drain-limit
at the latest. SIGTERM ends it the same way; a second signal ends it at once. In a pod
(--pod-uid) the old one does not end, since it would be started again: it stands by.

The resources are those of --config, or with --kubernetes those of a cluster, whose
Services are registered too. What was last known of it is kept, so that the agent starts
while the API server is away.

Which pods are captured is decided by the plugin's configuration, the files of
--policy-dir and the pods' annotations, with --kubernetes also by the ConfigMap
sluice-policy and by Namespaces' and pods' labels (docs/selection.md). Pods that were
running before are captured too, and pods that are selected no more let go, both without
a restart of the pod and without breaking a connection.

It needs root on the host: CAP_SYS_ADMIN and CAP_NET_ADMIN, the host's PID namespace to
find pods without a container runtime's help, and a cgroup (version 2) of its own, by
which the pods' rules know its connections. It makes one itself where it may.`,
		Example: "  sluice agent --config /etc/sluice --access-log /var/log/sluice/access.log\n  sluice agent --kubernetes --node-name worker-1",
		Args:    noArguments,
		RunE:    func(c *cobra.Command, _ []string) error { return runAgent(c, o) },
	}
	addPolicyFlag(c)
	credentialsFlag(c)
	dnsPolicyFlags(c)
	f := c.Flags()
	f.StringVar(&o.runDir, "run-dir", holder.DefaultRunDir, "`DIR` of the holder's socket holder.sock and of this agent's own, agent.sock")
	f.StringVar(&o.stateDir, "state-dir", defaultStateDir, "`DIR` that outlives a reboot: the compiled policy policy.json, which the plugin reads, and in agent/ which name has which virtual address and the last good content of the resources")
	f.StringVar(&o.policyDir, "policy-dir", policydir.DefaultPath, "`DIR` of YAML files that say which pods are captured; one that is not there says nothing")
	f.StringVar(&o.cniConf, "cni-conf", "", "network configuration `FILE` whose entry sluice-cni holds for pods that were running before the plugin was there (default: every namespace's pods, includeIPRanges auto)")
	f.StringVar(&o.ranges, "ranges-file", rangesfile.DefaultPath, "`FILE` of 'sluice cidr --write' with the cluster's ranges, for includeIPRanges auto; a change reaches running pods within seconds")
	f.StringVar(&o.cri, "cri", "", "`SOCKET` of the container runtime, which knows running pods' names, labels and annotations (default: containerd's or CRI-O's where there is one); off asks nobody")
	f.StringVar(&o.cgroup, "cgroup", "", "`PATH` of a cgroup (version 2) for this agent alone, made where it is missing (default: one beneath its own)")
	f.DurationVar(&o.drainLimit, "drain-limit", 10*time.Minute, "how long (`TIME`) connections may go on after another agent has taken over, and in a pod that is captured no more; after SIGTERM without another agent 10 s at most")
	f.StringVar(&o.accessLog, "access-log", "-", "where a line per request goes: a `FILE`, - for standard output, or off")
	f.StringVar(&o.format, "access-log-format", "json", accessLogFormatFlag)
	f.StringVar(&o.metrics, "metrics-listen", defaultMetrics, "`ADDRESS` that /metrics, /healthz and /readyz are served on, or off; :15090 is every address of the node, so everybody's who reaches it")
	f.StringVar(&o.podUID, "pod-uid", "", "`UID` of the pod that this agent runs in, where something starts it again when it ends, as a kubelet does (default: $POD_UID). With it the agent ends on SIGTERM only: it stands by while another serves, and the younger pod's serves")
	o.kubernetes.flags(f)
	o.names.flags(c, false)
	o.pressure.flags(f)
	f.Lookup("max-connections").Usage = "how many connections (`N`) of one pod are served at once; more get 503 or a reset; 0 is 2000. All pods together share what the limit of open files allows: a pod below its part always finds room"
	return c
}

func (o agentOptions) holderSocket() string { return filepath.Join(o.runDir, holder.SocketName) }
func (o agentOptions) adminSocket() string  { return filepath.Join(o.runDir, handover.SocketName) }
func (o agentOptions) policyFile() string   { return filepath.Join(o.stateDir, "policy.json") }
func (o agentOptions) ownState() string     { return filepath.Join(o.stateDir, "agent") }

// instance is the pod that this agent runs in, "" when in none.
func (o agentOptions) instance() string { return cmp.Or(o.podUID, os.Getenv("POD_UID")) }

// instanceNumber is that pod's in the order of the node's, 0 where none can be had.
func (o agentOptions) instanceNumber(log *slog.Logger) int64 {
	if o.instance() == "" {
		return 0
	}
	n, err := agent.NumberInstance(filepath.Join(o.ownState(), "instances"), o.instance(), time.Now())
	if err != nil {
		log.Warn("this pod has no number; after a reboot in the middle of an upgrade the holder may take the older pod for the younger", "error", err)
	}
	return n
}

// check says all that is wrong with the flags by themselves.
func (o agentOptions) check() error {
	var errs []error
	for _, dir := range []struct{ flag, path string }{{"run-dir", o.runDir}, {"state-dir", o.stateDir}, {"policy-dir", o.policyDir}, {"ranges-file", o.ranges}} {
		errs = append(errs, absolute(dir.flag, dir.path))
	}
	if len(o.instance()) > wire.MaxInstance {
		errs = append(errs, fmt.Errorf("--pod-uid %q: longer than %d bytes; give metadata.uid of the pod", o.instance(), wire.MaxInstance))
	}
	if o.drainLimit < time.Second {
		errs = append(errs, fmt.Errorf("--drain-limit %q: too short for a connection to end; use 1s or more", o.drainLimit))
	}
	return errors.Join(errs...)
}

// entry is the plugin's, for pods that no ADD has brought.
func (o agentOptions) entry() (selection.Conf, error) {
	members := map[string]json.RawMessage{"includeIPRanges": json.RawMessage(`"auto"`)}
	if o.cniConf != "" {
		data, err := os.ReadFile(o.cniConf)
		if err == nil {
			members, err = selection.Entry(data)
		}
		if err != nil {
			return selection.Conf{}, hinted(fmt.Errorf("--cni-conf %q: %w", o.cniConf, reason(err)), "name the file that 'sluice install' wrote, or the list that holds the entry")
		}
	}
	for key, path := range map[string]string{selection.KeyAgentSocket: o.holderSocket(), selection.KeyPolicyFile: o.policyFile()} {
		if _, given := members[key]; !given || o.cniConf == "" {
			text, err := json.Marshal(path)
			if err != nil {
				return selection.Conf{}, err
			}
			members[key] = text
		}
	}
	conf, err := selection.ReadConf(selection.Own(members))
	if err != nil {
		return conf, hinted(fmt.Errorf("--cni-conf %q: %w", o.cniConf, err), "docs/cni.md describes the keys")
	}
	return conf, nil
}
