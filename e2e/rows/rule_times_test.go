package rows

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/internal/await"
)

// renewed asks until the server has seen another connection.
func renewed(p *egress.Pod, host string, q egress.Request, pause time.Duration) {
	before := p.Net.Connections(host)
	await.True(p.T, "a connection is renewed", func() bool {
		<-time.After(pause)
		p.Ask(q).Want("200 " + host)
		return p.Net.Connections(host) > before
	})
}

func TestConnectionPoolHTTPIdleTimeout(t *testing.T) {
	t.Parallel()
	idle := func(settings string) func(*egress.Pod) {
		return func(p *egress.Pod) {
			resources := ""
			for host, protocol := range map[string]string{"one.test": "HTTP", "two.test": "HTTP2"} {
				p.Net.Web(host, 80, nil)
				resources += object("ServiceEntry", host, `{hosts: [`+host+`], ports: [{number: 80, name: p, protocol: `+protocol+`}], resolution: DNS}`) +
					object("DestinationRule", host, `{host: `+host+`, trafficPolicy: {connectionPool: {`+settings+`}}}`)
			}
			p.Apply(resources)
			for _, host := range []string{"one.test", "two.test"} {
				for _, v := range egress.Versions {
					q := egress.Request{URL: "http://" + host + "/", Version: v}
					p.Ask(q).Want("200 " + host)
					renewed(p, host, q, 400*time.Millisecond)
				}
			}
		}
	}
	row(t, "DR.connectionPool.http.idleTimeout", idle(`http: {idleTimeout: 300ms}, tcp: {idleTimeout: 1h}`))
	row(t, "DR.connectionPool.tcp.idleTimeout", idle(`tcp: {idleTimeout: 300ms}`))
}

func TestConnectionPoolTCPTimes(t *testing.T) {
	t.Parallel()
	row(t, "DR.connectionPool.tcp.idleTimeout", func(p *egress.Pod) {
		silent(p)
		p.Apply(object("ServiceEntry", "db", `{hosts: [db.test], addresses: [{{v4 "db.test"}}], ports: [{number: 5432, name: db, protocol: TCP}], resolution: DNS}`) +
			object("DestinationRule", "db", `{host: db.test, trafficPolicy: {connectionPool: {tcp: {idleTimeout: 300ms}}}}`))
		start := time.Now()
		p.Say("db.test:5432", "x")
		if took := time.Since(start); took < 300*time.Millisecond || took > 30*time.Second {
			p.T.Errorf("it ended after %v", took)
		}
	})
	row(t, "DR.connectionPool.tcp.maxConnectionDuration", func(p *egress.Pod) {
		silent(p)
		p.Net.Web("one.test", 80, nil)
		const rule = `trafficPolicy: {connectionPool: {tcp: {maxConnectionDuration: 300ms}}}}`
		p.Apply(web("one.test") + object("DestinationRule", "one", `{host: one.test, `+rule) +
			object("ServiceEntry", "db", `{hosts: [db.test], addresses: [{{v4 "db.test"}}], ports: [{number: 5432, name: db, protocol: TCP}], resolution: DNS}`) +
			object("DestinationRule", "db", `{host: db.test, `+rule))
		start := time.Now()
		p.Say("db.test:5432", "x").WantLine("DT", "outbound|5432||db.test")
		if took := time.Since(start); took < 300*time.Millisecond || took > 30*time.Second {
			p.T.Errorf("it ended after %v", took)
		}
		for _, v := range egress.Versions {
			q := egress.Request{URL: "http://one.test/", Version: v}
			p.Ask(q).Want("200 one.test")
			renewed(p, "one.test", q, 0) // though it is never idle
		}
	})
}

func TestConnectionPoolHTTPProtocol(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string][2]string{
		"h2UpgradePolicy: UPGRADE":        {"HTTP/2.0", "HTTP/2.0"},
		"h2UpgradePolicy: DO_NOT_UPGRADE": {"HTTP/1.1", "HTTP/1.1"},
		"useClientProtocol: true":         {"HTTP/1.1", "HTTP/2.0"},
	} {
		row(t, "DR.connectionPool.http.protocol", func(p *egress.Pod) {
			p.Net.Web("one.test", 80, nil)
			p.Apply(web("one.test") + object("DestinationRule", "one", `{host: one.test, trafficPolicy: {connectionPool: {http: {`+policy+`}}}}`))
			for i, v := range egress.Versions {
				if a := p.Ask(egress.Request{URL: "http://one.test/", Version: v}).Want("200 one.test"); a.Server.Proto != want[i] {
					p.T.Errorf("%s, %s: the server saw %s", policy, v, a.Server.Proto)
				}
			}
		})
	}
}

// silent serves db.test, which reads and says nothing.
func silent(p *egress.Pod) {
	p.Net.TCP("db.test", 5432, func(c net.Conn) { io.Copy(io.Discard, c) })
}

func TestConnectionPoolHTTP2KeepAlive(t *testing.T) {
	t.Parallel()
	row(t, "DR.connectionPool.http.http2KeepAlive", func(p *egress.Pod) {
		var pings, ends atomic.Int32
		p.Net.TCP("one.test", 80, func(c net.Conn) {
			defer ends.Add(1)
			answersNoPing(c, &pings)
		})
		p.Net.Web("two.test", 80, nil)
		const rule = `trafficPolicy: {connectionPool: {http: {http2KeepAlive: {interval: 100ms, timeout: 1s}}}}}`
		resources := ""
		for _, host := range []string{"one.test", "two.test"} {
			resources += object("ServiceEntry", host, `{hosts: [`+host+`], ports: [{number: 80, name: h2, protocol: HTTP2}], resolution: DNS}`) +
				object("DestinationRule", host, `{host: `+host+`, `+rule)
		}
		p.Apply(resources)
		for i, v := range egress.Versions {
			if a := p.Ask(egress.Request{URL: "http://one.test/", Version: v}); a.Status != 200 {
				p.T.Errorf("%s", a)
			}
			await.True(p.T, "a silent server's connection ends", func() bool { return int(ends.Load()) == i+1 })
		}
		if pings.Load() != 2 {
			p.T.Errorf("%d PINGs on two connections", pings.Load())
		}
		for range 5 { // one that answers is kept
			p.Ask(egress.Request{URL: "http://two.test/"}).Want("200 two.test")
			<-time.After(400 * time.Millisecond) // together for longer than the timeout
		}
		if n := p.Net.Connections("two.test"); n != 1 {
			p.T.Errorf("%d connections", n)
		}
	})
}

// answersNoPing serves HTTP/2 requests with 200, and leaves PINGs unanswered.
func answersNoPing(c net.Conn, pings *atomic.Int32) {
	io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
	f := http2.NewFramer(c, c)
	f.WriteSettings()
	for {
		got, err := f.ReadFrame()
		if err != nil {
			return
		}
		switch got := got.(type) {
		case *http2.SettingsFrame:
			if !got.IsAck() {
				f.WriteSettingsAck()
			}
		case *http2.PingFrame:
			pings.Add(1)
		case *http2.HeadersFrame:
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: got.StreamID, BlockFragment: []byte{0x88}, EndHeaders: true, EndStream: true}) // :status 200
		}
	}
}
