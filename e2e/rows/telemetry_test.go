package rows

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/proxy/metrics"
)

// What Istio's telemetry says of egress. These rows are of no resource, so mesh.Rows
// does not have them.

// counted is a pod whose proxy is counted.
func counted(t *testing.T, w mesh.Workload, body func(*egress.Pod, *metrics.Metrics)) {
	t.Helper()
	m := metrics.New("test")
	p := egress.New(t, egress.Options{Workload: w, Proxy: func(c *proxy.Config) { c.Observer = m.Workload(w) }})
	body(p, m)
}

// series are those of a metric whose labels have what is wanted.
func series(t *testing.T, m *metrics.Metrics, name string, want map[string]string) (found []*dto.Metric) {
	t.Helper()
	families, err := m.Registry().Gather()
	egress.Must(t, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, s := range f.Metric {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(want)), func(k string) bool { return label(s, k) != want[k] }) {
				found = append(found, s)
			}
		}
	}
	return found
}

func label(s *dto.Metric, name string) string {
	for _, l := range s.Label {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// counts waits until the series that have some labels sum up to a number.
func counts(t *testing.T, m *metrics.Metrics, name string, want map[string]string, n float64) {
	t.Helper()
	await.True(t, fmt.Sprintf("%s%v is %v", name, want, n), func() bool {
		sum := 0.0
		for _, s := range series(t, m, name, want) {
			sum += s.GetCounter().GetValue() + float64(s.GetHistogram().GetSampleCount())
		}
		return sum == n
	})
}

func TestTelemetryHTTPMetrics(t *testing.T) {
	t.Parallel()
	w := mesh.Workload{Namespace: "team", Name: "shop", Labels: map[string]string{"app": "shop", "version": "v3"}}
	counted(t, w, func(p *egress.Pod, m *metrics.Metrics) {
		p.Net.Web("own.test", 80, nil)
		p.Net.Web("grpc.test", 50051, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			rw.Header().Set("Content-Type", "application/grpc")
			rw.Header().Set("Trailer", "Grpc-Status")
			rw.Write([]byte("\x00\x00\x00\x00\x02ok"))
			rw.Header().Set("Grpc-Status", "0")
		}))
		p.Apply(web("own.test") + object("ServiceEntry", "grpc", `{hosts: [grpc.test], ports: [{number: 50051, name: grpc, protocol: GRPC}], resolution: DNS}`))
		for _, v := range egress.Versions {
			p.Ask(egress.Request{URL: "http://own.test", Version: v}).Want("200 own.test")
			p.Ask(egress.Request{URL: "http://stranger.test/", At: p.Net.Lookup("own.test", "IPv4") + ":80", Version: v}).Want("502 -")
		}
		p.Ask(egress.Request{URL: "http://grpc.test:50051/a.B/C", Method: "POST", Version: egress.HTTP2, Body: "\x00\x00\x00\x00\x02hi",
			Header: map[string]string{"Content-Type": "application/grpc", "TE": "trailers"}}).Want("200 grpc.test")
		all := map[string]string{
			"reporter": "source", "source_workload": "shop", "source_workload_namespace": "team", "source_app": "shop", "source_version": "v3",
			"source_canonical_service": "shop", "source_canonical_revision": "v3", "source_principal": "unknown", "source_cluster": "unknown",
			"destination_service": "own.test", "destination_service_name": "own.test", "destination_service_namespace": "default",
			"destination_workload": "unknown", "destination_principal": "unknown", "request_protocol": "http", "response_code": "200",
			"response_flags": "-", "grpc_response_status": "", "connection_security_policy": "unknown",
		}
		for _, name := range []string{"istio_requests_total", "istio_request_duration_milliseconds", "istio_request_bytes", "istio_response_bytes"} {
			counts(t, m, name, all, 2)
		}
		counts(t, m, "istio_requests_total", map[string]string{"destination_service_name": "BlackHoleCluster", "response_code": "502"}, 2)
		grpc := map[string]string{"destination_service": "grpc.test", "request_protocol": "grpc", "grpc_response_status": "0"}
		for _, name := range []string{"istio_requests_total", "istio_request_messages_total", "istio_response_messages_total"} {
			counts(t, m, name, grpc, 1)
		}
		if n := series(t, m, "istio_requests_total", map[string]string{"destination_service": "stranger.test"}); len(n) != 0 {
			t.Errorf("a name that a client invented is a label: %v", n)
		}
		buckets := series(t, m, "istio_request_duration_milliseconds", all)[0].GetHistogram().Bucket
		var bounds []string
		for _, b := range buckets {
			bounds = append(bounds, fmt.Sprint(b.GetUpperBound()))
		}
		const want = "0.5 1 5 10 25 50 100 250 500 1000 2500 5000 10000 30000 60000 300000 600000 1.8e+06 3.6e+06"
		if got := strings.TrimSuffix(strings.Join(bounds, " "), " +Inf"); got != want {
			t.Errorf("buckets %s, want %s", got, want)
		}
	})
}

func TestTelemetryTCPMetrics(t *testing.T) {
	t.Parallel()
	counted(t, mesh.Workload{Name: "shop"}, func(p *egress.Pod, m *metrics.Metrics) {
		p.Net.TCP("db.test", 5432, nil)
		p.Net.TCP("stranger.test", 5432, nil)
		p.Net.WebTLS("tls.test", 443, nil)
		p.Apply(object("ServiceEntry", "db", `{hosts: [db.test], ports: [{number: 5432, name: db, protocol: TCP}], resolution: DNS}`) +
			object("ServiceEntry", "tls", `{hosts: [tls.test], ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS}`))
		p.Say("db.test:5432", "").Want("db.test")
		p.Handshake("tls.test:443", "tls.test").Want("tls.test")
		p.Handshake("tls.test:443", "stranger.test").Want("reset")
		db := map[string]string{"destination_service": "db.test", "request_protocol": "tcp", "source_workload": "shop", "reporter": "source"}
		for _, name := range []string{"istio_tcp_connections_opened_total", "istio_tcp_connections_closed_total"} {
			counts(t, m, name, db, 1)
			counts(t, m, name, map[string]string{"destination_service": "tls.test"}, 1)
			counts(t, m, name, map[string]string{"destination_service_name": "BlackHoleCluster"}, 1)
		}
		counts(t, m, "istio_tcp_sent_bytes_total", db, float64(len("db.test")))
		counts(t, m, "istio_tcp_received_bytes_total", db, 0)
	})
}

func TestTelemetryAccessLog(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	p.Net.Web("own.test", 80, nil)
	p.Net.WebTLS("tls.test", 443, nil)
	p.Apply(web("own.test") + object("ServiceEntry", "tls", `{hosts: [tls.test], ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS}`))
	own := p.Net.Lookup("own.test", "IPv4")
	for _, v := range egress.Versions {
		a := p.Ask(egress.Request{URL: "http://own.test/a?b=c", Method: "PUT", Body: "12345", Version: v, Header: map[string]string{"User-Agent": "mine"}}).Want("200 own.test")
		l := a.Line()
		if l.Method != "PUT" || l.Path != "/a?b=c" || l.Protocol != string(v) || l.Status != 200 || l.Flags != "-" || l.Details != "via_upstream" ||
			l.Received != 5 || l.Authority != "own.test" || l.UpstreamHost != own+":80" || l.Cluster != "outbound|80||own.test" ||
			l.Destination != own+":80" || !strings.HasPrefix(l.Source, egress.Address+":") || l.Route != "default" {
			t.Errorf("%s: %s", v, l.Text)
		}
		// A refusal says who was asked for.
		l = p.Ask(egress.Request{URL: "http://stranger.test", At: own + ":80", Version: v}).Want("502 -").Line()
		if l.Authority != "stranger.test" || l.Details != "direct_response" || l.Route != "block_all" {
			t.Errorf("%s: %s", v, l.Text)
		}
	}
	if l := p.Handshake("tls.test:443", "stranger.test").Want("reset").Line(); l.ServerName != "stranger.test" || l.Flags != "UH" || l.Cluster != "BlackHoleCluster" {
		t.Errorf("TLS: %s", l.Text)
	}
	keys := []string{"start_time", "method", "path", "protocol", "response_code", "response_flags", "response_code_details",
		"connection_termination_details", "upstream_transport_failure_reason", "bytes_received", "bytes_sent", "duration",
		"upstream_service_time", "x_forwarded_for", "user_agent", "request_id", "authority", "upstream_host", "upstream_cluster",
		"upstream_local_address", "downstream_local_address", "downstream_remote_address", "requested_server_name", "route_name"}
	text, at := p.Lines()[0].Text, 0
	for _, key := range keys { // in Istio's order
		i := strings.Index(text[at:], `"`+key+`":`)
		if i < 0 {
			t.Fatalf("%s does not follow in %s", key, text)
		}
		at += i
	}
}
