package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/mesh"
)

// workloadOptions say who a proxy works for.
type workloadOptions struct{ name, pod, labels string }

func (o *workloadOptions) add(c *cobra.Command) {
	namespaceFlag(c, workloadNamespace)
	f := c.Flags()
	f.StringVar(&o.name, "workload", "", "`NAME` of what owns the pod (a Deployment), for logs and metrics")
	f.StringVar(&o.pod, "pod", "", "`NAME` of the pod, for logs")
	f.StringVar(&o.labels, "labels", "", "the pod's labels, a `LIST` such as app=shop,version=v1: rules select by them, and they name the source in metrics")
}

var (
	labelValue = regexp.MustCompile(`^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$`)
	labelKey   = regexp.MustCompile(`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
	objectName = regexp.MustCompile(`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$`)
)

// workload puts the flags together; all that is wrong with them comes at once.
func (o workloadOptions) workload(c *cobra.Command) (mesh.Workload, error) {
	w := mesh.Workload{Namespace: namespace(c), Name: o.name, Pod: o.pod}
	var errs []error
	for flag, name := range map[string]string{"workload": o.name, "pod": o.pod} {
		if len(name) > 253 || !objectName.MatchString(name) {
			errs = append(errs, fmt.Errorf("--%s %q: not a Kubernetes name; use lower-case letters, digits, '-' and '.'", flag, name))
		}
	}
	for pair := range strings.SplitSeq(o.labels, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		key, value, found := strings.Cut(pair, "=")
		if !found || len(key) > 253 || !labelKey.MatchString(key) || !labelValue.MatchString(value) {
			errs = append(errs, fmt.Errorf("--labels %q: not a label; write KEY=VALUE as Kubernetes has them", pair))
			continue
		}
		if w.Labels == nil {
			w.Labels = map[string]string{}
		}
		w.Labels[key] = value
	}
	return w, errors.Join(errs...)
}
