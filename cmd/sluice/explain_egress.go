package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/internal/remedy"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/admin"
	"github.com/sluice-cni/sluice/proxy/dns"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/explain"
)

// egress gives the way to the proxy's answer, from the files or from a running proxy. It
// reads the flags, and asks nobody yet; nil answers are for when there is nobody to ask.
func (o explainOptions) egress(c *cobra.Command) (func() (*admin.Explanation, error), error) {
	byRules := o.netns != "" || flagValue(c, "rules") != ""
	running := o.running || flagValue(c, "admin") != "" || flagValue(c, "pod") != ""
	asked := running || os.Getenv(adminVariable) != "" && !chosen(c)
	var errs []error
	for _, name := range []string{"config", "kubeconfig", "context"} {
		if running && flagValue(c, name) != "" {
			errs = append(errs, fmt.Errorf("flags --%s and --running, --admin or --pod: are about different answers; give one of them", name))
		}
	}
	if asked {
		if o.lookup {
			errs = append(errs, errors.New("flag --lookup: a running proxy shows what it knows; leave it out, or ask the files with --config"))
		}
		for _, name := range []string{"namespace", "labels", "outbound-policy"} {
			if c.Flags().Changed(name) {
				errs = append(errs, fmt.Errorf("flag --%s: a running proxy has its own; leave it out, or ask the files with --config", name))
			}
		}
	}
	if !byRules || o.inquiry.URL != "" || o.inquiry.SNI != "" { // else the rules' flow says it
		_, err := o.inquiry.Read()
		errs = append(errs, err)
	}
	policy, policyErr := outboundPolicy(c)
	workload, workloadErr := o.labels.workload(c)
	if err := errors.Join(append(errs, policyErr, workloadErr)...); err != nil {
		return nil, err
	}
	switch {
	case asked:
		return func() (*admin.Explanation, error) { return o.askProxy(c) }, nil
	case byRules && o.inquiry.URL == "" && o.inquiry.SNI == "" && !namesResources(c):
		return func() (*admin.Explanation, error) { return nil, nil }, nil
	}
	return func() (*admin.Explanation, error) { return o.readResources(c, workload, policy) }, nil
}

// namesResources says whether there are resources to ask: those that were named, or the
// default directory.
func namesResources(c *cobra.Command) bool {
	if chosen(c) || os.Getenv("SLUICE_CONFIG") != "" {
		return true
	}
	_, err := os.Stat(defaultConfigDir)
	return err == nil
}

func (o explainOptions) askProxy(c *cobra.Command) (*admin.Explanation, error) {
	client, err := adminClient(c)
	if err != nil {
		return nil, err
	}
	e, err := client.Explain(c.Context(), o.inquiry)
	if err != nil {
		return nil, hinted(err, askHint(c, client))
	}
	e.From = "the proxy at " + client.Path
	return e, nil
}

// readResources answers as a proxy would that starts with them now. Hosts without addresses
// have the virtual ones that they would have there, unless two share one.
func (o explainOptions) readResources(c *cobra.Command, w mesh.Workload, policy mesh.OutboundPolicy) (*admin.Explanation, error) {
	k, err := keeperOf(c)
	if err != nil {
		return nil, err
	}
	addresses, err := openLedger("", true, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer addresses.Close()
	snapshot, err := k.snapshot(virtual(addresses, mesh.Options{Policy: policy}))
	if err != nil {
		return nil, err
	}
	w.Namespace = k.namespace()
	by := "by --outbound-policy, unless a Sidecar says otherwise"
	if !c.Flags().Changed("outbound-policy") {
		w.Policy, by = k.outbound(w.Namespace)
	}
	if w.Policy != nil {
		policy = *w.Policy
	}
	files := admin.Files{}
	if o.lookup {
		files.Look = lookingUp(c.Context())
	}
	e, err := admin.Explain(snapshot.View(w), files, o.inquiry)
	if err != nil {
		return nil, err
	}
	if !k.ofThisMachine() {
		e.Steps = slices.Insert(e.Steps, 0, mesh.Step{What: "policy", Says: policy.String() + ", " + by})
	}
	e.From = k.place() + ", as a workload of namespace " + w.Namespace + " sees it"
	return e, nil
}

// lookupTimeout bounds the wait for one name.
const lookupTimeout = 5 * time.Second

// lookingUp asks this machine's hosts file and resolvers.
func lookingUp(ctx context.Context) func(string) (dns.Known, bool) {
	resolver := dns.New(dns.Config{})
	return func(name string) (dns.Known, bool) {
		within, cancel := context.WithTimeout(ctx, lookupTimeout)
		defer cancel()
		if _, err := resolver.Lookup(within, name); err != nil {
			return dns.Known{Err: err}, true
		}
		return resolver.Known(name)
	}
}

// explained is the whole answer: by the rules, and by the proxy that they lead to.
type explained struct {
	rules  *explain.Answer    // nil: they were not asked
	egress *admin.Explanation // nil: the same, or it never comes to the proxy
}

// reachesProxy says whether the rules leave anything to ask a proxy.
func (e explained) reachesProxy() bool {
	return e.rules == nil || e.rules.Agree() && e.rules.Verdict == rules.ToProxy
}

func (e explained) allowed() bool {
	switch {
	case e.rules != nil && (!e.rules.Agree() || e.rules.Verdict == rules.Refused):
		return false
	case e.egress != nil:
		return e.egress.Allowed
	}
	return true
}

// report is the answer for programs: that of the rules, with the proxy's within.
func (e explained) report() any {
	out := struct {
		*explainedJSON
		Allowed bool               `json:"allowed"`
		Egress  *admin.Explanation `json:"egress,omitempty"`
	}{Allowed: e.allowed(), Egress: e.egress}
	if e.rules != nil {
		byRules := rulesReport(e.rules)
		out.explainedJSON = &byRules
	}
	return out
}

func (e explained) print(c *cobra.Command) error {
	w := c.OutOrStdout()
	if e.rules != nil {
		if err := printRules(w, e.rules); err != nil {
			return err
		}
	}
	switch {
	case e.egress != nil:
		return printEgress(c, w, e.egress)
	case e.rules != nil && e.reachesProxy():
		fmt.Fprintln(w, "  proxy: not asked; --config names its resources, --running asks it")
	}
	return nil
}

func printEgress(c *cobra.Command, w io.Writer, e *admin.Explanation) error {
	fmt.Fprintf(w, "%s\n%s\n  by %s\n", printable(e.Asked), printable(e.Answer), printable(e.From))
	printSteps(w, "  ", e.Steps)
	for _, d := range e.Destinations {
		share := ""
		if len(e.Destinations) > 1 {
			share = fmt.Sprintf(", %.3g%% of it", 100*d.Share)
		}
		fmt.Fprintf(w, "  to %s%s\n", printable(d.Cluster), share)
		printSteps(w, "    ", d.Steps)
		for _, point := range d.Endpoints {
			row := endpointRow(point)
			at := row[1]
			switch {
			case point.Name != "" && point.Address != "":
				at = point.Name + " at " + at
			case point.Name != "":
				at = point.Name + at
			case point.Address == "":
				at = "port " + number(point.Port) + " of that address"
			}
			fmt.Fprintf(w, "    %-12s %s, %s\n", "endpoint", printable(at), printable(row[3]))
		}
		if d.Refused != "" {
			fmt.Fprintf(w, "    %-12s %s\n", "refused", printable(d.Refused))
		}
	}
	for _, n := range e.Notes {
		fmt.Fprintf(w, "  note: %s\n", printable(n))
	}
	if e.Register != "" {
		to := "allow"
		if e.Allowed { // which Observe does
			to = "register"
		}
		if in := remedy.Here().Files(configDir(c)); in != "" {
			fmt.Fprintf(w, "  to %s it: put '%s' into %s\n", to, e.Register, in)
			return nil
		}
		words := "create -f -"
		if in := flagValue(c, "namespace"); in != "" {
			words += " -n " + in
		}
		command := asCalled(c, commandLine(c, words))
		if namespace, _, ofPod := strings.Cut(flagValue(c, "pod"), "/"); ofPod && remedy.Here().InCluster() {
			command = remedy.Apply(namespace)
		}
		fmt.Fprintf(w, "  to %s it: echo '%s' | %s\n", to, e.Register, command)
	}
	return nil
}

func printSteps(w io.Writer, indent string, steps []mesh.Step) {
	for _, s := range steps {
		fmt.Fprintf(w, "%s%-12s %s%s\n", indent, printable(s.What), printable(s.Says), bracketed(printable(s.Source.Place())))
	}
}
