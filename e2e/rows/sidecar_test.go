package rows

import (
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/mesh"
)

// sees checks which of some hosts a pod sees, by plain HTTP and both its versions.
func sees(p *egress.Pod, want map[string]bool) {
	p.T.Helper()
	for host, visible := range want {
		result := "502 -"
		if visible {
			result = "200 " + host
		}
		both(p, "http://"+host, result)
	}
}

func TestSidecarWorkloadSelector(t *testing.T) {
	t.Parallel()
	// The host that the workload's Sidecar lets it see.
	for _, c := range []struct {
		workload mesh.Workload
		want     string
	}{
		{mesh.Workload{Namespace: "team", Labels: map[string]string{"app": "web", "tier": "1"}}, "selected.test"},
		{mesh.Workload{Namespace: "team", Labels: map[string]string{"app": "other"}}, "namespace.test"},
		{mesh.Workload{Namespace: "team"}, "namespace.test"},
		{mesh.Workload{Namespace: "another", Labels: map[string]string{"app": "web"}}, "root.test"},
	} {
		rowWith(t, "Sidecar.workloadSelector", egress.Options{Workload: c.workload}, func(p *egress.Pod) {
			hosts := []string{"selected.test", "namespace.test", "root.test"}
			want := map[string]bool{}
			for _, host := range hosts {
				p.Net.Web(host, 80, nil)
				want[host] = host == c.want
			}
			p.Apply(web(hosts...) +
				in("istio-system", "Sidecar", "root", `{egress: [{hosts: ["*/root.test"]}]}`) +
				in("team", "Sidecar", "namespace", `{egress: [{hosts: ["*/namespace.test"]}]}`) +
				in("team", "Sidecar", "selected", `{workloadSelector: {labels: {app: web}}, egress: [{hosts: ["*/selected.test"]}]}`))
			sees(p, want)
		})
	}
}

func TestSidecarEgressHosts(t *testing.T) {
	t.Parallel()
	o := egress.Options{Workload: mesh.Workload{Namespace: "team"}}
	rowWith(t, "Sidecar.egress.hosts", o, func(p *egress.Pod) {
		var entries string
		for host, namespace := range map[string]string{
			"own.test": "team", "one.shared.test": "shared", "two.shared.test": "shared", "free.test": "third", "bound.test": "third",
		} {
			p.Net.Web(host, 80, nil)
			entries += in(namespace, "ServiceEntry", host, `{hosts: [`+host+`], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}`)
		}
		for _, c := range []struct{ hosts, want string }{
			{`["./*"]`, "own"},
			{`["shared/one.shared.test", "./*"]`, "own one"},
			{`["shared/*.shared.test"]`, "one two"},
			{`["*/free.test"]`, "free"},
			{`["*/*"]`, "own one two free bound"},
			{`["~/*"]`, ""},
			{`["third/*"]`, "free bound"},
		} {
			p.Apply(entries + in("team", "Sidecar", "default", `{egress: [{hosts: `+c.hosts+`}]}`))
			sees(p, map[string]bool{
				"own.test": has(c.want, "own"), "one.shared.test": has(c.want, "one"), "two.shared.test": has(c.want, "two"),
				"free.test": has(c.want, "free"), "bound.test": has(c.want, "bound"),
			})
		}
		p.Apply(entries) // without a Sidecar, all that is exported
		sees(p, map[string]bool{"own.test": true, "one.shared.test": true, "free.test": true})
	})
	rowWith(t, "Sidecar.egress.captureMode", o, func(p *egress.Pod) {
		p.Net.Web("own.test", 80, nil)
		for _, mode := range []string{"DEFAULT", "IPTABLES"} {
			issues := p.Apply(web("own.test") + in("team", "Sidecar", "default", `{egress: [{captureMode: `+mode+`, hosts: ["*/*"]}]}`))
			if len(issues) != 0 {
				p.T.Errorf("%s: %s", mode, issues)
			}
			both(p, "http://own.test", "200 own.test")
		}
		if issues := p.Offer(in("team", "Sidecar", "default", `{egress: [{captureMode: NONE, hosts: ["*/*"]}]}`)); !issues.HasErrors() {
			p.T.Errorf("NONE: %s", issues)
		}
	})
}

func has(list, name string) bool {
	for len(list) >= len(name) {
		if list[:len(name)] == name {
			return true
		}
		list = list[1:]
	}
	return false
}

func TestSidecarOutboundTrafficPolicy(t *testing.T) {
	t.Parallel()
	for _, policy := range []mesh.OutboundPolicy{mesh.RegistryOnly, mesh.AllowAny} {
		rowWith(t, "Sidecar.outboundTrafficPolicy.mode", egress.Options{Policy: policy}, func(p *egress.Pod) {
			for _, host := range []string{"own.test", "stranger.test"} {
				p.Net.Web(host, 80, nil)
			}
			for _, c := range []struct {
				sidecar string
				allowed bool
			}{
				{"", policy == mesh.AllowAny},
				{object("Sidecar", "s", `{egress: [{hosts: ["*/*"]}]}`), policy == mesh.AllowAny}, // the mesh's
				{object("Sidecar", "s", `{outboundTrafficPolicy: {mode: REGISTRY_ONLY}}`), false},
				{object("Sidecar", "s", `{outboundTrafficPolicy: {mode: ALLOW_ANY}}`), true},
			} {
				p.Apply(web("own.test") + c.sidecar)
				sees(p, map[string]bool{"own.test": true, "stranger.test": c.allowed})
			}
		})
	}
	row(t, "Sidecar.outboundTrafficPolicy.ALLOW_ANY", func(p *egress.Pod) {
		for _, host := range []string{"own.test", "stranger.test"} {
			p.Net.Web(host, 80, nil)
			p.Net.Web(host, 8080, nil)
			p.Net.WebTLS(host, 443, nil)
			p.Net.TCP(host, 5432, nil)
			p.Net.TCP(host, 9000, nil)
		}
		allow := object("Sidecar", "s", `{outboundTrafficPolicy: {mode: ALLOW_ANY}}`)
		for what, entries := range map[string]string{
			"nothing is registered": "",
			"each port is": object("ServiceEntry", "own", `{hosts: [own.test], resolution: DNS, ports: [{number: 80, name: a, protocol: HTTP},
  {number: 443, name: b, protocol: TLS}, {number: 5432, name: c, protocol: TCP}, {number: 8080, name: d, protocol: HTTP2}]}`),
			"as TCP": object("ServiceEntry", "own", `{hosts: [own.test], resolution: DNS, ports: [{number: 80, name: a, protocol: TCP},
  {number: 443, name: b, protocol: TCP}, {number: 5432, name: c, protocol: TCP}, {number: 8080, name: d, protocol: TCP}]}`),
		} {
			p.Apply(allow + entries)
			for _, v := range egress.Versions {
				for _, url := range []string{"http://stranger.test", "http://stranger.test:8080", "https://stranger.test"} {
					if got := p.Ask(egress.Request{URL: url, Version: v}).String(); got != "200 stranger.test" {
						p.T.Errorf("%s: %s %s: %s", what, v, url, got)
					}
				}
			}
			for _, port := range []string{"5432", "9000"} {
				if got := p.Say("stranger.test:"+port, "").String(); got != "stranger.test" {
					p.T.Errorf("%s: TCP port %s: %s", what, port, got)
				}
			}
		}
	})
}

func TestSidecarEgressProxy(t *testing.T) {
	t.Parallel()
	row(t, "Sidecar.outboundTrafficPolicy.egressProxy", func(p *egress.Pod) {
		p.Net.Web("known.test", 80, nil)
		p.Net.Name("strange.test")
		p.Net.Web("proxy.test", 3128, nil)
		p.Net.WebTLS("proxy.test", 3129, nil)
		p.Net.TCP("proxy.test", 3130, nil)
		entries := web("known.test") + object("ServiceEntry", "proxy", `{hosts: [proxy.test], resolution: DNS, ports: [
  {number: 3128, name: http, protocol: HTTP}, {number: 3129, name: tls, protocol: TLS}, {number: 3130, name: tcp, protocol: TCP}]}`)
		to := func(destination string) mesh.Issues {
			return p.Apply(entries + object("Sidecar", "s", `{outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {`+destination+`}}}`))
		}
		to("host: proxy.test, port: {number: 3128}")
		both(p, "http://known.test/", "200 known.test")
		for _, v := range egress.Versions {
			a := p.Ask(egress.Request{URL: "http://strange.test/x", Version: v})
			if a.Want("200 proxy.test").WantLine("-", "outbound|3128||proxy.test"); a.Server.Host != "strange.test" || a.Server.Path != "/x" {
				p.T.Errorf("%s: %+v", v, a.Server)
			}
		}
		to("host: proxy.test, port: {number: 3129}")
		p.Handshake("strange.test:443", "strange.test").Want("proxy.test")
		to("host: proxy.test, port: {number: 3130}")
		p.Say("strange.test:9000", "").Want("proxy.test").WantLine("-", "outbound|3130||proxy.test")
		if issues := to("host: nobody.test, port: {number: 80}"); len(issues) != 1 {
			p.T.Errorf("of a proxy that nobody registers is said:\n%s", issues)
		}
		both(p, "http://strange.test/", "503 NC")
		p.Say("strange.test:9000", "\x01").Want("reset").WantLine("NC", "outbound|80||nobody.test")
	})
}
