package proxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	eventloop "github.com/sluice-cni/sluice/proxy/loop"
	"github.com/sluice-cni/sluice/proxy/metrics"
)

// counted is a rig whose proxy counts, and the endpoint that shows it.
type counted struct {
	*rig
	endpoint string
	workload *metrics.Workload
}

func newCounted(t testing.TB, yaml string, change ...func(*proxy.Config)) *counted {
	t.Helper()
	m := metrics.New("test")
	who := mesh.Workload{Namespace: "default", Name: "shop", Labels: map[string]string{"app": "shop"}}
	c := &counted{workload: m.Workload(who)}
	c.rig = newRig(t, mesh.RegistryOnly, yaml, append(change, func(cfg *proxy.Config) {
		cfg.Observer, cfg.Workload = c.workload, who
	})...)
	c.workload.Watch(c.server)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.endpoint = "http://" + l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- metrics.Endpoint{Metrics: m, Ready: c.server.Ready}.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return c
}

func (c *counted) fetch(path string) (int, string) {
	c.t.Helper()
	resp, err := http.Get(c.endpoint + path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func (c *counted) scrape() map[string]*dto.MetricFamily {
	c.t.Helper()
	_, text := c.fetch("/metrics")
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		c.t.Fatal(err)
	}
	return families
}

// value adds up the series of a metric that have all the labels; of histograms the counts.
func value(families map[string]*dto.MetricFamily, name string, labels ...string) (sum float64, found int) {
	for _, x := range families[name].GetMetric() {
		have := map[string]bool{}
		for _, l := range x.Label {
			have[l.GetName()+"="+l.GetValue()] = true
		}
		all := true
		for _, l := range labels {
			all = all && have[l]
		}
		if all {
			sum += x.GetCounter().GetValue() + x.GetGauge().GetValue() + float64(x.GetHistogram().GetSampleCount())
			found++
		}
	}
	return sum, found
}

// eventually waits for a sum: what a client sees comes before what is counted.
func (c *counted) eventually(want float64, name string, labels ...string) {
	c.t.Helper()
	var got float64
	if !await.Within(await.Patience, func() bool { got, _ = value(c.scrape(), name, labels...); return got == want }) {
		c.t.Errorf("%s%v is %v, want %v", name, labels, got, want)
	}
}

// scraped is counted for many questions after the last request: they are asked of what
// was scraped last, for as long as that answers them.
type scraped struct {
	*counted
	families map[string]*dto.MetricFamily
}

func (s *scraped) eventually(want float64, name string, labels ...string) {
	s.t.Helper()
	if got, _ := value(s.families, name, labels...); s.families == nil || got != want {
		s.counted.eventually(want, name, labels...)
		s.families = s.scrape()
	}
}

func TestWhatAProxyDoesIsSeenInItsMetrics(t *testing.T) {
	t.Parallel()
	ok := serve(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); io.WriteString(w, "hello") })
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	slow := serve(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	})
	echo := tcpServer(t, func(c *net.TCPConn) { io.Copy(c, c); c.CloseWrite() })
	closed := "127.0.0.1:1"
	c := newCounted(t, static("ok", "ok.test", "HTTP", 80, ok)+
		static("slow", "slow.test", "HTTP", 80, slow)+timeout("slow.test", "50ms")+
		static("closed", "closed.test", "HTTP", 80, closed)+
		static("tls", "tls.test", "TLS", 443, echo)+
		static("tcp", "tcp.test", "TCP", 5000, echo)+
		static("plain", "plain.test", "HTTP", 80, ok)+`
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: plain}
spec: {host: plain.test, trafficPolicy: {tls: {mode: SIMPLE}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: nowhere}
spec: {hosts: [nowhere.test], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}
`, func(cfg *proxy.Config) { cfg.Loops = &eventloop.Group{Size: 1} }) // each loop keeps connections of its own
	for range 3 {
		c.get("http://ok.test/")
		// the application has its answer before the connection is back for the next
		c.eventually(1, "sluice_upstream_connections", "upstream_cluster=outbound|80||ok.test", "state=idle")
	}
	c.get("http://slow.test/")
	c.get("http://closed.test/")
	c.get("http://plain.test/")
	c.get("http://nowhere.test/")
	c.get("http://stranger.test/")
	c.raw("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")

	c.to("203.0.113.1:5000")
	if got := c.raw("12345"); got != "12345" {
		t.Errorf("%q", got)
	}
	c.to("203.0.113.1:443")
	hello := tls.Client(c.dial(), &tls.Config{ServerName: "tls.test", InsecureSkipVerify: true})
	hello.Handshake() // the echo makes no sense of it, but it passes
	hello.Close()
	other := tls.Client(c.dial(), &tls.Config{ServerName: "stranger.test", InsecureSkipVerify: true})
	other.Handshake()
	other.Close()

	s := &scraped{counted: c} // nothing is asked of the proxy from here on
	const requests, duration = "istio_requests_total", "istio_request_duration_milliseconds"
	s.eventually(3, requests, "destination_service=ok.test", "response_code=200", "response_flags=-", "source_app=shop",
		"source_workload=shop", "reporter=source", "request_protocol=http", "destination_service_namespace=default")
	s.eventually(3, duration, "destination_service=ok.test")
	s.eventually(3, "istio_request_bytes", "destination_service_name=ok.test")
	s.eventually(3, "istio_response_bytes", "destination_service_name=ok.test")
	s.eventually(1, requests, "destination_service=slow.test", "response_code=504", "response_flags=UT")
	s.eventually(1, requests, "destination_service=closed.test", "response_code=503", "response_flags=UF,URX")
	s.eventually(1, requests, "destination_service=plain.test", "response_code=503", "response_flags=UF,URX")
	s.eventually(1, requests, "destination_service=nowhere.test", "response_code=503", "response_flags=UH")
	s.eventually(1, requests, "destination_service=unknown", "destination_service_name=BlackHoleCluster", "response_code=502")
	s.eventually(1, requests, "destination_service_name=unknown", "response_code=400", "response_flags=DPE")
	s.eventually(9, requests)

	s.eventually(1, "istio_tcp_connections_opened_total", "destination_service=tcp.test", "request_protocol=tcp")
	s.eventually(1, "istio_tcp_connections_closed_total", "destination_service=tcp.test", "response_flags=-")
	s.eventually(5, "istio_tcp_received_bytes_total", "destination_service=tcp.test")
	s.eventually(5, "istio_tcp_sent_bytes_total", "destination_service=tcp.test")
	s.eventually(1, "istio_tcp_connections_opened_total", "destination_service=tls.test")
	s.eventually(1, "istio_tcp_connections_closed_total", "destination_service=tls.test")
	s.eventually(1, "istio_tcp_connections_closed_total", "destination_service_name=BlackHoleCluster", "response_flags=UH")

	s.eventually(2, "sluice_refused_total", "reason=unregistered", "source_workload=shop")
	s.eventually(1, "sluice_refused_total", "reason=malformed")
	s.eventually(1, "sluice_refused_total", "reason=dns")
	s.eventually(3, "sluice_upstream_connect_failures_total", "reason=refused")
	s.eventually(3, "sluice_upstream_connect_failures_total", "reason=tls_not_spoken")
	s.eventually(4, "sluice_upstream_retries_total", "source_workload=shop")
	s.eventually(3, "sluice_tls_handshake_failures_total", "reason=not_spoken")
	s.eventually(1, "sluice_upstream_connections", "upstream_cluster=outbound|80||ok.test", "state=idle")
	s.eventually(0, "sluice_upstream_connections", "state=active")
	s.eventually(1, "sluice_config_generation")
	if open, _ := value(c.scrape(), "sluice_connections"); open < 0 {
		t.Errorf("%v open connections", open)
	}
}

func TestRandomNamesAddNoSeries(t *testing.T) {
	t.Parallel()
	ok := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	entry := static("w", "*.wild.test", "HTTP", 80, ok)
	began := time.Now()
	c := newCounted(t, entry)
	count := func() (n int) {
		for _, f := range c.scrape() {
			for _, x := range f.Metric {
				n += 1 + len(x.GetHistogram().GetBucket())
			}
		}
		return n
	}
	try := func(n int) { // pipelined: it is the names that matter
		conn := c.dial()
		conn.SetDeadline(time.Time{})
		answers := bufio.NewReader(conn)
		for range n / 10 {
			var batch strings.Builder
			for range 5 {
				fmt.Fprintf(&batch, "GET / HTTP/1.1\r\nHost: %x.example\r\n\r\nGET / HTTP/1.1\r\nHost: %x.wild.test\r\n\r\n", rand.Uint64(), rand.Uint64())
			}
			io.WriteString(conn, batch.String())
			for range 10 {
				resp, err := http.ReadResponse(answers, nil)
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
			}
		}
	}
	try(10)
	c.eventually(10, "istio_requests_total")
	before := count()
	const many = 2_000
	try(many)
	c.eventually(many/2+5, "istio_requests_total", "destination_service=*.wild.test")
	c.eventually(many/2+5, "istio_requests_total", "destination_service_name=BlackHoleCluster")
	if after := count(); after != before {
		t.Errorf("%d series before, %d after %d names", before, after, many)
	}
	// Notices of different names are bounded by their rate: ten a second.
	lines, seconds := strings.Count(c.log.String(), "\n"), time.Since(began).Seconds()
	if float64(lines) > 100+20*seconds {
		t.Errorf("the log has %d lines after %.1f s", lines, seconds)
	}
}

func TestTheEndpointTellsHealth(t *testing.T) {
	t.Parallel()
	c := newCounted(t, "")
	await.True(t, "it is ready", func() bool { code, _ := c.fetch("/readyz"); return code == 200 })
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/stats/prometheus": 200, "/": 404, "/debug/pprof/": 404} {
		if code, _ := c.fetch(path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	if resp, err := http.Post(c.endpoint+"/metrics", "text/plain", nil); err != nil || resp.StatusCode != 405 {
		t.Errorf("POST: %v %v", resp, err)
	}
	c.stop()
	err := <-c.ended
	c.ended <- err
	if code, text := c.fetch("/readyz"); code != 503 || !strings.Contains(text, "stopping") {
		t.Errorf("while stopping: %d %s", code, text)
	}
}
