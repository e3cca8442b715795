package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/cidr/discover"
	"github.com/sluice-cni/sluice/cidr/discover/rangesfile"
)

type cidrOptions struct {
	files               []string
	provider            string
	kubeconfig, context string
	fromCluster         bool
	kinds               []string
	output              format
	write               string
	validFor            time.Duration
}

func newCIDRCommand() *cobra.Command {
	var o cidrOptions
	c := &cobra.Command{
		Use:   "cidr [FILE|-]...",
		Short: "Find a cluster's IP ranges, and say where each comes from",
		Long: `cidr finds the ranges of a cluster's services and pods, which is what
includeIPRanges usually wants: the traffic within the cluster is governed, all else
goes its own way. It reads files and standard input (-, or nothing at all), asks the
API server of a kubeconfig, or says what is known about a provider. The form of an
input is recognised:

  ` + strings.Join(discover.Accepted(), "\n  ") + `

Addresses of nodes are shown, and included only with --kinds. What overlaps or
touches is merged.

--write keeps the ranges in a file, for includeIPRanges "auto": the CNI plugin,
'sluice rules apply' and 'sluice exec' read ` + rangesfile.DefaultPath + `
unless they are told another. They ask no API server.`,
		Example: `  gcloud container clusters describe CLUSTER --zone=ZONE | sluice cidr
  sluice cidr cluster/config.yaml -o list
  kubectl get servicecidrs,nodes -o yaml | sluice cidr
  sluice cidr --from-cluster --write ` + rangesfile.DefaultPath + `
  sluice cidr /etc/kubernetes/manifests/*.yaml
  sluice cidr /proc/$(pidof kube-apiserver)/cmdline
  sluice cidr --provider minikube -o annotation`,
		RunE: func(c *cobra.Command, args []string) error {
			o.files = append(o.files, args...)
			return runCIDR(c, o)
		},
	}
	f := c.Flags()
	f.StringArrayVarP(&o.files, "filename", "f", nil, "`FILE` to read, - for standard input")
	f.StringVar(&o.provider, "provider", "", "what is known about a `PROVIDER`: "+strings.Join(providerNames(), ", "))
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "ask the API server of this kubeconfig `FILE`")
	f.BoolVar(&o.fromCluster, "from-cluster", false, "ask the API server of $KUBECONFIG, ~/.kube/config or the pod this runs in")
	f.StringVar(&o.context, "context", "", "the kubeconfig's `CONTEXT` (default its current one)")
	f.StringSliceVar(&o.kinds, "kinds", kindNames(discover.DefaultKinds()), "which ranges to include: "+strings.Join(kindNames(discover.Kinds()), ", "))
	o.output = formatFlag(c, "table", "json", "list", "annotation", "conf")
	f.StringVar(&o.write, "write", "", "also keep the ranges in `FILE`, for includeIPRanges auto")
	f.DurationVar(&o.validFor, "valid-for", 0, "how long what --write keeps may be used (default for good)")
	return c
}

func runCIDR(c *cobra.Command, o cidrOptions) error {
	if err := o.check(); err != nil {
		return usage(err, "see 'sluice cidr --help'")
	}
	found, err := o.find(c)
	if errors.Is(err, discover.ErrUnknown) {
		return hinted(err, "accepted are:\n  "+strings.Join(discover.Accepted(), "\n  "))
	}
	if err != nil {
		return err
	}
	for _, f := range found {
		if f.Notice != "" {
			fmt.Fprintf(c.ErrOrStderr(), "notice: %s: %s\n", f.Source, f.Notice)
		}
	}
	used := found.Of(o.chosenKinds()...)
	if len(used) == 0 {
		return hinted(fmt.Errorf("no range of %s; only of %s", strings.Join(o.kinds, ", "), strings.Join(kindsOf(found), ", ")), "--kinds includes others")
	}
	if o.write != "" {
		if err := o.keep(c, used); err != nil {
			return err
		}
	}
	return printRanges(c.OutOrStdout(), *o.output.text, found, used)
}

// check finds every mistake in the flags.
func (o cidrOptions) check() error {
	errs := []error{o.output.check()}
	for _, k := range o.kinds {
		if !slices.Contains(discover.Kinds(), discover.Kind(k)) {
			errs = append(errs, fmt.Errorf("--kinds %q: not known; use %s", k, strings.Join(kindNames(discover.Kinds()), ", ")))
		}
	}
	if o.validFor != 0 && (o.write == "" || o.validFor < 0) {
		errs = append(errs, fmt.Errorf("--valid-for %q: needs --write, and a time from now on", o.validFor))
	}
	if o.context != "" && !o.live() {
		errs = append(errs, fmt.Errorf("--context %q: needs --kubeconfig or --from-cluster", o.context))
	}
	return errors.Join(errs...)
}

func (o cidrOptions) live() bool { return o.kubeconfig != "" || o.fromCluster }

func (o cidrOptions) chosenKinds() []discover.Kind {
	var out []discover.Kind
	for _, k := range o.kinds {
		out = append(out, discover.Kind(k))
	}
	return out
}

// find reads everything that is named; standard input where nothing is.
func (o cidrOptions) find(c *cobra.Command) (discover.Findings, error) {
	if len(o.files) == 0 && o.provider == "" && !o.live() {
		if isTerminal(c.InOrStdin()) {
			return nil, usage(errors.New("nothing to read: name a file, a provider or a cluster, or send something to standard input"), "see 'sluice cidr --help'")
		}
		o.files = []string{"-"}
	}
	var all discover.Findings
	var errs []error
	gather := func(found discover.Findings, err error) {
		all, errs = append(all, found...), append(errs, err)
	}
	for _, name := range o.files {
		data, name, err := readInput(c, name)
		if err == nil {
			gather(discover.Read(name, data))
			continue
		}
		gather(nil, err)
	}
	if o.provider != "" {
		gather(o.known(c))
	}
	if o.live() {
		gather(o.ask(c))
	}
	return all, errors.Join(errs...)
}

// known is what people know about a provider.
func (o cidrOptions) known(c *cobra.Command) (discover.Findings, error) {
	p, err := discover.ProviderNamed(o.provider)
	if err != nil {
		return nil, usage(err, "see 'sluice cidr --help'")
	}
	if !p.Fixed && o.write != "" {
		return nil, hinted(fmt.Errorf("provider %s: its ranges differ from cluster to cluster, and those of an example would be kept", p.Names[0]), p.How)
	}
	what := "notice: " + p.Title + ": "
	if !p.Fixed {
		what = "warning: " + p.Title + ": its ranges differ from cluster to cluster, these are an example's; find your own: "
	}
	fmt.Fprintln(c.ErrOrStderr(), what+p.How)
	return p.Findings(), nil
}

// keep writes the file that includeIPRanges auto stands for.
func (o cidrOptions) keep(c *cobra.Command, used discover.Findings) error {
	f := rangesfile.File{Written: time.Now().UTC().Truncate(time.Second), Ranges: strings.Split(used.Ranges().String(), ",")}
	if o.validFor > 0 {
		until := f.Written.Add(o.validFor)
		f.ValidUntil = &until
	}
	for _, x := range used {
		f.Sources = append(f.Sources, rangesfile.Source{Range: x.Prefix.String(), Kind: string(x.Kind), From: x.Source.String()})
	}
	if err := rangesfile.Write(o.write, f); err != nil {
		return err
	}
	fmt.Fprintf(c.ErrOrStderr(), "notice: %s written: %s\n", o.write, count(len(f.Ranges), "range"))
	return nil
}

func providerNames() []string {
	var out []string
	for _, p := range discover.Providers() {
		out = append(out, p.Names[0])
	}
	return out
}

func kindNames(kinds []discover.Kind) []string {
	var out []string
	for _, k := range kinds {
		out = append(out, string(k))
	}
	return out
}

// kindsOf are those that findings have, each once.
func kindsOf(found discover.Findings) []string {
	return slices.DeleteFunc(kindNames(discover.Kinds()), func(k string) bool { return len(found.Of(discover.Kind(k))) == 0 })
}

func isTerminal(in io.Reader) bool {
	f, ok := in.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
