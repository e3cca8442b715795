package metrics

import "strconv"

// reporterLabels are those of every istio_ metric, in Istio's order.
var commonLabels = []string{
	"reporter",
	"source_workload", "source_canonical_service", "source_canonical_revision", "source_workload_namespace",
	"source_principal", "source_app", "source_version", "source_cluster",
	"destination_workload", "destination_workload_namespace", "destination_principal", "destination_app",
	"destination_version", "destination_service", "destination_canonical_service",
	"destination_canonical_revision", "destination_service_name", "destination_service_namespace",
	"destination_cluster", "request_protocol", "response_flags", "connection_security_policy",
}

var (
	tcpLabels  = commonLabels
	httpLabels = append(commonLabels[:len(commonLabels):len(commonLabels)], "response_code", "grpc_response_status")
)

// common writes the values of commonLabels.
func (s source) common(d service, protocol, flags string) []string {
	return []string{
		"source",
		s.workload, s.canonicalService, s.canonicalRevision, s.namespace,
		unknown, s.app, s.version, unknown,
		unknown, unknown, unknown, unknown,
		unknown, d.host, unknown,
		unknown, d.name, d.namespace,
		unknown, protocol, flags, unknown,
	}
}

func (s source) http(d service, o outcome) []string {
	protocol, status := "http", ""
	if o.grpc {
		protocol = "grpc"
		if o.grpcStatus >= 0 {
			status = strconv.Itoa(int(o.grpcStatus))
		}
	}
	return append(s.common(d, protocol, o.flags), codeLabel(o.code), status)
}

// codeLabel writes a status, or the class that stands for many.
func codeLabel(code int) string {
	if 1 <= code && code <= 9 {
		return strconv.Itoa(code) + "xx"
	}
	return strconv.Itoa(code)
}
