package mesh

var serviceRows = []Row{
	{ID: "SE.hosts", Kind: ServiceEntry, Fields: []string{"hosts[]"}, Priority: "P0", Stance: Differs,
		Says: "Exact names and wildcards of a whole first label. A wildcard within a label (foo*.com), which Istio warns of, is an error."},
	{ID: "SE.addresses", Kind: ServiceEntry, Fields: []string{"addresses[]"}, Priority: "P0"},
	{ID: "SE.ports", Kind: ServiceEntry, Fields: []string{"ports[].{number,name}"}, Priority: "P0"},
	{ID: "SE.ports.protocol", Kind: ServiceEntry, Fields: []string{"ports[].protocol"}, Priority: "P0",
		Says: "MONGO, REDIS and MYSQL are TCP, as in Istio without its filters; UDP is not proxied."},
	{ID: "SE.ports.targetPort", Kind: ServiceEntry, Fields: []string{"ports[].targetPort"}, Priority: "P1"},
	{ID: "SE.location", Kind: ServiceEntry, Fields: []string{"location"}, Priority: "P1"},
	{ID: "SE.location.MESH_INTERNAL", Kind: ServiceEntry, Fields: []string{"location"}, Value: "MESH_INTERNAL", Priority: "N/A", Stance: Differs,
		Says: "there is no mesh identity and no mutual TLS, so it is treated as MESH_EXTERNAL", Instead: "write MESH_EXTERNAL, or leave it out"},
	{ID: "SE.resolution", Kind: ServiceEntry, Fields: []string{"resolution"}, Priority: "P0"},
	{ID: "SE.resolution.NONE", Kind: ServiceEntry, Fields: []string{"resolution"}, Value: "NONE", Priority: "P0", Stance: Differs,
		Says: "A connection goes where the client aimed it only if that is an address of the name it asks for, and to the name's own address otherwise. TCP without addresses opens what the host resolves to, not every address; under a wildcard it is refused."},
	{ID: "SE.resolution.STATIC", Kind: ServiceEntry, Fields: []string{"resolution"}, Value: "STATIC", Priority: "P0", Stance: Differs,
		Says: "Endpoints are addresses; unix:// sockets are refused."},
	{ID: "SE.resolution.DNS", Kind: ServiceEntry, Fields: []string{"resolution"}, Value: "DNS", Priority: "P0"},
	{ID: "SE.resolution.DNS_ROUND_ROBIN", Kind: ServiceEntry, Fields: []string{"resolution"}, Value: "DNS_ROUND_ROBIN", Priority: "P1", Stance: Differs,
		Says: "Requests go to the first address of the newest answer; idle connections to an earlier one are not used again, as Istio would."},
	{ID: "SE.resolution.DYNAMIC_DNS", Kind: ServiceEntry, Fields: []string{"resolution"}, Value: "DYNAMIC_DNS", Priority: "P1"},
	{ID: "SE.endpoints", Kind: ServiceEntry, Fields: []string{"endpoints[].{address,weight,ports[]}"}, Priority: "P1"},
	{ID: "SE.endpoints.labels", Kind: ServiceEntry, Fields: []string{"endpoints[].labels[]"}, Priority: "P1",
		Says: "Subsets select endpoints by them."},
	{ID: "SE.endpoints.locality", Kind: ServiceEntry, Fields: []string{"endpoints[].locality"}, Priority: "P2", Stance: Reported,
		Says: "every endpoint is as near as any other"},
	{ID: "SE.endpoints.network", Kind: ServiceEntry, Fields: []string{"endpoints[].network"}, Priority: "N/A", Stance: Reported,
		Says: "there is only one network, and every endpoint is reached by its address"},
	{ID: "SE.endpoints.serviceAccount", Kind: ServiceEntry, Fields: []string{"endpoints[].serviceAccount"}, Priority: "N/A", Stance: Reported,
		Says: "there is no mesh identity to check it with"},
	{ID: "SE.workloadSelector", Kind: ServiceEntry, Fields: []string{"workloadSelector"}, Priority: "P2", Stance: Refused,
		Says: "there is no list of workloads to select from", Instead: "list the addresses in spec.endpoints"},
	{ID: "SE.exportTo", Kind: ServiceEntry, Fields: []string{"exportTo[]"}, Priority: "P1"},
	{ID: "SE.subjectAltNames", Kind: ServiceEntry, Fields: []string{"subjectAltNames[]"}, Priority: "P1", Stance: Differs,
		Says: "The certificate needs one of them, in place of the name that was asked for. Istio wants that one in it as well where the rule has neither sni nor subjectAltNames."},
	{ID: "SE.status.addresses", Kind: ServiceEntry, Fields: []string{statusAddresses}, Value: "any", Priority: "P1", Stance: Differs,
		Says: "is not used: sluice gives hosts virtual addresses of its own", Instead: "write an address that clients use into spec.addresses"},
}

// statusAddresses is the one field outside the spec that a row is about: Istio
// writes the virtual addresses there that it gave to the hosts.
const statusAddresses = "status.addresses"
