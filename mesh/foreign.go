package mesh

import "strings"

// foreign is a kind of Istio's that says nothing to an egress proxy without a mesh.
type foreign struct{ group, why string }

const security = "security.istio.io"

// foreignKinds stand beside the kinds that sluice follows in many people's files,
// Istio's own examples among them. They are warned of and left alone; a kind that
// is not known at all is an error, since it may be a misspelt one.
var foreignKinds = map[string]foreign{
	"Gateway":               {group, "sluice governs what leaves a workload itself, and has no gateways"},
	"WorkloadEntry":         {group, "no ServiceEntry selects workloads here; list its address in spec.endpoints"},
	"WorkloadGroup":         {group, "no ServiceEntry selects workloads here; list their addresses in spec.endpoints"},
	"EnvoyFilter":           {group, "it changes Envoy's own configuration, and there is no Envoy"},
	"ProxyConfig":           {group, "it configures Istio's proxy; sluice takes flags"},
	"Telemetry":             {"telemetry.istio.io", "metrics and the access log are sluice's own; flags choose among them"},
	"WasmPlugin":            {"extensions.istio.io", "sluice runs no extensions"},
	"PeerAuthentication":    {security, "it is about what comes in, and about mutual TLS within a mesh"},
	"RequestAuthentication": {security, "it is about what comes in, and sluice governs what leaves"},
	"AuthorizationPolicy":   {security, "it is about what comes in; to limit what leaves, register hosts and use exportTo or a Sidecar"},
}

// notFollowed is why a kind of Istio's is not followed, "" for any other.
func notFollowed(apiVersion, kind string) string {
	f, known := foreignKinds[kind]
	if name, version, ok := strings.Cut(apiVersion, "/"); !known || !ok || name != f.group || version == "" {
		return ""
	}
	return f.why
}
