package metrics

// Metric is one row of the reference.
type Metric struct {
	Name, Kind, Help string
	Labels           []string
}

// ownLabels tell the workloads of one process apart.
var ownLabels = []string{"source_workload", "source_workload_namespace"}

func with(more ...string) []string { return append(ownLabels[:len(ownLabels):len(ownLabels)], more...) }

// Catalogue lists every metric of this package, as docs/observability.md does.
// Those of the Go runtime and the process (go_*, process_*) are client_golang's.
var Catalogue = []Metric{
	{"istio_requests_total", "counter", "HTTP requests that ended, whoever answered them.", httpLabels},
	{"istio_request_duration_milliseconds", "histogram", "From a request's head to the end of its answer.", httpLabels},
	{"istio_request_bytes", "histogram", "Size of requests, head and body.", httpLabels},
	{"istio_response_bytes", "histogram", "Size of answers, head and body.", httpLabels},
	{"istio_request_messages_total", "counter", "gRPC messages from the application, over HTTP/2.", httpLabels},
	{"istio_response_messages_total", "counter", "gRPC messages to the application, over HTTP/2.", httpLabels},
	{"istio_tcp_connections_opened_total", "counter", "Opaque connections, TLS included, that were carried or refused.", tcpLabels},
	{"istio_tcp_connections_closed_total", "counter", "Those that ended.", tcpLabels},
	{"istio_tcp_sent_bytes_total", "counter", "Bytes to the application on opaque connections, counted at their end.", tcpLabels},
	{"istio_tcp_received_bytes_total", "counter", "Bytes from the application on opaque connections, counted at their end.", tcpLabels},

	{"sluice_connections", "gauge", "Connections of the application that are open.", ownLabels},
	{"sluice_connections_total", "counter", "Connections of the application that were accepted.", ownLabels},
	{"sluice_refused_total", "counter", "Connections and requests that were not let through, by reason.", with("reason")},
	{"sluice_would_refuse_total", "counter", "Those that the policy Observe let through and REGISTRY_ONLY would not have, by reason.", with("reason")},
	{"sluice_upstream_connections", "gauge", "Connections to a cluster that are open: active ones carry something, idle ones wait in the pool.",
		with("upstream_cluster", "state")},
	{"sluice_upstream_connect_failures_total", "counter", "Attempts to connect to an endpoint that failed, retries included.", with("reason")},
	{"sluice_upstream_retries_total", "counter", "Tries of requests beyond their first; a request is counted once whatever its tries.", ownLabels},
	{"sluice_tls_handshake_failures_total", "counter", "Those of them where TCP stood and TLS failed.", with("reason")},
	{"sluice_connections_cut_total", "counter", "Connections of the application that were reset because the proxy's drain was over.", ownLabels},
	{"sluice_access_log_lines_lost_total", "counter", "Lines of the access log that were not written: a full disk, or a reader that does not read.", ownLabels},

	{"sluice_dns_requests_total", "counter", "DNS queries of the application, by where the answer came from.",
		with("transport", "type", "rcode", "source")},
	{"sluice_dns_request_duration_seconds", "histogram", "From reading such a query to its answer.", with("source")},

	{"sluice_dns_queries_total", "counter", "Questions to DNS servers by what came back: a response code, timeout, or error.", []string{"result"}},
	{"sluice_dns_query_failures_total", "counter", "Those of them that brought no answer: neither addresses nor that there are none.", nil},
	{"sluice_config_generation", "gauge", "How many times a configuration was put in force.", nil},
	{"sluice_config_last_load_timestamp_seconds", "gauge", "When that was last, in Unix time.", nil},
	{"sluice_config_resources", "gauge", "Resources in force.", nil},
	{"sluice_config_errors", "gauge", "Errors in the configuration as it stands; what they are about is not in force.", nil},
	{"sluice_build_info", "gauge", "1; the labels say what runs.", []string{"version", "goversion"}},
}

func helpOf(name string) string { return find(name).Help }

func find(name string) Metric {
	for _, m := range Catalogue {
		if m.Name == name {
			return m
		}
	}
	panic("metrics: " + name + " is not in the catalogue")
}
