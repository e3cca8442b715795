package rows

import (
	"net/http"
	"sync"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/internal/await"
)

// hold serves a host whose answers to /hold wait until they are released.
func hold(p *egress.Pod, host string, port int) (release func()) {
	held := make(chan struct{})
	p.Net.Web(host, port, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			select {
			case <-held:
			case <-r.Context().Done():
			}
		}
	}))
	return sync.OnceFunc(func() { close(held) })
}

// ask sends n requests at once and returns their answers as they come.
func ask(p *egress.Pod, n int, q egress.Request) <-chan *egress.Answer {
	answers := make(chan *egress.Answer, n)
	for range n {
		go func() { answers <- p.Ask(q) }()
	}
	return answers
}

const overflow = "503 UO upstream connect error or disconnect/reset before headers. reset reason: overflow"

// One connection, one request that waits: whoever comes beyond gets 503 at once.
func TestConnectionPoolMaxConnections(t *testing.T) {
	t.Parallel()
	for _, v := range egress.Versions {
		row(t, "DR.connectionPool.tcp.maxConnections", func(p *egress.Pod) {
			release := hold(p, "one.test", 80)
			p.Apply(web("one.test") + object("DestinationRule", "one",
				`{host: one.test, trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}}}`))
			held := ask(p, 1, egress.Request{URL: "http://one.test/hold", Version: v})
			await.True(p.T, "a request is held", func() bool { return len(p.Net.Seen("one.test")) == 1 })
			rest := ask(p, 50, egress.Request{URL: "http://one.test/", Version: v})
			for range 49 {
				if a := <-rest; a.Want(overflow).Header.Get("x-envoy-overloaded") != "true" {
					p.T.Errorf("%v", a.Header)
				}
			}
			release()
			(<-rest).Want("200 one.test")
			(<-held).Want("200 one.test")
			if n := p.Net.Connections("one.test"); n != 1 {
				p.T.Errorf("%d connections", n)
			}
		})
	}
	row(t, "DR.connectionPool.tcp.maxConnections", func(p *egress.Pod) {
		release := hold(p, "one.test", 80)
		p.Apply(web("one.test") + object("DestinationRule", "one", `{host: one.test, trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}}}`))
		all := ask(p, 50, egress.Request{URL: "http://one.test/hold"})
		await.True(p.T, "a request is held", func() bool { return len(p.Net.Seen("one.test")) == 1 })
		release()
		for range 50 { // as many as like may wait
			(<-all).Want("200 one.test")
		}
		if n := p.Net.Connections("one.test"); n != 1 {
			p.T.Errorf("%d connections", n)
		}
	})
}

func TestConnectionPoolHTTPLimits(t *testing.T) {
	t.Parallel()
	for _, v := range egress.Versions {
		row(t, "DR.connectionPool.http.limits", func(p *egress.Pod) {
			release := hold(p, "one.test", 80)
			p.Apply(web("one.test") + object("DestinationRule", "one", `{host: one.test, trafficPolicy: {connectionPool: {http: {http2MaxRequests: 2}}}}`))
			held := ask(p, 2, egress.Request{URL: "http://one.test/hold", Version: v})
			await.True(p.T, "requests are held", func() bool { return len(p.Net.Seen("one.test")) == 2 })
			for range 3 {
				p.Ask(egress.Request{URL: "http://one.test/", Version: v}).Want(overflow).WantLine("UO", "outbound|80||one.test")
			}
			release()
			for range 2 {
				(<-held).Want("200 one.test")
			}
		})
		row(t, "DR.connectionPool.http.limits", func(p *egress.Pod) {
			p.Net.Web("one.test", 80, nil)
			p.Apply(web("one.test") + object("DestinationRule", "one", `{host: one.test, trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}}}`))
			for range 5 {
				p.Ask(egress.Request{URL: "http://one.test/", Version: v}).Want("200 one.test")
			}
			if n := p.Net.Connections("one.test"); n != 5 {
				p.T.Errorf("%d connections for five requests", n)
			}
		})
		row(t, "DR.connectionPool.http.limits", func(p *egress.Pod) {
			release := hold(p, "one.test", 80)
			p.Apply(object("ServiceEntry", "one", `{hosts: [one.test], ports: [{number: 80, name: h2, protocol: HTTP2}], resolution: DNS}`) +
				object("DestinationRule", "one", `{host: one.test, trafficPolicy: {connectionPool: {http: {maxConcurrentStreams: 2}}}}`))
			held := ask(p, 6, egress.Request{URL: "http://one.test/hold", Version: v})
			await.True(p.T, "requests are held", func() bool { return len(p.Net.Seen("one.test")) == 6 })
			release()
			for range 6 {
				(<-held).Want("200 one.test")
			}
			if n := p.Net.Connections("one.test"); n != 3 {
				p.T.Errorf("%d connections for six streams", n)
			}
		})
	}
}
