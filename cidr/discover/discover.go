// Package discover finds a cluster's IP ranges in what people and programs say about
// it: a cloud's description of the cluster, an installer's configuration, the flags
// of the control plane, Kubernetes objects. Bytes in, findings out, each with the
// place it was found at; nothing is opened, run or asked here.
//
//	result, err := discover.Read("stdin", []byte("servicesIpv4Cidr: 10.7.240.0/20\n"))
//	// result[0]: 10.7.240.0/20, services, "stdin:1: servicesIpv4Cidr"
package discover

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/sluice-cni/sluice/cidr"
)

// Kind is what has the addresses of a range.
type Kind string

const (
	Services Kind = "services"
	Pods     Kind = "pods"
	Nodes    Kind = "nodes"
	Cluster  Kind = "cluster" // part of the cluster; the source does not say which
)

// Kinds lists them all. Nodes are the cluster's machines, which live in a network
// that the cluster shares with others; so they are no default.
func Kinds() []Kind { return []Kind{Services, Pods, Nodes, Cluster} }

// DefaultKinds are those that "the cluster's ranges" means.
func DefaultKinds() []Kind { return []Kind{Services, Pods, Cluster} }

// Finding is one range and where it was found.
type Finding struct {
	Prefix  netip.Prefix
	Written string // as the source has it
	Kind    Kind
	Form    string // what kind of source it is
	Source  Source
	Notice  string // what was made of it, where that is not what was written
}

// Source is a place.
type Source struct {
	File   string
	Line   int    // 0 where there are none to speak of
	Object string // such as "Node worker-1"; "" for none
	Path   string // within the object, or a flag
}

func (s Source) String() string {
	out := s.File
	if s.Line > 0 {
		out += fmt.Sprintf(":%d", s.Line)
	}
	if what := strings.TrimSpace(s.Object + " " + s.Path); what != "" {
		out += ": " + what
	}
	return out
}

// Findings are in the order of the input.
type Findings []Finding

// Accepted says what Read understands, one line each.
func Accepted() []string {
	return []string{
		"gcloud container clusters describe (YAML or JSON, or the lines that grep left of it)",
		"aws eks describe-cluster, az aks show",
		"IBM Cloud Private's cluster/config.yaml (service_cluster_ip_range, network_cidr)",
		"kubeadm's ClusterConfiguration, in a file or in ConfigMap kube-system/kubeadm-config",
		"flags of kube-apiserver, kube-controller-manager, kube-proxy, kubeadm or k3s: a manifest, a unit file, a line of ps, /proc/PID/cmdline",
		"ServiceCIDR and Node objects (YAML or JSON, one or a List)",
	}
}

// ErrUnknown reports input that says nothing about a cluster's ranges.
var ErrUnknown = errors.New("says nothing about a cluster's ranges")

// Read finds the ranges in one input, whatever its form. All that is wrong with
// any of them comes as one error.
func Read(name string, data []byte) (Findings, error) {
	r := &reader{name: name}
	text := bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, fmt.Errorf("%s: is empty", name)
	}
	if !bytes.ContainsRune(text, 0) {
		r.documents(text)
	}
	if len(r.findings) == 0 && len(r.problems) == 0 {
		r.lines(text)
	}
	switch {
	case len(r.problems) > 0:
		return nil, errors.Join(r.problems...)
	case len(r.findings) == 0:
		return nil, fmt.Errorf("%s: %w", name, ErrUnknown)
	}
	return r.findings, nil
}

// reader gathers findings; the rest of it is where it is at.
type reader struct {
	name     string
	object   string // the nearest enclosing one
	within   string // what that is in, and so on
	above    int    // lines of the input before the text being read
	fixed    bool   // the text being read is all on the line after those
	findings Findings
	problems []error
}

// at is a place in what is being read.
func (r *reader) at(line int, path string) Source {
	if r.fixed {
		line = 1
	}
	return Source{File: r.name, Line: r.above + line, Object: strings.TrimSpace(r.within + " " + r.object), Path: path}
}

// add reads the ranges of one value, which may be a comma list.
func (r *reader) add(value string, meaning meaning, from Source) {
	if strings.TrimSpace(value) == "" {
		return
	}
	for element := range strings.SplitSeq(value, ",") {
		element = strings.TrimSpace(element)
		prefix, notice, problem := one(element)
		if problem != "" {
			r.problems = append(r.problems, fmt.Errorf("%s %q: %s", from, element, problem))
			continue
		}
		r.findings = append(r.findings, Finding{prefix, element, meaning.kind, meaning.form, from, notice})
	}
}

// one reads a single range.
func one(element string) (p netip.Prefix, notice, problem string) {
	list, warnings, err := cidr.ParseElements([]string{element})
	var bad *cidr.ElementError
	switch {
	case errors.As(err, &bad):
		return p, "", bad.Problem
	case list.All:
		return p, "", "is every address, and no cluster's range"
	}
	if len(warnings) > 0 {
		notice = warnings[0].Text
	}
	return list.Prefixes[0], notice, ""
}
