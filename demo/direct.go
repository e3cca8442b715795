package demo

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// callDirectly is the page's "Calling external services directly".
func (w *world) callDirectly() []step {
	steps := []step{
		w.create("Calling external services directly", "register the cluster's own services, as Kubernetes would", inCluster()),
		w.portProbe("a database outside, which speaks no HTTP, is not reachable through the proxy", w.databaseProbe(), route{to: hostDatabase, via: nowhere}),
	}
	for _, p := range providers {
		if p.name == "IBM Cloud Private" {
			steps = append(steps, w.lookUpRange())
		}
		steps = append(steps, w.attachStep("", p.name+": --includeIPRanges="+p.ranges, p.ranges, p.note))
		steps[len(steps)-1].do = w.reattach(p)
		steps = append(steps,
			w.portProbe("outside: straight", webProbe("http://httpbin.org/headers"), route{hostHTTPBin, straight, "200"}),
			w.portProbe("outside, no HTTP: straight", w.databaseProbe(), route{hostDatabase, straight, ""}),
		)
		for i := range p.services {
			steps = append(steps, w.portProbe("inside the cluster: through the proxy",
				webProbe("http://"+serviceHosts[i]+"/"), route{"the cluster", throughProxy, "200"}))
		}
	}
	return steps
}

// way is how a connection went.
type way string

const (
	straight     way = "straight"
	throughProxy way = "through the proxy"
	nowhere      way = "nowhere"
)

// route is where a probe should arrive, how, and with which status.
type route struct {
	to     string
	via    way
	status string // "" when the protocol has none
}

func (r route) String() string {
	if r.via == nowhere {
		return "no answer, and nothing reaches " + r.to
	}
	s := r.to + " is reached " + string(r.via)
	if r.status != "" {
		s = r.status + ", and " + s
	}
	return s
}

// A probe prints the local port it used. A server that accepted that very port
// was reached straight; any other port belongs to the proxy.
const portFormat = `-w "from port %{local_port}\n"`

func (w *world) databaseProbe() string {
	return w.rawClient + ` -sS -m 5 ` + portFormat + ` telnet://` + hostDatabase + `:27017`
}

func webProbe(url string) string {
	return `curl -s -o /dev/null -w "%{http_code} from port %{local_port}\n" ` + url
}

var localPort = regexp.MustCompile(`from port (\d+)`)

func (w *world) portProbe(title, line string, want route) step {
	return step{
		title: title, where: inPod, typed: line,
		expect: want.String(),
		do: func(ctx context.Context) happened {
			o, err := w.typed(ctx, inPod, line)
			if err != nil {
				return broken(err)
			}
			via, evidence := o.way(want.to)
			ok := via == want.via && strings.HasPrefix(o.output, want.status)
			return as(ok, append(o.lines(), evidence)...)
		},
	}
}

// way says how the connection went, and how that is known.
func (o outcome) way(server string) (way, string) {
	used := 0
	if m := localPort.FindStringSubmatch(o.output); m != nil {
		used, _ = strconv.Atoi(m[1])
	}
	for _, a := range o.arrived {
		if a.server != server {
			continue
		}
		if int(a.from.Port()) == used {
			return straight, fmt.Sprintf("%s accepted that very port: %s", server, straight)
		}
		return throughProxy, fmt.Sprintf("%s accepted port %d, the proxy's: %s", server, a.from.Port(), throughProxy)
	}
	return nowhere, "nothing reached " + server
}

// reattach replaces the pod by one that captures the provider's ranges only.
func (w *world) reattach(p provider) func(context.Context) happened {
	return func(ctx context.Context) happened {
		w.upstream.move(p)
		return w.replacePod(ctx, p.ranges)
	}
}

func (w *world) lookUpRange() step {
	line := "cat cluster/config.yaml | grep service_cluster_ip_range"
	return step{
		title: "IBM Cloud Private: the range is in its configuration file", where: onNode, typed: line,
		expect: "service_cluster_ip_range: 10.0.0.1/24",
		do: w.run(onNode, line, func(o outcome) bool {
			return strings.TrimSpace(o.output) == "service_cluster_ip_range: 10.0.0.1/24"
		}),
	}
}
