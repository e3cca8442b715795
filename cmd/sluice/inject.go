package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/inject"
	"github.com/sluice-cni/sluice/rules"
)

type injectOptions struct {
	files   []string
	output  string
	sidecar bool
	proxy   inject.Sidecar
	rules   string
	metrics uint16
	fields  map[string]*fieldFlag
}

func newInjectCommand() *cobra.Command {
	var o injectOptions
	c := &cobra.Command{
		Use:   "inject -f FILE",
		Short: "Write into manifests what makes their pods governed",
		Long: `inject reads manifests and prints them with the annotations that have their pods
captured: sluice.dev/inject, and one for each flag that says what is captured. It looks
at Pods and at all that makes them, in Lists and in streams of documents; every other byte
stays as it is. Nothing is asked of a cluster, and nothing is changed in one.

Where a namespace is labelled no file needs this: it is for pods whose namespace is not, and
for what differs from pod to pod. Pods with hostNetwork, and those that say
sluice.dev/inject: "false", are left alone.

With --sidecar the pods get a proxy of their own, for clusters without sluice, or for
pods that its agents leave alone: a container that starts before the pod's own and ends
after them, with the resources of a ConfigMap (its keys are files), and one before it that
makes the rules (CAP_NET_ADMIN). With --rules plugin it is the CNI plugin that makes them, where
it is installed without agents.`,
		Example: `  kubectl apply -f <(sluice inject -f samples/sleep/sleep.yaml)
  kubectl apply -f <(sluice inject -f samples/sleep/sleep.yaml --includeIPRanges=10.0.0.1/24)
  kubectl get deployment web -o yaml | sluice inject -f - --excludeOutboundPorts=5432 | kubectl apply -f -

  kubectl create configmap sluice --from-file egress/
  sluice inject -f web.yaml --sidecar --image registry.example/sluice:1.0 | kubectl apply -f -`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return runInject(c, o) },
	}
	f := c.Flags()
	f.StringArrayVarP(&o.files, "filename", "f", nil, "`FILE` with manifests, - for standard input")
	f.StringVarP(&o.output, "output", "o", "", "`FILE` to write (default standard output)")
	f.BoolVar(&o.sidecar, "sidecar", false, "give the pods a proxy of their own")
	f.StringVar(&o.proxy.Image, "image", "", "`IMAGE` of the sidecar, where the cluster can pull it from; without it a sidecar that is there keeps its own, and others have sluice:VERSION, as 'make image' calls it")
	f.StringVar(&o.proxy.ConfigMap, "config-map", "", "`NAME` of the ConfigMap with the sidecar's resources, in the pod's namespace; without it a sidecar that is there keeps its own, and others have sluice")
	f.Uint16Var(&o.metrics, "metrics-port", 0, "`PORT` of the sidecar's /metrics and /readyz, another one for pods that listen there themselves; 0 is that of a sidecar that is there, else "+strconv.Itoa(metricsPort))
	f.StringVar(&o.rules, "rules", "init", "who makes the sidecar's rules (`WHO`): init, a container with CAP_NET_ADMIN, or plugin")
	o.fields = addFieldFlags(c, func(f rules.Field) string { return f.Meaning + " Annotation " + f.Annotation + "." })
	return c
}

func runInject(c *cobra.Command, o injectOptions) error {
	options, err := o.read(c)
	if err != nil {
		return usage(err, "see '"+c.CommandPath()+" --help'")
	}
	in, err := readStreams(c, o.files, "")
	if err != nil {
		return err
	}
	var text []byte
	var pods int
	var errs []error
	for _, s := range in {
		done, err := inject.Inject(s.Name, s.Data, options)
		errs = append(errs, err)
		text = appendStream(text, done.Text)
		pods += done.Pods
		for _, note := range done.Notes {
			fmt.Fprintln(c.ErrOrStderr(), note)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if pods == 0 {
		fmt.Fprintln(c.ErrOrStderr(), "no object makes pods: nothing was changed")
	}
	if o.output != "" {
		return os.WriteFile(o.output, text, 0o644)
	}
	_, err = c.OutOrStdout().Write(text)
	return err
}

// appendStream puts a stream of documents behind another. A byte order mark may stand at the
// beginning only, and directives only behind the end of a document (YAML 1.2, 9.1.2 and 9.2).
func appendStream(text, more []byte) []byte {
	if len(text) == 0 {
		return more
	}
	more = bytes.TrimPrefix(more, []byte("\xef\xbb\xbf"))
	between := "\n---\n"
	if bytes.HasPrefix(more, []byte("%")) {
		between = "\n...\n"
	}
	return append(append(bytes.TrimSuffix(text, []byte("\n")), between...), more...)
}

// read puts the flags together; all that is wrong with them comes at once.
func (o injectOptions) read(c *cobra.Command) (inject.Options, error) {
	out := inject.Options{Fields: map[string]string{}}
	var errs []error
	if len(o.files) == 0 {
		errs = append(errs, errors.New("flag -f: is missing; name a file, or - for standard input"))
	}
	for name, flag := range o.fields {
		if flag.given {
			out.Fields[name] = flag.text
		}
	}
	if o.rules != "init" && o.rules != "plugin" {
		errs = append(errs, fmt.Errorf("--rules %q: not known; use init or plugin", o.rules))
	}
	for _, name := range []string{"image", "config-map", "metrics-port", "rules"} {
		if c.Flags().Changed(name) && !o.sidecar {
			errs = append(errs, fmt.Errorf("--%s: says something of a sidecar; give --sidecar too, or leave it out", name))
		}
	}
	if o.sidecar {
		out.Sidecar = &o.proxy
		out.Sidecar.DefaultImage = "sluice:" + cmp.Or(version, "devel")
		out.Sidecar.MetricsPort, out.Sidecar.DefaultMetricsPort = int(o.metrics), metricsPort
		out.Sidecar.Plugin = o.rules == "plugin"
	}
	return out, errors.Join(append(errs, out.Check())...)
}
