package inject

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/selection"
)

// Sidecar is a proxy in the pod itself.
type Sidecar struct {
	// Image is one that the cluster can pull; "" keeps that of a sidecar that is there, and
	// is else DefaultImage, which is said.
	Image, DefaultImage string
	// ConfigMap is the name of the one whose keys are files of resources; "" keeps that of a
	// sidecar that is there, and is else "sluice".
	ConfigMap string
	// MetricsPort is where the proxy serves /metrics, and /readyz, which the kubelet asks; 0
	// keeps that of a sidecar that is there, and is else DefaultMetricsPort.
	MetricsPort, DefaultMetricsPort int
	// Plugin: the rules are those of the CNI plugin without an agent (no agentSocket).
	// Otherwise an init container with CAP_NET_ADMIN makes them.
	Plugin bool
}

const (
	proxyContainer  = "sluice-proxy"
	rulesContainer  = "sluice-rules"
	resourcesVolume = "sluice-resources"
	scratchVolume   = "sluice-scratch"
	// uid is the proxy's, as that of Istio's: the rules let what this user sends pass.
	uid = "1337"
)

// of is what an object's template gets. set are annotations that it gets in any case.
func (s *Sidecar) of(f object, p pod, set map[string]string) (value *yaml.Node, notes []string, err error) {
	if s.Plugin && slices.Contains(p.names, rulesContainer) {
		return nil, nil, fmt.Errorf("has an init container %s, which makes the rules that are the plugin's to make now; take it out", rulesContainer)
	}
	if len(p.own) > 0 {
		return nil, nil, fmt.Errorf("has a %s of its own, which is what the sidecar's is called; call it otherwise", strings.Join(p.own, " and a "))
	}
	own := *s
	s = &own
	s.Image, s.ConfigMap = cmp.Or(s.Image, p.image), cmp.Or(s.ConfigMap, p.configMap, "sluice")
	s.MetricsPort = cmp.Or(s.MetricsPort, p.metricsPort, s.DefaultMetricsPort)
	var said []string
	switch {
	case s.Image == "" && s.DefaultImage == "":
		return nil, nil, errors.New("has no sidecar yet, whose image would stay; name sluice's, where the cluster can pull it from, as --image=registry.example/sluice:1.0")
	case s.Image == "":
		s.Image = s.DefaultImage
		said = append(said, fmt.Sprintf("its sidecar's image is %s, which a node has where somebody put it there; name one that the cluster can pull with --image", s.Image))
	}
	given, exempt := merged(p.annotations, set), annotationOf("exemptUIDs")
	if exemption := cmp.Or(given[annotationOf("exemption")], string(rules.ExemptByUID)); given[exempt] == "" && exemption == string(rules.ExemptByUID) {
		set[exempt] = uid
	}
	auto := knownLater
	if !s.Plugin {
		auto = func() (cidr.List, error) {
			return cidr.List{}, errors.New("only the node knows the cluster's ranges; write them, as 'sluice cidr' prints them, or give --rules plugin")
		}
	}
	d, notes, err := judge(p, set, selection.Conf{}, auto)
	if err != nil {
		return nil, nil, err
	}
	if !d.Selected {
		return nil, nil, fmt.Errorf("has no room for a sidecar: %s", d.Why)
	}
	config := d.Config
	user, err := proxysUser(config, p)
	if err != nil {
		return nil, nil, err
	}
	if s.MetricsPort == int(config.OutboundPort) || config.DNSCapture && s.MetricsPort == int(config.DNSPort) {
		return nil, nil, fmt.Errorf("port %d cannot be that of the sidecar's metrics as well: captured traffic goes there (outboundPort, dnsPort); name another with --metrics-port", s.MetricsPort)
	}
	containers := []container{s.proxy(f, p, config, user)}
	if !s.Plugin {
		// An agent that looks at the node leaves the pod to its own proxy.
		set[selection.AnnotationInject] = "false"
		containers = append([]container{s.rules(config)}, containers...)
	}
	return node(manifest{
		Metadata: metadata{set},
		Spec: &spec{
			InitContainers: containers,
			Volumes: []volume{
				{Name: resourcesVolume, ConfigMap: &configMap{s.ConfigMap}},
				{Name: scratchVolume, EmptyDir: &emptyDir{"8Mi"}},
			},
		},
	}), append(said, notes...), nil
}

// proxysUser is the user that the rules let pass: the proxy's alone, as everything else that
// runs as that user goes around the proxy.
func proxysUser(config rules.Config, p pod) (int, error) {
	if config.Exemption != rules.ExemptByUID || len(config.ExemptUIDs) == 0 {
		return 0, fmt.Errorf("exemption %q: a sidecar is known by its user; leave it out, and name the user in exemptUIDs if %s is taken", config.Exemption, uid)
	}
	user := config.ExemptUIDs[0]
	switch who := p.users[int64(user)]; {
	case len(config.ExemptGIDs) > 0:
		return 0, fmt.Errorf("exemptGIDs %v: with a sidecar they go around it; leave them out", config.ExemptGIDs)
	case len(config.ExemptUIDs) > 1:
		return 0, fmt.Errorf("exemptUIDs %v: with a sidecar all but the proxy's own go around it; name the proxy's alone", config.ExemptUIDs)
	case user == 0:
		return 0, errors.New("exemptUIDs 0: all that root does would go around the sidecar; name another user")
	case who != "":
		return 0, fmt.Errorf("exemptUIDs %d: %s runs as that user (runAsUser) and would go around the sidecar; name another user, as --exempt-uids=%d", user, who, user+1)
	}
	return int(user), nil
}

func annotationOf(field string) string {
	all := rules.Fields()
	return all[slices.IndexFunc(all, func(f rules.Field) bool { return f.Name == field })].Annotation
}

// rules is the container that makes the pod's rules before anything else of it runs.
func (s *Sidecar) rules(config rules.Config) container {
	args := []string{"rules", "apply", "--netns", "/proc/self/ns/net", "--pod-ip=$(POD_IP)", "--host-ip=$(HOST_IP)"}
	defaults := rules.Default()
	for _, f := range rules.Fields() {
		if f.Value(config) != f.Value(defaults) {
			args = append(args, "--"+f.Name+"="+f.Value(config))
		}
	}
	return container{
		Name: rulesContainer, Image: s.Image, Args: args,
		Env: []variable{
			fieldOf("POD_IP", "status.podIP"),
			fieldOf("HOST_IP", "status.hostIP"),
		},
		Resources: small,
		Security: security{
			User: 0, Group: 0, Escalation: false, ReadOnlyRoot: true,
			Capabilities: capabilities{Drop: []string{"ALL"}, Add: []string{"NET_ADMIN"}},
			Seccomp:      runtimeDefault,
		},
	}
}

// proxy is the sidecar: an init container that goes on (restartPolicy Always), so that it
// starts before the pod's own containers, ends after them, and keeps no Job from ending.
func (s *Sidecar) proxy(f object, p pod, config rules.Config, user int) container {
	args := []string{
		"proxy", "--config", "/etc/sluice", "--namespace", "$(POD_NAMESPACE)", "--pod", "$(POD_NAME)",
		"--metrics-listen", ":" + strconv.Itoa(s.MetricsPort),
	}
	if f.kind != "Pod" && f.name != "" {
		args = append(args, "--workload="+f.name)
	}
	if len(p.labels) > 0 {
		var labels []string
		for _, name := range slices.Sorted(maps.Keys(p.labels)) {
			labels = append(labels, name+"="+p.labels[name])
		}
		args = append(args, "--labels="+strings.Join(labels, ","))
	}
	if config.OutboundPort != rules.Default().OutboundPort {
		args = append(args, fmt.Sprintf("--listen=%d", config.OutboundPort))
	}
	if config.DNSCapture {
		everywhere := ""
		if len(config.RerouteInterfaces) > 0 {
			everywhere = "*:"
		}
		args = append(args, fmt.Sprintf("--dns-listen=%s%d", everywhere, config.DNSPort), "--state-dir=/tmp/state")
	}
	ready := httpGet{Path: "/readyz", Port: s.MetricsPort}
	return container{
		Name: proxyContainer, Image: s.Image, RestartPolicy: "Always", Args: args,
		Env: []variable{
			fieldOf("POD_NAME", "metadata.name"),
			fieldOf("POD_NAMESPACE", "metadata.namespace"),
			{Name: "POD_CONTAINER", Value: proxyContainer}, // for the commands in its hints
		},
		Resources: small,
		Security: security{
			User: user, Group: user, NonRoot: true, Escalation: false, ReadOnlyRoot: true,
			Capabilities: capabilities{Drop: []string{"ALL"}},
			Seccomp:      runtimeDefault,
		},
		Startup:   &probe{Get: ready, Period: 1, Failures: 60},
		Readiness: &probe{Get: ready, Period: 10, Failures: 3},
		Mounts: []mount{
			{Name: resourcesVolume, Path: "/etc/sluice", ReadOnly: true},
			{Name: scratchVolume, Path: "/tmp"}, // where 'sluice routes' and the like find the proxy
		},
	}
}
