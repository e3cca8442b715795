package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/agent"
	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/agent/handover"
	"github.com/sluice-cni/sluice/holder"
	"github.com/sluice-cni/sluice/holder/client"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/install/cluster"
	"github.com/sluice-cni/sluice/internal/remedy"
	"github.com/sluice-cni/sluice/proxy/admin"
)

type statusOptions struct {
	runDir string
	output string
	all    bool
	ready  bool
	alive  bool
	holder bool
	// of --cluster
	cluster               bool
	namespace, kubeconfig string
}

func newStatusCommand() *cobra.Command {
	var o statusOptions
	c := &cobra.Command{
		Use:   "status [NAMESPACE/NAME]",
		Short: "Show the node's agent and what became of each pod",
		Long: `status asks the node's agent ('sluice agent') how it is and what it does with each pod.

  enrolled    captured and served, as decided
  waiting     for something that REASON names; its connections wait too
  pending     on the way to being enrolled, or changed
  leaving     on the way out; connections that were carried go on
  failed      REASON says why; tried again after 1 s, 2 s and so on to 30 s
  untouched   not selected, so nothing of sluice is in it; listed with --all

With a pod's name everything about that pod is shown: why it is selected or not, the
captured ranges, each setting that is not the default, and warnings. While no agent
answers, within 5 s, the holder ('sluice holder') is asked, which knows less; the exit
code is 1 then.

In a cluster it is run in an agent's container, and is about that agent's node:

  kubectl -n sluice-system get pods -o wide     which agent is on which node
  kubectl -n sluice-system exec POD -- /sluice status shop/web-7d4f

--ready and --alive are for probes, run in the agent's own container: of two agents that
overlap at an upgrade they are about the one in it, and nobody reaches what they ask from
the network. An agent that stands by, or is replaced and drains, is alive, and not ready.
--ready --holder is the same for a holder.

--cluster asks the API server and not this node: on how many nodes agents and holders are
ready, and what is the matter with the rest. The exit code is 1 unless all are.`,
		Example: `  sluice status
  sluice status shop/web-7d4f
  sluice status -o json
  sluice status --cluster`,
	}
	f := c.Flags()
	f.StringVar(&o.runDir, "run-dir", holder.DefaultRunDir, "`DIR` of the agent's socket agent.sock and the holder's, holder.sock")
	f.StringVarP(&o.output, "output", "o", "table", "`FORMAT`: table or json")
	f.BoolVar(&o.all, "all", false, "list untouched pods too")
	f.BoolVar(&o.ready, "ready", false, "print nothing and exit with 0 if the agent serves the node, where POD_UID is set that pod's agent; for a readiness probe, which may take 6 s")
	f.BoolVar(&o.holder, "holder", false, "with --ready: exit with 0 if the holder in this container holds the node's pods")
	f.BoolVar(&o.cluster, "cluster", false, "show on how many nodes of a cluster sluice is ready")
	f.StringVar(&o.namespace, "namespace", "", "with --cluster: the `NAMESPACE` that sluice was installed into (default POD_NAMESPACE of the environment, else "+cluster.Namespace+")")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "with --cluster: the `FILE` that leads to it (default the pod's own, else kubectl's)")
	f.BoolVar(&o.alive, "alive", false, "print nothing and exit with 0 unless the agent in this container hangs; for a liveness probe, which may take 6 s")
	c.RunE = func(c *cobra.Command, args []string) error {
		var errs []error
		if len(args) > 1 {
			errs = append(errs, fmt.Errorf("argument %q: one pod is enough", args[1]))
		}
		if o.output != "table" && o.output != "json" {
			errs = append(errs, fmt.Errorf("output %q: not known; use table or json", o.output))
		}
		if (o.ready || o.alive || o.cluster) && len(args) > 0 {
			errs = append(errs, fmt.Errorf("argument %q: --ready, --alive and --cluster are not about a pod", args[0]))
		}
		if o.ready && o.alive || o.cluster && (o.ready || o.alive) {
			errs = append(errs, errors.New("--ready, --alive, --cluster: exclude each other"))
		}
		if o.holder && !o.ready {
			errs = append(errs, errors.New("--holder: goes with --ready"))
		}
		if err := errors.Join(errs...); err != nil {
			return usage(err, "see 'sluice status --help'")
		}
		switch {
		case o.cluster:
			return o.nodes(c)
		case o.holder:
			return o.probeHolder(c.Context(), inThisContainer)
		case o.ready:
			return o.probeReady(c.Context())
		case o.alive:
			return o.probeAlive(c.Context())
		}
		return o.run(c, append(args, "")[0])
	}
	return c
}

// answerWithin is how long an agent, and then a holder, may take to answer. One that
// stands still lets whoever asks connect, and never answers.
const answerWithin = 5 * time.Second

func (o statusOptions) run(c *cobra.Command, pod string) error {
	path := filepath.Join(o.runDir, handover.SocketName)
	if !admin.Answers(path) {
		return o.askHolder(c, fmt.Errorf("%s: no agent answers on this node", path), remedy.Here().Say(remedy.Agent))
	}
	asking, cancel := context.WithTimeout(c.Context(), answerWithin)
	defer cancel()
	var s agent.Status
	err := (admin.Client{Path: path}).Ask(asking, agent.StatusPath, admin.Question{}, &s)
	switch {
	case err != nil && asking.Err() != nil && c.Context().Err() == nil:
		return o.askHolder(c, fmt.Errorf("%s: the agent has not answered for %v: it stands still, or has more to do than it can", path, answerWithin), "look at its process and its log")
	case err != nil:
		return hinted(err, "--run-dir names the directory that 'sluice agent' was given")
	}
	if pod != "" {
		s.Pods = slices.DeleteFunc(s.Pods, func(p agent.PodStatus) bool { return p.Name.String() != pod && p.Netns != pod })
		if len(s.Pods) == 0 {
			return hinted(fmt.Errorf("pod %q: the agent knows no such pod", pod), remedy.Here().Say(remedy.OtherNode))
		}
	}
	if o.output == "json" {
		return writeJSON(c.OutOrStdout(), s)
	}
	if pod != "" {
		return printPods(c.OutOrStdout(), s.Pods)
	}
	printNode(c.OutOrStdout(), s.NodeStatus)
	hidden := len(s.Pods)
	if !o.all {
		s.Pods = slices.DeleteFunc(s.Pods, func(p agent.PodStatus) bool { return p.State == string(core.PodUntouched) })
	}
	hidden -= len(s.Pods)
	if err := printPodTable(c.OutOrStdout(), s.Pods); err != nil {
		return err
	}
	if hidden > 0 {
		fmt.Fprintf(c.ErrOrStderr(), "and %s untouched; --all lists all\n", count(hidden, "pod"))
	}
	return nil
}

// maxFact is the longest of them, in characters: several mistakes in several files fit.
const maxFact = 4000

// facts writes names and values below each other; those without a value are left out.
func facts(w io.Writer, pairs ...[2]string) error {
	t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	for _, p := range pairs {
		if p[1] != "" {
			fmt.Fprintf(t, "%s\t%s\n", p[0], printableUpTo(p[1], maxFact))
		}
	}
	return t.Flush()
}

func printNode(w io.Writer, n agent.NodeStatus) {
	facts(w,
		[2]string{"agent", nodeState(n)},
		[2]string{"process", fmt.Sprintf("%d, sluice %s, %d goroutines, %d files open", n.PID, n.Build, n.Goroutines, n.Descriptors)},
		[2]string{"holder", holderState(n)},
		[2]string{"exemption", exemptionText(n)},
		[2]string{"policy", "generation " + strconv.FormatUint(n.Policy, 10) + policyMistakes(n)},
		[2]string{"ranges", cmp.Or(n.RangesErr, fmt.Sprintf("%d for includeIPRanges auto", n.Ranges))},
		[2]string{"resources", resourcesText(n)},
		[2]string{"cluster", n.Cluster},
		[2]string{"connections", fmt.Sprintf("%d of %d, %d of %d MiB of buffers", n.Used.Connections, n.Most.Connections, n.Used.Memory>>20, n.Most.Memory>>20)},
	)
	fmt.Fprintln(w)
	for _, text := range n.Beside {
		fmt.Fprintf(w, "warning: %s\n\n", printableUpTo(text, maxFact))
	}
	printResourceIssues(w, n.Issues)
}

func nodeState(n agent.NodeStatus) string {
	text := fmt.Sprintf("serves %s", count(n.Serving, "pod"))
	switch {
	case n.Leaving:
		text = "lets go of every pod, since sluice is being uninstalled; " + text
	case n.Retired:
		text = "has been replaced; what it carries goes on"
	case n.NotReady != "":
		text = "not ready: " + n.NotReady + "; " + text
	}
	if n.Draining > 0 {
		text += fmt.Sprintf(", %d drain", n.Draining)
	}
	if n.Others > 0 {
		text += fmt.Sprintf("; %s beside it", count(n.Others, "other agent"))
	}
	return text
}

func holderState(n agent.NodeStatus) string {
	if n.Connected {
		return "connected"
	}
	return "no session: new pods are not enrolled; those that are served stay so"
}

func exemptionText(n agent.NodeStatus) string {
	if n.Exemption == "cgroup" {
		return "cgroup " + n.Cgroup
	}
	return n.Exemption + ", since " + n.Why
}

func resourcesText(n agent.NodeStatus) string {
	text := strconv.Itoa(n.Resources)
	if n.Errors > 0 {
		where := "'sluice validate' shows them"
		if len(n.Issues) > 0 {
			where = "see below"
		}
		text += fmt.Sprintf(", %s: %s", count(n.Errors, "error"), where)
	}
	return text
}

// printResourceIssues says what is the matter with resources of a cluster, some of it.
func printResourceIssues(w io.Writer, issues []string) {
	const shown = 20
	for _, text := range issues[:min(len(issues), shown)] {
		fmt.Fprintln(w, printableUpTo(text, maxFact))
	}
	if more := len(issues) - shown; more > 0 {
		fmt.Fprintf(w, "and %d more; -o json has them\n", more)
	}
	if len(issues) > 0 {
		fmt.Fprintln(w)
	}
}

func printPodTable(w io.Writer, pods []agent.PodStatus) error {
	if len(pods) == 0 {
		return nil
	}
	shared := sharedWarnings(pods)
	rows := [][]string{{"POD", "STATE", "POLICY", "RANGES", "CONNECTIONS", "SERVED FOR", "REASON"}}
	for _, p := range pods {
		rows = append(rows, []string{podLabel(p.Name, p.Netns), p.State, p.Policy, rangesCount(p), connectionsText(p), served(p), reasonAndWarnings(p, shared)})
	}
	if err := table(w, rows); err != nil {
		return err
	}
	return printShared(w, shared)
}

// sharedWarnings are those that several pods have, with how many do: in each pod's row
// they would hide what is the matter with one.
func sharedWarnings(pods []agent.PodStatus) map[string]int {
	out := map[string]int{}
	for _, p := range pods {
		for _, text := range p.Warnings {
			out[text]++
		}
	}
	maps.DeleteFunc(out, func(_ string, pods int) bool { return pods < 2 })
	return out
}

func printShared(w io.Writer, shared map[string]int) error {
	for i, text := range slices.Sorted(maps.Keys(shared)) {
		if i == 0 {
			fmt.Fprintln(w)
		}
		if _, err := fmt.Fprintf(w, "warning, %s: %s\n", count(shared[text], "pod"), printableUpTo(text, maxFact)); err != nil {
			return err
		}
	}
	return nil
}

// table writes rows of equal length; the first is the header.
func table(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	for _, row := range rows {
		for i := range row {
			row[i] = cmp.Or(printable(row[i]), "-")
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

// podLabel is the pod's name, or what it can be asked by without one.
func podLabel(name wire.PodName, netns string) string {
	if name.Name == "" {
		return "netns " + netns
	}
	return name.String()
}

// policyMistakes say why the policy in force is not what files and cluster say.
func policyMistakes(n agent.NodeStatus) string {
	if n.PolicyErr == "" {
		return ""
	}
	return ", since not all that is written can be used: " + n.PolicyErr
}

func rangesCount(p agent.PodStatus) string {
	if len(p.Ranges) == 0 {
		return ""
	}
	text := strconv.Itoa(len(p.Ranges))
	if len(p.Ranges) == 1 {
		text = p.Ranges[0]
	}
	if p.Auto {
		text += " (auto)"
	}
	return text
}

func connectionsText(p agent.PodStatus) string {
	text := strconv.Itoa(p.Connections)
	if p.Draining > 0 {
		text += ", older ones drain"
	}
	return text
}

func served(p agent.PodStatus) string {
	if p.Since == nil {
		return ""
	}
	return age(time.Since(*p.Since))
}

// age is a duration in one unit.
func age(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

func reasonAndWarnings(p agent.PodStatus, shared map[string]int) string {
	text := p.Reason
	if text == "" && p.State == string(core.PodUntouched) {
		text = p.Decided // why it is left alone, by a sidecar for instance
	}
	own := slices.DeleteFunc(slices.Clone(p.Warnings), func(text string) bool { return shared[text] > 0 })
	if n := len(own); n > 0 {
		if text != "" {
			text += "; "
		}
		text += "warning: " + own[0]
		if n > 1 {
			text += fmt.Sprintf(" (and %d more)", n-1)
		}
	}
	return text
}

// printPods shows everything about pods, one after the other.
func printPods(w io.Writer, pods []agent.PodStatus) error {
	for i, p := range pods {
		if i > 0 {
			fmt.Fprintln(w)
		}
		state := p.State
		if p.Reason != "" {
			state += ": " + p.Reason
		}
		pairs := [][2]string{
			{"pod", podLabel(p.Name, p.Netns)}, {"uid", p.Name.UID}, {"state", state}, {"decided by", p.Decided},
			{"rules", strings.TrimSpace(p.Rules + " " + p.Hash)}, {"failure policy", p.Policy}, {"ranges", rangesCount(p)},
		}
		if len(p.Ranges) > 1 {
			for _, r := range p.Ranges {
				pairs = append(pairs, [2]string{"", r})
			}
		}
		pairs = append(pairs, [][2]string{
			{"exemption", p.Exemption}, {"connections", connectionsText(p)}, {"served for", served(p)},
			{"namespace", p.Netns + " " + p.Path}, {"container", p.Container},
		}...)
		if p.Outbound != "" {
			pairs = append(pairs, [2]string{"outboundPolicy", p.Outbound + ", whatever resources say"})
		}
		if p.DNS {
			pairs = append(pairs, [2]string{"DNS", "captured"})
		}
		for _, name := range slices.Sorted(maps.Keys(p.Settings)) {
			pairs = append(pairs, [2]string{name, cmp.Or(p.Settings[name], `""`)})
		}
		if p.Drifts > 0 {
			pairs = append(pairs, [2]string{"rules changed", count(p.Drifts, "time") + " by somebody else, and put right"})
		}
		for _, text := range p.Warnings {
			pairs = append(pairs, [2]string{"warning", text})
		}
		if err := facts(w, pairs...); err != nil {
			return err
		}
	}
	return nil
}

// askHolder shows what the holder knows, since no agent answers: none says why not, and
// advice what a person should do about it.
func (o statusOptions) askHolder(c *cobra.Command, none error, advice string) error {
	path := filepath.Join(o.runDir, holder.SocketName)
	asking, cancel := context.WithTimeout(c.Context(), answerWithin)
	defer cancel()
	s, err := client.Status(asking, path)
	if err != nil {
		return hinted(errors.Join(none, fmt.Errorf("%s: nor does a holder: %w", path, reason(err))),
			remedy.Here().Say(remedy.Nobody))
	}
	if o.output == "json" {
		if err := writeJSON(c.OutOrStdout(), s); err != nil {
			return err
		}
	} else if err := printHolder(c.OutOrStdout(), s); err != nil {
		return err
	}
	return hinted(none, advice+"; this is what the holder knows")
}

func printHolder(w io.Writer, s wire.HolderStatus) error {
	facts(w, [2]string{"holder", fmt.Sprintf("process %d, sluice %s, holds %s", s.PID, s.Build, count(len(s.Pods), "pod"))})
	if len(s.Pods) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	rows := [][]string{{"POD", "STATE", "POLICY", "REASON"}}
	for _, p := range s.Pods {
		rows = append(rows, []string{podLabel(p.Pod, p.Netns.String()), p.State, p.Policy, cmp.Or(p.Reason, p.AgentError)})
	}
	return table(w, rows)
}
