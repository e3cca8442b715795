package demo

import (
	"context"
	"fmt"
	"strings"

	"github.com/sluice-cni/sluice/internal/egresspage"
)

const everyRange = "*"

// story is the page, in its order.
func (w *world) story() []step {
	steps := []step{w.startPod("Before you begin")}
	steps = append(steps, w.closedByDefault()...)
	steps = append(steps, w.configureServices()...)
	steps = append(steps, w.makeRequests()...)
	steps = append(steps, w.setTimeout()...)
	steps = append(steps, w.callDirectly()...)
	return append(steps, w.cleanUp()...)
}

func (w *world) startPod(section string) step {
	return w.attachStep(section, "start the sleep pod: every destination goes to the proxy", everyRange, "")
}

func (w *world) closedByDefault() []step {
	refused := func(section, title, line string) step {
		return step{
			section: section, title: title, where: inPod, typed: line,
			expect: "502, and nothing reaches a server",
			do:     w.expectRefusal(line, "502"),
		}
	}
	tls := `curl -sS https://www.google.com`
	return []step{
		refused("By default nothing outside is reachable", "HTTP", statusOf("http://httpbin.org/headers")),
		refused("", "HTTP on another port", statusOf("http://www.google.com:443")),
		{
			title: "HTTPS", where: inPod, typed: tls,
			expect: "the connection is reset, and nothing reaches a server",
			do:     w.expectRefusal(tls, ""),
		},
	}
}

func (w *world) configureServices() []step {
	return []step{
		w.create("Configuring Istio external services", "allow access to an external HTTP service", egresspage.HTTPBin),
		w.create("", "allow access to an external HTTPS service, and originate TLS to it", egresspage.Google),
	}
}

func (w *world) makeRequests() []step {
	headers, google := "curl http://httpbin.org/headers", "curl http://www.google.com:443"
	return []step{
		{
			section: "Make requests to the external services",
			title:   "a request to the external HTTP service", where: inPod, typed: headers,
			expect: "httpbin.org answers with the headers it saw",
			do: w.run(inPod, headers, func(o outcome) bool {
				return o.exitCode == 0 && strings.Contains(o.output, `"Host": "httpbin.org"`) && reached(o.arrived, hostHTTPBin)
			}),
		},
		{
			title: "a request to the external HTTPS service, over HTTP with the port in the request", where: inPod, typed: google,
			expect: "www.google.com answers; it was asked over TLS with the name www.google.com",
			do:     w.originatedTLS(google),
		},
	}
}

// originatedTLS runs a plain request that must arrive over TLS with the right SNI.
func (w *world) originatedTLS(line string) func(context.Context) happened {
	return func(ctx context.Context) happened {
		o, err := w.typed(ctx, inPod, line)
		if err != nil {
			return broken(err)
		}
		ok := false
		lines := o.lines()
		for _, a := range o.arrived {
			lines = append(lines, fmt.Sprintf("%s was asked for %s, TLS server name %q", a.server, a.host, a.sni))
			ok = ok || a.server == hostGoogle && a.sni == hostGoogle
		}
		return as(ok && o.exitCode == 0 && strings.Contains(o.output, "over HTTPS"), lines...)
	}
}

func (w *world) setTimeout() []step {
	delay := `time curl -o /dev/null -s -w "%{http_code}\n" http://httpbin.org/delay/5`
	return []step{
		{
			section: "Setting route rules on an external service",
			title:   "a slow answer", where: inPod, typed: delay,
			expect: "200 in approximately 5 seconds",
			do:     w.timed(delay, "200", 5),
		},
		w.create("", "set a 3s timeout on calls to httpbin.org", egresspage.Timeout),
		{
			title: "the slow answer again", where: inPod, typed: delay,
			expect: "504 after 3 seconds",
			do:     w.timed(delay, "504", 3),
		},
	}
}

func (w *world) cleanUp() []step {
	steps := []step{w.startPod("Cleanup")}
	steps[0].title = "back to the default: every destination goes to the proxy"
	for _, names := range []string{
		"ServiceEntry httpbin-ext google-ext",
		"destinationrule google-ext",
		"virtualservice httpbin-ext",
		"serviceentry in-cluster",
	} {
		steps = append(steps, w.delete("remove "+names, names))
	}
	for _, url := range []string{"http://httpbin.org/headers", "http://www.google.com:443", "http://" + serviceHosts[0] + "/"} {
		line := statusOf(url)
		steps = append(steps, step{
			title: "it is not reachable any more", where: inPod, typed: line,
			expect: "502, and nothing reaches a server",
			do:     w.expectRefusal(line, "502"),
		})
	}
	return append(steps, w.removeStep())
}

// statusOf is a request that prints nothing but the status.
func statusOf(url string) string { return `curl -s -o /dev/null -w "%{http_code}\n" ` + url }
